"""`onggi rm`: remove containers. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.each import name_each
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "rm [OPTIONS] CONTAINER...",
    "Remove containers.",
    (
        Flag("force", bool, "kill it first if it runs", short="f"),
        Flag("link", bool, "remove the link of this name instead", short="l"),
        Flag("volumes", bool, "also its nameless volumes", short="v"),
    ),
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Remove each, and print its name."""
    query = {"force": parsed["force"], "v": parsed["volumes"], "link": parsed["link"]}
    return name_each(
        parsed.arguments, lambda name: engine.call("DELETE", with_query(f"/containers/{quote(name)}", query))
    )
