"""Where the caller wants a new process's pid, pidfd and terminal: a file, and sockets that somebody listens on.

Callers: `create`, `exec`. Read next: `foreground`.
"""

from __future__ import annotations

import os

from onggi.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.runc.words import Options
    from onggi.runtime.container import Started
    from onggi.runtime.enter import Entered


def check_terminal(given: Options, *, terminal: bool, detach: bool) -> None:
    """Invalid when a terminal would have nobody at its other end, or the socket nothing to hear of."""
    console = given.get("console-socket")
    if detach and terminal and not console:
        raise Invalid("run", "--detach", "cannot allocate tty if runc will detach without setting console socket")
    if console and not (detach and terminal):
        cause = "cannot use console socket if runc will not detach or allocate tty"
        raise Invalid("run", "--console-socket", cause)


def hand_out(given: Options, started: Started | Entered, kind: bytes = b"standard") -> None:
    """The terminal, the pidfd and the pid to whom the caller named."""
    if given.get("console-socket"):
        send_descriptor(given.get("console-socket"), b"/dev/ptmx", started.console)
    if given.get("pidfd-socket"):
        send_descriptor(given.get("pidfd-socket"), kind, started.pidfd)
    if given.get("pid-file"):
        write_pid(given.get("pid-file"), started.pid)


def send_descriptor(path: str, name: bytes, descriptor: int) -> None:
    """One descriptor, with its name, to whoever listens on a socket, as runc does it."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.connect(path)
        socket.send_fds(end, [name], [descriptor])


def write_pid(path: str, pid: int) -> None:
    """The pid in a file, whole or not at all."""
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, str(pid).encode())
    finally:
        os.close(descriptor)
    os.rename(new, path)
