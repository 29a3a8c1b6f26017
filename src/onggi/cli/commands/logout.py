"""`onggi logout`: forget the credentials for a registry. You came from `cli/main`; no engine is asked."""

from __future__ import annotations

from onggi.cli import credentials
from onggi.cli.commands.login import server_named
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "logout [SERVER]", "Forget the credentials for a registry (Docker Hub unless it is named).", arguments=(0, 1)
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Forget them."""
    server = server_named(parsed.arguments)
    if credentials.erase(server):
        print(f"Removed login credentials for {server}")
    else:
        print(f"Not logged in to {server}")
    return 0
