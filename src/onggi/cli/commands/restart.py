"""`onggi restart`: stop containers and start them again. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.ending import FLAGS, end_each
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command("restart [OPTIONS] CONTAINER...", "Stop containers and start them again.", FLAGS, arguments=(1, None))


def run(engine: Engine, parsed: Parsed) -> int:
    """Restart each, and print its name."""
    return end_each(engine, parsed, "restart")
