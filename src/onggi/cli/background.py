"""Start the engine in the background, once, however many commands want it at the same time.

```
 onggi run ──lock──► spawn `python -m onggi.daemon` (a session of its own, log in a file, cwd /)
     │                     │  listens, then writes one byte on the readiness pipe
     ◄──── byte or EOF ────┘
```
Caller: `engine`, only when nobody answers on the default socket. Read next: `onggi/daemon.py`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import time

from onggi.cli.client import connect
from onggi.cli.failure import CommandFailed

READY_VARIABLE = "ONGGI_READY_FD"
"""Names the descriptor on which the engine writes one byte once it listens, and which it closes when it gives up."""
START_SECONDS = 30
_TRY_SECONDS = 0.05


def start(socket_path: str) -> None:
    """Start the engine that listens on `socket_path` and wait until it does; say so in one line."""
    directory = os.path.dirname(socket_path)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        lock = os.open(f"{directory}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandFailed(f"start the engine: {error.filename}: {error.strerror}", hint="run it as root") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers(socket_path):
            return  # another command has started it while this one waited for the lock
        log = log_path()
        print(f"onggi: starting the engine in the background (log: {log})", file=sys.stderr, flush=True)
        _start_and_wait(socket_path, log)
    finally:
        os.close(lock)


def python_arguments(module: str) -> list[str]:
    """The command line that runs `module` with this interpreter, isolated, from where this very file was loaded."""
    source = __file__.rpartition("/onggi/cli/")[0]
    program = f"import sys; sys.path.insert(0, {source!r}); from {module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-c", program]


def log_path() -> str:
    """Where the engine that was started in the background writes."""
    return "/var/log/onggi.log" if os.geteuid() == 0 else f"{os.environ['XDG_RUNTIME_DIR']}/onggi/engine.log"


def _start_and_wait(socket_path: str, log: str) -> None:
    ready, ready_for_engine = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _spawn(socket_path, log, ready_for_engine)
    finally:
        os.close(ready_for_engine)
    try:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if select.select([ready], [], [], _TRY_SECONDS)[0] and not os.read(ready, 1) and not _alive(pid):
                raise CommandFailed(f"start the engine: {_last_line(log)}", hint=f"its log is {log}")
            if _answers(socket_path):
                return
    finally:
        os.close(ready)
    raise CommandFailed(f"start the engine: it did not listen within {START_SECONDS} s", hint=f"its log is {log}")


def _spawn(socket_path: str, log: str, ready: int) -> int:
    arguments = [*python_arguments("onggi.daemon"), "-H", f"unix://{socket_path}"]
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.set_inheritable(ready, True)
    try:
        os.chdir("/")  # the engine must not hold the directory in which somebody typed a command
        return os.posix_spawn(
            arguments[0],
            arguments,
            {**os.environ, READY_VARIABLE: str(ready)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise CommandFailed(f"start the engine: {error.strerror}") from error
    finally:
        os.fchdir(here)
        os.close(here)


def _alive(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG) == (0, 0)


def _answers(socket_path: str) -> bool:
    try:
        connect(socket_path).close()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return False
        raise CommandFailed(f"connect to `{socket_path}`: {error.strerror}") from None
    return True


def _last_line(log: str) -> str:
    try:
        with open(log, errors="replace") as file:
            lines = [line.strip() for line in file.readlines()[-20:] if line.strip()]
    except OSError:
        lines = []
    return lines[-1] if lines else "it ended without a word"
