"""A container's log: one file of frames, written without any work per line.

    byte 0      stream: 1 stdout (and everything of a terminal), 2 stderr
    bytes 1-3   0
    bytes 4-7   length of the data, big endian
    bytes 8-15  when it was read, nanoseconds since 1970, big endian
    then        the data, as it came from one read(2)

The first eight bytes are those of a frame on an attach stream, so what is sent to a client is a slice of what was kept.
A write that does not fit the disk is taken back whole: the file always ends at a frame's end. Callers: `keeper` writes
and reads, `engine/logs` reads. Read next: `keeper`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from onggi.values import dataclass

HEADER = struct.Struct(">B3xIQ")
CHUNK = 64 << 10
"""The most that one frame holds."""


def open_log(path: str, directory: str) -> tuple[int, int]:
    """The log's descriptor and its size; without a path a file without a name, which whoever is attached reads from."""
    if path:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    else:
        descriptor = os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    return descriptor, os.fstat(descriptor).st_size


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of output: `time` in nanoseconds since 1970, `end` the offset behind it in the file."""

    stream: int
    time: int
    data: bytes
    end: int


class Writer:
    """Appends frames to a descriptor that it owns."""

    __slots__ = ("descriptor", "end", "lost")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.end = os.lseek(descriptor, 0, os.SEEK_END)
        self.lost = 0
        """Bytes that the disk did not take."""

    def append(self, stream: int, time: int, data: bytes) -> None:
        """Keep one piece of output; when the disk is full the piece is lost and counted, and the container goes on."""
        wanted = HEADER.size + len(data)
        try:
            written = os.writev(self.descriptor, (HEADER.pack(stream, len(data), time), data))
        except OSError:  # ENOSPC, EDQUOT, EIO: `lost` says so
            written = 0
        if written == wanted:
            self.end += wanted
            return
        self.lost += len(data)
        os.ftruncate(self.descriptor, self.end)
        os.lseek(self.descriptor, self.end, os.SEEK_SET)

    def forget(self) -> None:
        """Drop everything that was kept."""
        os.ftruncate(self.descriptor, 0)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        self.end = 0


def read_frames(descriptor: int, offset: int, size: int = 256 << 10) -> Iterator[Frame]:
    """The whole frames in the `size` bytes from `offset` on; a frame that is cut off at the end is left for later."""
    yield from parse_frames(os.pread(descriptor, max(size, CHUNK + HEADER.size), offset), offset)


def parse_frames(block: bytes, offset: int = 0) -> Iterator[Frame]:
    """The whole frames of a block that begins with one, at `offset` of its file or stream."""
    position, size = 0, len(block)
    while position + HEADER.size <= size:
        stream, length, time = HEADER.unpack_from(block, position)
        end = position + HEADER.size + length
        if end > size:
            return
        yield Frame(stream, time, block[position + HEADER.size : end], offset + end)
        position = end
