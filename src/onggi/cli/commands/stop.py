"""`onggi stop`: ask containers to end; kill those that have not within 10 seconds. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.ending import FLAGS, end_each
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "stop [OPTIONS] CONTAINER...",
    "Ask containers to end; kill those that have not within 10 seconds.",
    FLAGS,
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Stop each, and print its name."""
    return end_each(engine, parsed, "stop")
