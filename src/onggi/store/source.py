"""Bytes in sequence: from a descriptor, decompressed if they are compressed, through one buffer.

What a stream is, its first bytes tell, never a name or a media type. Memory stays bounded: a decompressor is asked for
one chunk at a time. Callers: `store/archive`, `store/layers`, `store/load`. Read next: `archive`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from onggi.errors import Corrupt, Unsupported
from onggi.store.limits import Limits

CHUNK = 1 << 20
Read = Callable[[int], bytes]
"""Gives at most that many bytes, none only at the end."""

MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_LONGEST_MAGIC = max(len(magic) for magic, _ in MAGIC)


class Decompressor(Protocol):
    """What the decompressors of bz2, lzma, zstd and isal have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        """At most `max_length` bytes more."""
        ...


def compression(head: bytes) -> str:
    """How a stream that begins with `head` is compressed: gzip, zstd, bzip2, xz, or empty for not at all."""
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] in _SKIPPABLE_ZSTD:
        return "zstd"
    return ""


_SKIPPABLE_ZSTD = frozenset(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))


def plain(read: Read, limits: Limits) -> tuple[Read, str]:
    """`read` without its compression, and how it was compressed."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (more := read(CHUNK)):
        head += more
    kind = compression(head)
    if not kind:
        return _Pushback(head, read).read, ""
    return _Decompressed(_Pushback(head, read).read, kind, limits).read, kind


def reader_of(fd: int) -> Read:
    """The bytes of a descriptor, from where it stands."""
    return lambda count: os.read(fd, count)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until all of it is written."""
    written = os.write(fd, data)
    while written < len(data):
        data = memoryview(data)[written:]
        written = os.write(fd, data)


class _Pushback:
    """A stream whose first bytes were looked at."""

    __slots__ = ("_head", "_read")

    def __init__(self, head: bytes, read: Read) -> None:
        self._head = head
        self._read = read

    def read(self, count: int) -> bytes:
        if not self._head:
            return self._read(count)
        head, self._head = self._head[:count], self._head[count:]
        return head


class _Decompressed:
    """A stream of one or several compressed members, padding of zeros after the last allowed."""

    __slots__ = ("_consumed", "_decompressor", "_kind", "_limits", "_produced", "_read")

    def __init__(self, read: Read, kind: str, limits: Limits) -> None:
        self._read = read
        self._kind = kind
        self._limits = limits
        self._consumed = 0
        self._produced = 0
        self._decompressor = decompressor(kind)

    def read(self, count: int) -> bytes:
        data = b""
        while True:
            if self._decompressor.eof:
                data = self._next_member()
                if not data:
                    return b""
            elif self._decompressor.needs_input:
                data = self._input()
                if not data:
                    raise Corrupt("decompress archive", self._kind, "unexpected EOF", code="archive.truncated")
            try:
                output = self._decompressor.decompress(data, count)
            except Exception as error:  # noqa: BLE001 - each library has an error class of its own
                raise Corrupt("decompress archive", self._kind, str(error), code="archive.compression") from None
            data = b""
            if output:
                self._produced += len(output)
                self._limits.check_expansion(self._consumed, self._produced)
                return output

    def _input(self) -> bytes:
        data = self._read(CHUNK)
        self._consumed += len(data)
        return data

    def _next_member(self) -> bytes:
        """The first bytes of the member that follows, none at the end of the stream."""
        data = self._decompressor.unused_data or self._input()
        while data and not data.strip(b"\0"):
            data = self._input()
        if data:
            self._decompressor = decompressor(self._kind)
        return data


class _Gzip:
    """zlib's decompressor with the interface that the others have."""

    __slots__ = ("_inner",)

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))


def decompressor(kind: str) -> Decompressor:
    """A decompressor for one member; imported when first needed, so before any confinement."""
    made: Any
    if kind == "gzip":
        try:
            from isal import igzip_lib
        except ImportError:  # no wheel for this machine; zlib is three times slower
            return _Gzip()
        made = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    elif kind == "zstd":
        made = _zstd()
    elif kind == "bzip2":
        import bz2

        made = bz2.BZ2Decompressor()
    elif kind == "xz":
        import lzma

        made = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 30)
    else:
        raise Unsupported("decompress archive", kind, "unknown compression")
    decompressor: Decompressor = made
    return decompressor


def _zstd() -> Any:
    try:
        from backports import zstd
    except ImportError:
        from compression import zstd  # type: ignore[import-not-found,no-redef]
    return zstd.ZstdDecompressor()


class Source:
    """One buffer over a stream: headers are cut from it, contents flow through it.

    `position` counts what was taken, and is where an error happened.
    """

    __slots__ = ("_at", "_buffer", "_read", "_taken")

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = b""
        self._at = 0
        self._taken = 0

    @property
    def position(self) -> int:
        """How many bytes of the stream were taken."""
        return self._taken + self._at

    def take(self, count: int) -> bytes:
        """`count` bytes, fewer only at the end of the stream."""
        end = self._at + count
        if end > len(self._buffer):
            self._fill(count)
            end = count
        data = self._buffer[self._at : end]
        self._at += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """`count` bytes; Corrupt if the stream ends before."""
        data = self.take(count)
        if len(data) != count:
            raise self.truncated()
        return data

    def chunks(self, count: int) -> Iterator[memoryview]:
        """`count` bytes in pieces that are valid until the next call; Corrupt if the stream ends before."""
        while count:
            if self._at == len(self._buffer):
                self._taken += self._at
                self._buffer, self._at = self._read(CHUNK), 0
                if not self._buffer:
                    raise self.truncated()
            piece = memoryview(self._buffer)[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def copy_to(self, fd: int, count: int) -> None:
        """Write `count` bytes to a descriptor."""
        if self._at + count <= len(self._buffer):  # most files: one piece
            write_all(fd, memoryview(self._buffer)[self._at : self._at + count])
            self._at += count
            return
        for piece in self.chunks(count):
            write_all(fd, piece)

    def skip(self, count: int) -> None:
        """Leave out `count` bytes."""
        if self._at + count <= len(self._buffer):
            self._at += count
            return
        for _ in self.chunks(count):
            pass

    def drain(self) -> None:
        """Read to the end."""
        self._taken += len(self._buffer)
        self._buffer, self._at = b"", 0
        while data := self._read(CHUNK):
            self._taken += len(data)

    def truncated(self) -> Corrupt:
        """The error of a stream that ends too early."""
        return Corrupt("read archive", "", "unexpected EOF", code="archive.truncated", facts={"at": self.position})

    def _fill(self, count: int) -> None:
        pieces = [self._buffer[self._at :]]
        have = len(pieces[0])
        self._taken += self._at
        while have < count and (more := self._read(CHUNK)):
            pieces.append(more)
            have += len(more)
        self._buffer, self._at = b"".join(pieces), 0
