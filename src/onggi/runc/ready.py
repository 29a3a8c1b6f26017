"""What a container says of itself to systemd: sd_notify(3), passed on as runc does it.

Who is started by systemd with `Type=notify` has NOTIFY_SOCKET in its environment. The container gets a socket of its own,
ROOT/ID/notify/notify.sock, shown read-only as `/run/notify`, and its `READY=1` is passed on with the first process's pid:

    container ──READY=1──► /run/notify/notify.sock ──► we ──READY=1, MAINPID=…, BARRIER=1──► systemd

Imported only when NOTIFY_SOCKET is set. Callers: `create`, `foreground`. Read next: sd_notify(3), runc's docs/systemd.md.
"""

from __future__ import annotations

import os
import select
import socket

from onggi.oci.runtime import Mount
from onggi.runtime.request import Request
from onggi.values import replace

_INSIDE, _DIRECTORY, _NAME = "/run/notify", "notify", "notify.sock"
_LARGEST = 4096
_PATIENCE = 30_000
"""Milliseconds for systemd to say that it has heard: a version that does not know BARRIER never does."""


def with_socket(request: Request, directory: str) -> Request:
    """The request with the socket's directory as a mount, and its name in the program's environment."""
    source = os.path.join(directory, _DIRECTORY)
    os.mkdir(source, 0o755)
    mount = Mount(_INSIDE, "bind", source, ("bind", "nosuid", "noexec", "nodev", "ro"))
    process = request.spec.process
    process = replace(process, env=(*process.env, f"NOTIFY_SOCKET={_INSIDE}/{_NAME}"))
    return replace(request, spec=replace(request.spec, mounts=(*request.spec.mounts, mount), process=process))


class Ready:
    """The container's socket, and the one that its words are passed on to."""

    def __init__(self, directory: str, to: str) -> None:
        self._to = f"\0{to[1:]}" if to.startswith("@") else to
        path = os.path.join(directory, _DIRECTORY, _NAME)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(path)
        os.chmod(path, 0o777)

    def fileno(self) -> int:
        """To be polled for reading."""
        return self._socket.fileno()

    def wait(self, pid: int) -> None:
        """Until the container has said that it is ready, or is gone."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        poll = select.poll()
        for descriptor in (pidfd, self.fileno()):
            poll.register(descriptor, select.POLLIN)
        while not any(descriptor == pidfd for descriptor, _ in poll.poll()):
            if self.heard(pid):
                break
        os.close(pidfd)

    def heard(self, pid: int) -> bool:
        """Read what the container said; when that was that it is ready, pass it on: True, and it is not asked again."""
        try:
            lines = self._socket.recv(_LARGEST).split(b"\n")
        except BlockingIOError:
            return False
        word = next((line for line in lines if line.startswith(b"READY=")), b"")
        if word:
            self._pass_on(word, pid)
        return bool(word)

    def _pass_on(self, word: bytes, pid: int) -> None:
        heard, said = os.pipe2(os.O_CLOEXEC)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(self._to)
            end.send(word + b"\n")
            end.send(f"MAINPID={pid}\n".encode())
            socket.send_fds(end, [b"BARRIER=1"], [said])
        os.close(said)
        poll = select.poll()
        poll.register(heard, select.POLLIN)
        poll.poll(_PATIENCE)
        os.close(heard)
