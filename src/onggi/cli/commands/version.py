"""`onggi version`: what runs here and what answers there. You came from `cli/main`."""

from __future__ import annotations

import sys

from onggi.cli import template
from onggi.cli.client import API
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "version [OPTIONS]",
    "Show the versions of the client and the engine.",
    (Flag("format", str, "json, or a template such as '{{.Server.Version}}'", short="f"),),
)
CLIENT = "0.1.0"


def client_version() -> str:
    """The version of this client; a test compares it with pyproject.toml."""
    return CLIENT


def run(engine: Engine, parsed: Parsed) -> int:
    """Print both versions."""
    server = engine.call("GET", "/version")
    python = ".".join(str(number) for number in sys.version_info[:3])
    client = {"Version": CLIENT, "ApiVersion": API.removeprefix("/v"), "Python": python}
    if parsed["format"]:
        print(template.render(parsed["format"], {"Client": client, "Server": server}))
        return 0
    print(f"client    onggi {CLIENT}, API {client['ApiVersion']}, Python {python}")
    name = (server.get("Platform") or {}).get("Name")
    known = f"{name}, for clients Docker {server['Version']}" if name else f"Docker {server['Version']}"
    print(f"engine    {known}, API {server.get('MinAPIVersion', '?')} to {server['ApiVersion']}")
    print(f"machine   {server['Os']}/{server['Arch']}, Linux {server.get('KernelVersion', '?')}")
    return 0
