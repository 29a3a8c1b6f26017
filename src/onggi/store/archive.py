"""A tar archive as a sequence of entries: ustar, PAX, GNU long names and numbers, GNU sparse files in all four formats.

It reads forward only, keeps nothing, and believes nothing: every number is checked before it is used. Names and link
targets are bytes as the archive has them; what they may mean below a root is for `store/unpack` to decide. Not the
writer of archives. Callers: `store/unpack`, `store/load`. Read next: `unpack`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from onggi.store import tarheader
from onggi.store.limits import Limits, exceeded
from onggi.store.source import Source
from onggi.store.tarheader import BLOCK, HEADER, SparseMap, corrupt, number, pax_number, pax_time

_ZEROS = bytes(BLOCK)
_NANOSECONDS = 10**9
_XATTR = "SCHILY.xattr."


class Kind(Enum):
    """What an entry makes."""

    FILE = "regular file"
    HARD_LINK = "hard link"
    SYMLINK = "symbolic link"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"


_KINDS = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_EXTENDED = frozenset(b"x g X L K V".split())  # V, a volume's label, makes nothing
_FILE = Kind.FILE


@dataclass(slots=True)
class Entry:
    """One member. Not frozen: that alone would cost more than the rest of reading its header."""

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    """Bytes of the file that it makes, holes included."""
    mtime: int
    """Nanoseconds since 1970."""
    link: bytes = b""
    major: int = 0
    minor: int = 0
    atime: int | None = None
    xattrs: dict[str, bytes] | None = None
    sparse: SparseMap | None = None
    """Where the data lie, if there are holes."""


@dataclass(slots=True)
class _Pending:
    """What extended headers said about the entry that follows."""

    records: list[tuple[str, bytes]] = field(default_factory=list)
    name: bytes | None = None
    link: bytes | None = None


class Reader:
    """The entries of an archive; the content of the current one through `copy_to`, `read` or `chunks`."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.entries = 0
        self._limits = limits
        self._left = 0  # content of the current entry that nobody took
        self._padding = 0
        self._global: dict[str, bytes] = {}
        self._sparse: SparseMap | None = None
        self._size = 0

    def __iter__(self) -> Iterator[Entry]:
        """The entries in order; content that was not taken is skipped."""
        pending = None
        while True:
            block = self._next_block()
            if block is None:
                if pending is not None:
                    raise self.source.truncated()
                return
            kind = block[156:157]
            self.entries += 1
            if self.entries > self._limits.entries:
                raise exceeded("read archive", "", f"more than {self._limits.entries} entries")
            if kind in _EXTENDED:
                pending = self._extended(kind, block, pending or _Pending())
                continue
            if pending is None and not self._global and kind != b"S":
                entry = self._entry(block)
            else:
                entry = self._extended_entry(block, pending or _Pending())
            pending = None
            if entry.kind is _FILE and entry.name.endswith(b"/"):
                entry.kind = Kind.DIRECTORY  # of archives older than the type; its name is whole only here
            yield entry

    def chunks(self) -> Iterator[memoryview]:
        """The stored content that is left of the current entry, in pieces."""
        left, self._left = self._left, 0
        return self.source.chunks(left)

    def read(self, limit: int) -> bytes:
        """The whole content of the current entry, at most `limit` bytes of it; LimitExceeded beyond."""
        if self._left > limit:
            raise exceeded("read archive", "", f"a document of {self._left} bytes")
        left, self._left = self._left, 0
        return self.source.exactly(left)

    def copy_to(self, fd: int) -> None:
        """Write the content of the current entry to an empty file, with its holes."""
        if self._sparse is not None:
            self._copy_sparse(fd)
            return
        left, self._left = self._left, 0
        self.source.copy_to(fd, left)

    def _copy_sparse(self, fd: int) -> None:
        assert self._sparse is not None
        os.ftruncate(fd, self._size)
        self._left = 0
        for offset, length in self._sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            self.source.copy_to(fd, length)

    # -- headers ---------------------------------------------------------------------------------------------------

    def _next_block(self) -> bytes | None:
        """The next header; None at the end of the archive, which is two blocks of zeros or the end of the stream."""
        source = self.source
        source.skip(self._left + self._padding)
        self._left = self._padding = 0
        self._sparse = None
        block = source.take(BLOCK)
        if block == _ZEROS:
            following = source.take(BLOCK)
            if following not in (b"", _ZEROS):
                raise corrupt("archive/tar: invalid tar header")
            return None
        if not block:
            return None
        if len(block) != BLOCK:
            raise source.truncated()
        return block

    def _entry(self, block: bytes) -> Entry:
        """An entry from a header alone; its content comes next in the source."""
        (name, mode, uid, gid, size, mtime, checksum, flag, link, magic, _, _, major, minor, prefix) = HEADER.unpack(
            block
        )
        _check(block, checksum)
        kind = _KINDS.get(flag)
        if kind is None:
            raise corrupt(f"unhandled tar header type {flag[0]}", name.rstrip(b"\0").decode(errors="replace"))
        name = name.partition(b"\0")[0]
        if prefix[0] and magic[:6] == b"ustar\0":
            prefix = prefix[:131] if block[508:] == b"tar\0" else prefix
            name = prefix.partition(b"\0")[0] + b"/" + name
        length = number(size, "size")
        if kind is _FILE:
            self._expect(length)
        else:
            length = 0
        entry = Entry(
            name,
            kind,
            number(mode, "mode") & 0o7777,
            number(uid, "uid"),
            number(gid, "gid"),
            length,
            number(mtime, "mtime") * _NANOSECONDS,
        )
        if kind is not _FILE:
            entry.link = link.partition(b"\0")[0]
            if kind is Kind.CHARACTER or kind is Kind.BLOCK:
                entry.major, entry.minor = number(major, "major"), number(minor, "minor")
        return entry

    def _expect(self, size: int) -> None:
        if size < 0:
            raise corrupt("archive/tar: invalid tar header: negative size")
        self._left = self._size = size
        self._padding = -size % BLOCK

    def _extended(self, kind: bytes, block: bytes, pending: _Pending) -> _Pending:
        """Take in an extended header."""
        fields = HEADER.unpack(block)
        _check(block, fields[6])
        size = number(fields[4], "size")
        if not 0 <= size <= self._limits.extended:
            raise exceeded("read archive", "", f"an extended header of {size} bytes")
        data = self.source.exactly(size)
        self.source.skip(-size % BLOCK)
        if kind in (b"x", b"X"):
            pending.records = tarheader.pax_records(data)
        elif kind == b"g":
            self._remember(tarheader.pax_records(data))
        elif kind == b"L":
            pending.name = tarheader.text(data)
        elif kind == b"K":
            pending.link = tarheader.text(data)
        return pending

    def _remember(self, records: list[tuple[str, bytes]]) -> None:
        for key, value in records:
            if value:
                self._global[key] = value
            else:
                self._global.pop(key, None)
        if sum(len(key) + len(value) for key, value in self._global.items()) > self._limits.extended:
            raise exceeded("read archive", "", "too many global extended headers")

    def _extended_entry(self, block: bytes, pending: _Pending) -> Entry:
        """An entry with what the headers before it, and the global ones, say about it."""
        entry = self._entry(block)
        records = dict(self._global)
        records.update(pending.records)  # an empty value takes a global one back
        if pending.name is not None:
            entry.name = pending.name
        if pending.link is not None:
            entry.link = pending.link
        if records:
            _apply_records(entry, records)
        if entry.kind is _FILE and records.get("size"):
            self._expect(pax_number(records["size"], "size"))
            entry.size = self._left
        if entry.kind is _FILE:
            self._read_sparse_map(entry, block, records, pending.records)
        return entry

    # -- sparse files ----------------------------------------------------------------------------------------------

    def _read_sparse_map(
        self, entry: Entry, block: bytes, records: dict[str, bytes], ordered: list[tuple[str, bytes]]
    ) -> None:
        if block[156:157] == b"S" and block[257:265] == b"ustar  \0":
            found, more = tarheader.gnu_sparse(block[386:483])
            size = number(block[483:495], "size")
            while more:
                part, more = tarheader.gnu_sparse(self.source.exactly(BLOCK)[:505])
                found += part
                if len(found) > self._limits.extended:
                    raise exceeded("read archive", "", "a sparse map without end")
        elif records.get("GNU.sparse.major") == b"1" and records.get("GNU.sparse.minor") == b"0":
            size = pax_number(records.get("GNU.sparse.realsize", b""), "GNU.sparse.realsize")
            found = self._embedded_map()
        elif "GNU.sparse.size" in records or "GNU.sparse.map" in records:
            size = pax_number(records.get("GNU.sparse.size", b""), "GNU.sparse.size")
            found = tarheader.pax_sparse(ordered)
        else:
            return
        entry.name = records.get("GNU.sparse.name") or entry.name
        entry.sparse = self._sparse = tarheader.check_sparse(found, size, self._left)
        entry.size = self._size = size

    def _embedded_map(self) -> SparseMap:
        """The map of format 1.0: decimal lines before the data, the first one their number, padded to a block."""
        data = b""
        wanted = 1
        while data.count(b"\n") < wanted:
            if self._left < BLOCK or len(data) > self._limits.document:
                raise corrupt("invalid sparse map: it does not end")
            data += self.source.exactly(BLOCK)
            self._left -= BLOCK
            if wanted == 1 and b"\n" in data:
                wanted = 1 + 2 * pax_number(data.partition(b"\n")[0], "sparse map")
        numbers = [pax_number(line, "sparse map") for line in data.split(b"\n")[1:wanted]]
        return list(zip(numbers[::2], numbers[1::2], strict=True))


def _check(block: bytes, stated: bytes) -> None:
    digits = stated.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits or not tarheader.checksum_fits(block, int(digits, 8)):
        raise corrupt("archive/tar: invalid tar header")


def _apply_records(entry: Entry, records: dict[str, bytes]) -> None:
    for key, value in records.items():
        if not value:
            continue
        if key == "path":
            entry.name = value
        elif key == "linkpath":
            entry.link = value
        elif key == "uid":
            entry.uid = pax_number(value, key)
        elif key == "gid":
            entry.gid = pax_number(value, key)
        elif key == "mtime":
            entry.mtime = pax_time(value, key)
        elif key == "atime":
            entry.atime = pax_time(value, key)
        elif key.startswith(_XATTR):
            entry.xattrs = entry.xattrs or {}
            entry.xattrs[key[len(_XATTR) :]] = value
