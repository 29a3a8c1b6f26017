"""`onggi attach`: join a running container's terminal or streams. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli import foreground
from onggi.cli.client import quote, with_query
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

    Container = dict[str, Any]
    Begin = Callable[[], None]

COMMAND = Command(
    "attach [OPTIONS] CONTAINER",
    "Join a running container's terminal or streams.",
    (
        Flag("detach-keys", str, "the keys that leave it running (ctrl-p,ctrl-q)"),
        Flag("no-stdin", bool, "only listen"),
        Flag("sig-proxy", bool, "hand signals on to it", default=True),
    ),
    arguments=(1, 1),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Until it ends or the user detaches; its exit code."""
    name = parsed.arguments[0]
    container = engine.call("GET", f"/containers/{quote(name)}/json")
    if not container["State"]["Running"]:
        raise CommandFailed(f"attach to `{name}`: it does not run", hint=f"start it: onggi start -a {name}")
    return join(engine, parsed, container, lambda: None, stdin=not parsed["no-stdin"])


def join(engine: Engine, parsed: Parsed, container: Container, begin: Begin, *, stdin: bool) -> int:
    """Attach to an inspected container, call `begin`, carry its streams; its exit code, or 0 after a detach."""
    identifier = container["Id"]
    takes_input = stdin and container["Config"]["OpenStdin"]
    query = {
        "stream": True,
        "stdin": takes_input,
        "stdout": True,
        "stderr": True,
        "detachKeys": parsed["detach-keys"],
    }
    attached, _ = engine.stream("POST", with_query(f"/containers/{identifier}/attach", query), upgrade=True)
    condition = "not-running" if container["State"]["Running"] else "next-exit"
    waiting = engine.stream("POST", with_query(f"/containers/{identifier}/wait", {"condition": condition}))
    session = foreground.Session(
        engine, f"/containers/{identifier}", attached, tty=container["Config"]["Tty"], stdin=takes_input
    )
    if session.carry(begin, proxy=parsed["sig-proxy"], detach_keys=parsed["detach-keys"]):
        return 0
    return foreground.exit_code(*waiting)
