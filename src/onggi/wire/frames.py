"""Stdio frames: how the output of a container without a terminal shares one connection.

     0        1   2   3   4           7   8
    +--------+-----------+-------------+------------
    | stream | 0   0   0 | length, big | payload …
    +--------+-----------+-------------+------------

stream: 0 stdin, 1 stdout, 2 stderr, 3 an error of the engine, after which nothing follows. A frame may be cut anywhere
by the transport, never by meaning. No I/O, and quick to import: the CLI decodes what the engine encodes.
"""

from __future__ import annotations

import struct

from onggi.errors import Corrupt

STDIN, STDOUT, STDERR, SYSTEM = range(4)
_HEADER = struct.Struct(">B3xI")
HEADER_SIZE = _HEADER.size


def encode(stream: int, payload: bytes) -> bytes:
    """One frame."""
    return _HEADER.pack(stream, len(payload)) + payload


class Decoder:
    """Takes bytes as they come and gives (stream, payload) pairs as soon as any of a payload is there.

    A frame's payload may come in several pairs, so that a frame of any length needs no memory.
    """

    __slots__ = ("_header", "_left", "_stream")

    def __init__(self) -> None:
        self._header = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """What `data` adds; `Corrupt` if a header names no stream."""
        view, found = memoryview(data), []
        while view:
            if self._left:
                payload, view = bytes(view[: self._left]), view[self._left :]
                self._left -= len(payload)
                found.append((self._stream, payload))
                continue
            missing = HEADER_SIZE - len(self._header)
            self._header, view = self._header + bytes(view[:missing]), view[missing:]
            if len(self._header) == HEADER_SIZE:
                self._stream, self._left = _HEADER.unpack(self._header)
                self._check()
                self._header = b""
        return found

    def _check(self) -> None:
        if self._stream > SYSTEM or self._header[1:4] != b"\0\0\0":
            raise Corrupt("read", "stdio frame", f"unrecognized stream header {self._header.hex()}")

    def finish(self) -> None:
        """The stream ended; `Corrupt` if it did so inside a frame."""
        if self._left or self._header:
            raise Corrupt("read", "stdio frame", "the stream ended inside a frame")
