"""`onggi rename`: give a container another name. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command("rename CONTAINER NAME", "Give a container another name.", arguments=(2, 2))


def run(engine: Engine, parsed: Parsed) -> int:
    """Rename it."""
    old, new = parsed.arguments
    engine.call("POST", with_query(f"/containers/{quote(old)}/rename", {"name": new}))
    return 0
