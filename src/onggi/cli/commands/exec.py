"""`onggi exec`: run one more program in a container that runs. You came from `cli/main`; next door: `api/routes/exec`."""

from __future__ import annotations

import os
import sys

from onggi.cli import container_config, foreground
from onggi.cli.client import quote
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    "Run one more program in a container that runs.",
    (
        Flag("detach", bool, "leave it running in the background", short="d"),
        Flag("detach-keys", str, "the keys that leave it running (ctrl-p,ctrl-q)"),
        Flag("env", list, "a variable: NAME=VALUE, or NAME to pass on ours", short="e"),
        Flag("env-file", list, "a file of variables"),
        Flag("interactive", bool, "keep stdin open", short="i"),
        Flag("privileged", bool, "all capabilities"),
        Flag("tty", bool, "give it a terminal", short="t"),
        Flag("user", str, "run as this user: NAME|UID[:GROUP|GID]", short="u"),
        Flag("workdir", str, "start in this directory", short="w"),
    ),
    arguments=(2, None),
    interspersed=False,
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Run it; its exit status, 126 when it could not be started, 0 after a detach."""
    if parsed["tty"] and parsed["interactive"] and not parsed["detach"] and not os.isatty(0):
        raise CommandFailed("use stdin as a terminal: it is none", hint="leave out -t, or give it a terminal", status=1)
    name, *words = parsed.arguments
    attached = not parsed["detach"]
    body = {
        "Cmd": words,
        "User": parsed["user"],
        "Privileged": parsed["privileged"],
        "Tty": parsed["tty"],
        "AttachStdin": attached and parsed["interactive"],
        "AttachStdout": attached,
        "AttachStderr": attached,
        "DetachKeys": parsed["detach-keys"],
        "Env": container_config.environment(parsed["env"], parsed["env-file"]),
        "WorkingDir": parsed["workdir"],
    }
    path = f"/exec/{engine.call('POST', f'/containers/{quote(name)}/exec', body)['Id']}"
    if parsed["detach"]:
        engine.call("POST", f"{path}/start", {"Detach": True, "Tty": parsed["tty"]})
        return 0
    return _attend(engine, parsed, path)


def _attend(engine: Engine, parsed: Parsed, path: str) -> int:
    """Carry its streams, and tell how it ended; signals stay here, as with `docker exec`."""
    start = {"Detach": False, "Tty": parsed["tty"]}
    connection, _ = engine.stream("POST", f"{path}/start", start, upgrade=True)
    session = foreground.Session(engine, path, connection, tty=parsed["tty"], stdin=parsed["interactive"])
    if session.carry(lambda: None, proxy=False, detach_keys=parsed["detach-keys"]):
        print(file=sys.stderr)
        return 0
    return int(engine.call("GET", f"{path}/json")["ExitCode"] or 0)
