"""`onggi start`: start containers. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote
from onggi.cli.commands import attach
from onggi.cli.each import name_each
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag
from onggi.cli.starting import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "start [OPTIONS] CONTAINER...",
    "Start containers that were created or have ended.",
    (
        Flag("attach", bool, "join its streams and end with its exit code", short="a"),
        Flag("detach-keys", str, "the keys that leave it running (ctrl-p,ctrl-q)"),
        Flag("interactive", bool, "also its stdin", short="i"),
        Flag("sig-proxy", bool, "hand signals on to it", default=True),
    ),
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Start each and print its name; with -a or -i, start one and join it."""
    if not (parsed["attach"] or parsed["interactive"]):
        return name_each(parsed.arguments, lambda name: start(engine, quote(name)))
    if len(parsed.arguments) > 1:
        raise CommandFailed("start and attach: only one container at a time", hint="leave out -a and -i")
    container = engine.call("GET", f"/containers/{quote(parsed.arguments[0])}/json")
    identifier = container["Id"]
    return attach.join(engine, parsed, container, lambda: start(engine, identifier), stdin=parsed["interactive"])
