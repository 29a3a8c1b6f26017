"""`onggi unpause`: thaw all processes of containers. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote
from onggi.cli.each import name_each
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "unpause CONTAINER...",
    "Thaw all processes of containers.",
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Unpause each, and print its name."""
    return name_each(parsed.arguments, lambda name: engine.call("POST", f"/containers/{quote(name)}/unpause"))
