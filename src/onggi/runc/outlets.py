"""Where the caller wants a new process's pid, pidfd and terminal: a file, and sockets that somebody listens on.

Callers: `create`, `exec`. Read next: `foreground`, and runc's docs/terminals.md.
"""

from __future__ import annotations

import os

from onggi.errors import Invalid, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket

    from onggi.runc.words import Options
    from onggi.runtime.container import Started
    from onggi.runtime.enter import Entered
    from onggi.unwinding import ExitStack


def check_terminal(given: Options, *, terminal: bool, detach: bool) -> None:
    """Invalid when a terminal would have nobody at its other end, or a socket would wait for none."""
    console = given.get("console-socket")
    if detach and terminal and not console:
        raise Invalid("run", "--detach", "cannot allocate tty if runc will detach without setting console socket")
    if console and not (detach and terminal):
        cause = "cannot use console socket if runc will not detach or allocate tty"
        raise Invalid("run", "--console-socket", cause)


def connect(given: Options, undo: ExitStack) -> dict[str, socket]:
    """The sockets that the caller named, connected: one that nobody listens on is told before anything is made."""
    found = {}
    for flag in ("console-socket", "pidfd-socket"):
        if given.get(flag):
            found[flag] = _connected(given.get(flag))
            undo.callback(found[flag].close)
    return found


def _connected(path: str) -> socket:
    import socket

    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.connect(path)
    except OSError as error:
        end.close()
        raise Unavailable("connect to socket", path, (error.strerror or str(error)).lower()) from error
    return end


def hand_out(given: Options, sockets: dict[str, socket], started: Started | Entered, kind: bytes = b"standard") -> None:
    """The terminal, the pidfd and the pid to whom the caller named."""
    if "console-socket" in sockets:
        _send(sockets["console-socket"], b"/dev/ptmx", started.console)
    if "pidfd-socket" in sockets:
        _send(sockets["pidfd-socket"], kind, started.pidfd)
    if given.get("pid-file"):
        _write_pid(given.get("pid-file"), started.pid)


def _send(end: socket, name: bytes, descriptor: int) -> None:
    """One descriptor, with its name, as runc does it."""
    import socket

    with end:
        socket.send_fds(end, [name], [descriptor])


def _write_pid(path: str, pid: int) -> None:
    """The pid in a file, whole or not at all."""
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, str(pid).encode())
    finally:
        os.close(descriptor)
    os.rename(new, path)
