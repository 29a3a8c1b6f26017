"""`onggi wait`: wait until containers end, and print their exit codes. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli import output
from onggi.cli.client import quote
from onggi.cli.failure import EngineSaidNo
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "wait CONTAINER...",
    "Wait until containers end, and print their exit codes.",
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Print one exit code a line, in the order of the names."""
    status = 0
    for name in parsed.arguments:
        try:
            print(engine.call("POST", f"/containers/{quote(name)}/wait")["StatusCode"], flush=True)
        except EngineSaidNo as refused:
            output.report(refused)
            status = 1
    return status
