"""`onggi kill`: send a signal to containers: KILL, unless told otherwise. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.each import name_each
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "kill [OPTIONS] CONTAINER...",
    "Send a signal to containers: KILL, unless told otherwise.",
    (Flag("signal", str, "the signal", short="s"),),
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Send it to each, and print its name."""
    query = {"signal": parsed["signal"]}
    return name_each(
        parsed.arguments, lambda name: engine.call("POST", with_query(f"/containers/{quote(name)}/kill", query))
    )
