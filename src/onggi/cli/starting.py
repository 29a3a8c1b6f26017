"""Start a container, and say by the exit status why it could not be.

Callers: `commands/run`, `commands/start`. Read next: `foreground`.
"""

from __future__ import annotations

from onggi.cli.failure import EngineSaidNo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine

NOT_RUN = 125
"""The exit status when nothing ran: neither the command's own, nor a missing or unexecutable command."""


def start(engine: Engine, identifier: str) -> None:
    """Start it; the exit status of a failure tells a missing command from one that cannot be executed."""
    try:
        engine.call("POST", f"/containers/{identifier}/start")
    except EngineSaidNo as refused:
        refused.status = _start_status(refused.message)
        raise


def _start_status(message: str) -> int:
    lowered = message.lower()
    if any(
        text in lowered for text in ("executable file not found", "no such file or directory", "system cannot find")
    ):
        return 127
    return 126 if "permission denied" in lowered or "is a directory" in lowered else NOT_RUN
