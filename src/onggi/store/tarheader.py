"""The fields of tar headers: numbers, extended records, maps of sparse files. Bytes in, values out, no I/O.

The formats: POSIX ustar and pax (IEEE 1003.1, "pax Interchange Format"), GNU ("Basic Tar Format" of GNU tar's manual),
and what star and Go's archive/tar made of them. Callers: `store/archive`. Read next: `archive`.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

from onggi.errors import Corrupt

BLOCK = 512
HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
"""name, mode, uid, gid, size, mtime, checksum, type, link, magic with version, user, group, major, minor, prefix."""

_SPARSE = struct.Struct("12s12s")
_ADLER_MODULUS = 65521
SparseMap = list[tuple[int, int]]
"""Where the data lie: offset and length, in order."""


def corrupt(cause: str, obj: str = "") -> Corrupt:
    """The error of an archive that is not one."""
    return Corrupt("read archive", obj, cause, code="archive.bad-header")


def checksum_fits(block: bytes, stated: int) -> bool:
    """Whether the bytes of the header, its checksum field taken as spaces, add up to `stated`.

    Adler-32's lower half is one more than the sum modulo 65521, by far the fastest sum that Python has; headers that it
    does not confirm are added up again, also with signed bytes, as some old tars did.
    """
    correction = 8 * 32 - sum(block[148:156])
    if (zlib.adler32(block) & 0xFFFF) == (1 + stated - correction) % _ADLER_MODULUS:
        return True
    signed = sum(struct.unpack("512b", block)) - sum(struct.unpack("8b", block[148:156])) + 8 * 32
    return stated in (sum(block) + correction, signed)


@lru_cache(maxsize=4096)
def number(field: bytes, what: str = "number") -> int:
    """A numeric field: octal digits, or GNU's base 256 with the first bit set (two's complement).

    Cached, because modes, owners and times repeat from entry to entry.
    """
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if field[0] & 0x40 else value
    digits = field.lstrip(b" \0").partition(b"\0")[0].rstrip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise corrupt(f"archive/tar: invalid tar header: {what} {digits!r}")
    try:
        return int(digits, 8)
    except ValueError:
        raise corrupt(f"archive/tar: invalid tar header: {what} {digits!r}") from None


def text(field: bytes) -> bytes:
    """A text field: up to its first NUL, or all of it."""
    return field.partition(b"\0")[0]


def pax_records(data: bytes) -> list[tuple[str, bytes]]:
    """The records `length key=value\\n` of an extended header, in order, repeated ones repeated."""
    records: list[tuple[str, bytes]] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 24)
        digits = data[at:space]
        if space < 0 or not digits.isdigit():
            if not data[at:].strip(b"\0"):
                break  # some writers pad with NULs inside the stated size
            raise corrupt("invalid pax record: no length")
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not equals or not key:
            raise corrupt("invalid pax record: length and content differ")
        records.append((key.decode(errors="surrogateescape"), value))
        at = end
    return records


def pax_number(value: bytes, key: str) -> int:
    """A decimal number of an extended header, not negative."""
    if not value.isdigit() or len(value) > 24:
        raise corrupt(f"invalid pax record: {key}={value[:40]!r}")
    return int(value)


def pax_time(value: bytes, key: str) -> int:
    """A time of an extended header, `seconds[.fraction]`, in nanoseconds; digits after the ninth are dropped."""
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    whole = whole[1:] if negative else whole
    if not whole.isdigit() or len(whole) > 18 or (fraction and not fraction.isdigit()):
        raise corrupt(f"invalid pax record: {key}={value[:40]!r}")
    nanoseconds = int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0") or b"0")
    return -nanoseconds if negative else nanoseconds


def gnu_sparse(data: bytes) -> tuple[SparseMap, bool]:
    """Entries of the old GNU sparse map, and whether an extension block follows.

    `data` is the four places in a header (offset 386) or the 21 of an extension block, with the flag after them.
    """
    places = len(data) // _SPARSE.size
    found: SparseMap = []
    for offset, length in _SPARSE.iter_unpack(data[: places * _SPARSE.size]):
        if not offset.strip(b" \0") and not length.strip(b" \0"):
            break
        found.append((number(offset, "sparse offset"), number(length, "sparse length")))
    return found, data[places * _SPARSE.size] != 0


def pax_sparse(records: list[tuple[str, bytes]]) -> SparseMap:
    """The map of GNU's pax formats 0.0 (repeated records) and 0.1 (one record with commas)."""
    for key, value in records:
        if key == "GNU.sparse.map":
            numbers = [pax_number(part, key) for part in value.split(b",")] if value else []
            return _pairs(numbers)
    numbers = []
    for key, value in records:
        if key in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            if (key == "GNU.sparse.numbytes") != bool(len(numbers) % 2):
                raise corrupt("invalid sparse map: offsets and lengths do not alternate")
            numbers.append(pax_number(value, key))
    return _pairs(numbers)


def _pairs(numbers: list[int]) -> SparseMap:
    if len(numbers) % 2:
        raise corrupt("invalid sparse map: an offset without a length")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check_sparse(found: SparseMap, size: int, stored: int) -> SparseMap:
    """The map, if its parts follow each other, end within `size` and hold exactly the `stored` bytes."""
    end = 0
    for offset, length in found:
        if offset < end or length < 0 or offset + length > size:
            raise corrupt("invalid sparse map: parts overlap or leave the file")
        end = offset + length
    if sum(length for _, length in found) != stored:
        raise corrupt("invalid sparse map: it does not hold the stored bytes")
    return [(offset, length) for offset, length in found if length]
