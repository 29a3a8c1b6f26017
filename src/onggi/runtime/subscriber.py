"""A client that is attached to a container, as the keeper sees it: a stream socket and a place in the log.

Everybody reads from the log, at their own pace: one who reads slowly falls behind and holds up nobody, one who asks for
the past starts at offset 0. Nothing here blocks. Callers: `keeper`. Read next: `log`.
"""

from __future__ import annotations

import os
import socket

from onggi.runtime.log import HEADER, read_frames
from onggi.values import dataclass

_PER_TURN = 1 << 20
"""Bytes sent to one subscriber before the others have their turn."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a subscriber asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    raw_frames: bool = False
    """Frames with their times, as the log has them, instead of Docker's."""


class Subscriber:
    """One attached client; it owns its socket."""

    __slots__ = ("_buffer", "_terminal", "connection", "offset", "reads", "wants")

    def __init__(self, connection: socket.socket, wants: Wants, offset: int, *, terminal: bool) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.wants = wants
        self.offset = offset
        self.reads = wants.stdin
        """Whether more input may come from it."""
        self._terminal = terminal
        self._buffer = memoryview(b"")

    @property
    def blocked(self) -> bool:
        """Its socket took less than there was: wait until it is writable."""
        return len(self._buffer) > 0

    @property
    def listens(self) -> bool:
        """It wants output at all."""
        return self.wants.stdout or self.wants.stderr

    def behind(self, end: int) -> bool:
        """There is output that it has not been sent yet."""
        return self.listens and (self.blocked or self.offset < end)

    def pump(self, log: int, end: int) -> None:
        """Send what the log has for it, until its socket is full; OSError when it is gone."""
        sent = 0
        while sent < _PER_TURN:
            if not self._buffer:
                if self.offset >= end or not self.listens:
                    return
                self._buffer = memoryview(self._next(log))
                continue
            try:
                count = self.connection.send(self._buffer, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            self._buffer = self._buffer[count:]
            sent += count

    def _next(self, log: int) -> bytes:
        """The bytes of the next frames that it wants."""
        if self.wants.raw_frames:
            return self._next_raw(log)
        pieces: list[bytes] = []
        for frame in read_frames(log, self.offset):
            self.offset = frame.end
            if self.wants.stderr if frame.stream == 2 else self.wants.stdout:
                if not self._terminal:
                    pieces.append(HEADER.pack(frame.stream, len(frame.data), 0)[:8])
                pieces.append(frame.data)
        return b"".join(pieces)

    def _next_raw(self, log: int) -> bytes:
        start = self.offset
        for frame in read_frames(log, start):
            self.offset = frame.end
        return os.pread(log, self.offset - start, start)

    def receive(self) -> bytes | None:
        """Input from the client; b"" at its end; None when there is none now."""
        try:
            return self.connection.recv(64 << 10)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Let the client go; what it was sent stays readable on its side."""
        self.connection.close()
