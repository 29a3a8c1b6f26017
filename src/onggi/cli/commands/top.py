"""`onggi top`: list a container's processes. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli import output
from onggi.cli.client import quote, with_query
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "top CONTAINER [PS OPTIONS]",
    "List a container's processes, with their ids on this machine.",
    arguments=(1, None),
    interspersed=False,
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Print the list."""
    name, *options = parsed.arguments
    path = with_query(f"/containers/{quote(name)}/top", {"ps_args": " ".join(options)})
    answer = engine.call("GET", path)
    print(output.table(answer["Titles"], answer["Processes"] or []))
    return 0
