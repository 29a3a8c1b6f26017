"""One client's attachment to a container: a stream to its keeper, and the detach keys.

The bytes come from the keeper as they go to the client: framed, or raw from a terminal. You come from
`engine/containers`; on the other side is `runtime/subscriber`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from onggi.errors import Invalid

_CHUNK = 64 << 10
DEFAULT_KEYS = bytes((16, 17))
"""ctrl-p, ctrl-q."""
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class Attachment:
    """A joined stream; `on_detach` is called when the client typed the detach keys."""

    def __init__(
        self, stream: socket.socket, *, tty: bool, keys: bytes, on_detach: Callable[[], None], past: bytes = b""
    ) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._tty = tty
        self._keys = keys if tty else b""
        self._typed = b""
        self._on_detach = on_detach
        self._past = past
        self._detached = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def tty(self) -> bool:
        """Whether the stream is a terminal's: raw, not framed."""
        return self._tty

    async def read(self) -> bytes:
        """Output; empty at the end or after the detach keys."""
        if self._past:
            past, self._past = self._past, b""
            return past
        reading = asyncio.ensure_future(self._loop.sock_recv(self._stream, _CHUNK))
        detached = asyncio.ensure_future(self._detached.wait())
        try:
            await asyncio.wait((reading, detached), return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() and not self._detached.is_set() else b""
        except (ConnectionError, OSError):
            return b""
        finally:
            for task in (reading, detached):
                task.cancel()

    async def write(self, data: bytes) -> None:
        """Input; the detach keys end the attachment and are not passed on."""
        if self._detached.is_set():
            return
        data = self._without_keys(data)
        if data:
            try:
                await self._loop.sock_sendall(self._stream, data)
            except OSError:  # the container has ended: nobody reads its input any more
                return
        if self._detached.is_set():
            self._on_detach()

    def _without_keys(self, data: bytes) -> bytes:
        """Hold back what may be the beginning of the keys until it is clear that it is not."""
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            self._typed += bytes((byte,))
            if self._typed == self._keys:
                self._detached.set()
                return bytes(passed)
            while self._typed and not self._keys.startswith(self._typed):
                passed.append(self._typed[0])
                self._typed = self._typed[1:]
        return bytes(passed)

    async def write_eof(self) -> None:
        """The input ends."""
        try:
            self._stream.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the keeper is gone already

    async def close(self) -> None:
        """Let go; the container goes on."""
        self._stream.close()


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q` or `a,b`, as `--detach-keys` takes them; empty means the default."""
    if not text:
        return DEFAULT_KEYS
    keys = bytearray()
    for part in text.split(","):
        name = part.removeprefix("ctrl-")
        if len(name) != 1 or not name.isascii():
            raise Invalid("read detach keys", text, f"Invalid escape keys ({text}) provided", code="text")
        if part == name:
            keys.append(ord(name))
        elif name.isalpha():
            keys.append(ord(name.lower()) - ord("a") + 1)
        elif name in _SPECIAL:
            keys.append(_SPECIAL[name])
        else:
            raise Invalid("read detach keys", text, f"Unknown character: '{name}'", code="text")
    return bytes(keys)
