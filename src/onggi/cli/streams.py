"""Carry bytes between a hijacked connection and this process's own stdin, stdout and stderr.

```
 stdin ──read──► outgoing ──send──► engine          without a terminal the engine's bytes come in frames:
 stdout, stderr ◄──write── frames ◄──recv── engine  {1 stdout | 2 stderr, 0, 0, 0, length big endian} payload
```
One thread, one poll: a full pipe on one side must never stop the other, so what cannot be sent yet waits in `outgoing`.
Callers: `commands/run`, `commands/attach`, `commands/logs`, `commands/start`. Read next: `commands/run`.
"""

from __future__ import annotations

import os
import select

from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from onggi.cli.client import Connection
    from onggi.cli.terminal import DetachWatch
else:
    import _socket as socket

_CHUNK = 64 * 1024
_HEAD = 8


class Frames:
    """Takes the framed stream apart."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(descriptor, payload) of every frame that is complete by now."""
        rest = self._rest + data if self._rest else data
        out: list[tuple[int, bytes]] = []
        at = 0
        while len(rest) - at >= _HEAD:
            kind, length = rest[at], int.from_bytes(rest[at + 4 : at + _HEAD], "big")
            end = at + _HEAD + length
            if end > len(rest):
                break
            out.append((2 if kind == 2 else 1, rest[at + _HEAD : end]))
            if kind > 2:
                raise CommandFailed(f"read the container's output: {out[-1][1].decode(errors='replace')}")
            at = end
        self._rest = rest[at:]
        return out


class Carrier:
    """Carries one attached container's streams until the engine ends them.

    `stdin` is a descriptor, or None to send nothing; `framed` is false for a terminal. `on_wake(bytes)` gets what
    arrived on the wake-up descriptor: the numbers of signals.
    """

    __slots__ = ("_connection", "_detach", "_frames", "_outgoing", "_stdin", "_stdin_ended", "_wake", "on_wake")

    def __init__(
        self,
        connection: Connection,
        *,
        stdin: int | None,
        framed: bool,
        wake: int | None = None,
        detach: DetachWatch | None = None,
    ) -> None:
        self._connection = connection
        self._stdin = stdin
        self._stdin_ended = False
        self._frames = Frames() if framed else None
        self._outgoing = b""
        self._wake = wake
        self._detach = detach
        self.on_wake: Callable[[bytes], None] = lambda numbers: None

    def carry(self) -> None:
        """Until the engine hangs up; the connection is left to the caller."""
        sock = self._connection.socket
        sock.setblocking(False)
        self._show(self._connection.buffered())
        while True:
            readable, writable = self._ready(sock)
            if self._wake is not None and self._wake in readable:
                self.on_wake(os.read(self._wake, 256))
            if writable:
                self._send(sock)
            if sock in readable and not self._receive(sock):
                return
            if self._stdin is not None and self._stdin in readable:
                self._take_input(sock)

    def _ready(self, sock: socket.socket) -> tuple[list[int | socket.socket], bool]:
        readers: list[int | socket.socket] = [sock]
        if self._wake is not None:
            readers.append(self._wake)
        if self._stdin is not None and not self._outgoing:
            readers.append(self._stdin)
        readable, writable, _ = select.select(readers, [sock] if self._outgoing else [], [])
        return readable, bool(writable)

    def _receive(self, sock: socket.socket) -> bool:
        try:
            data = sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return True
        except ConnectionResetError:
            return False
        self._show(data)
        return bool(data)

    def _show(self, data: bytes) -> None:
        if self._frames is None:
            write_all(1, data)
            return
        for descriptor, payload in self._frames.feed(data):
            write_all(descriptor, payload)

    def _take_input(self, sock: socket.socket) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, _CHUNK)
        except OSError:  # a terminal that hung up reads as EIO
            data = b""
        if self._detach is not None:
            self._detach.feed(data)
        self._outgoing = data
        if not data:
            self._stdin = None
            self._stdin_ended = True
        self._send(sock)

    def _send(self, sock: socket.socket) -> None:
        try:
            if self._outgoing:
                self._outgoing = self._outgoing[sock.send(self._outgoing) :]
            if self._stdin_ended and not self._outgoing:
                self._stdin_ended = False
                sock.shutdown(socket.SHUT_WR)  # the half close: end of stdin, while output goes on
        except (BlockingIOError, InterruptedError):
            return
        except (BrokenPipeError, ConnectionResetError):
            # The engine takes no more input. What it still sends is read to its end.
            self._stdin, self._outgoing, self._stdin_ended = None, b"", False


def write_all(descriptor: int, data: bytes) -> None:
    """write(2) until everything is out. Not through `sys.stdout`: bytes of both streams keep their order."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # somebody shares our stdout and made it non-blocking
            select.select([], [descriptor], [])
