"""`store/archive`: what Python's tarfile writes, we read, and damage is an error of ours, never another."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.imagetar import Member, member
from harness.imagetar import packed as pack
from onggi.errors import Corrupt, LimitExceeded
from onggi.store.archive import Entry, Kind, Reader
from onggi.store.limits import Limits
from onggi.store.source import Source

KINDS = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARD_LINK: tarfile.LNKTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
    Kind.CHARACTER: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
}


def reader(data: bytes, limits: Limits | None = None) -> Reader:
    """A reader over bytes in memory."""
    return Reader(Source(io.BytesIO(data).read), limits or Limits())


def listing(data: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    """All entries with their stored content."""
    archive = reader(data, limits)
    return [(entry, b"".join(bytes(piece) for piece in archive.chunks())) for entry in archive]


def packed(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive by Python's tarfile."""
    return pack(members, form)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40)
paths = st.lists(names, min_size=1, max_size=12).map("/".join)
members = st.builds(
    member,
    paths,
    st.binary(max_size=2000),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**40),
    gid=st.integers(0, 2**40),
    mtime=st.integers(0, 2**40),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(members, max_size=6), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_regular_files_round_trip(files: list[tuple[tarfile.TarInfo, bytes]], form: int) -> None:
    """Names, modes, owners, times, sizes and contents of whatever tarfile writes come out as they went in."""
    found = listing(packed(*files, form=form))
    assert [(e.name, e.mode, e.uid, e.gid, e.mtime, data) for e, data in found] == [
        (i.name.encode(), i.mode, i.uid, i.gid, int(i.mtime) * 10**9, data) for i, data in files
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(KINDS)), paths, paths), max_size=6),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_every_kind_round_trips(wanted: list[tuple[Kind, str, str]], form: int) -> None:
    """Kinds, links and device numbers come out as they went in."""
    infos = [
        member(name, type=KINDS[kind], linkname=link if "LINK" in kind.name else "", devmajor=5, devminor=6)
        for kind, name, link in wanted
    ]
    for entry, (kind, _, link) in zip((e for e, _ in listing(packed(*infos, form=form))), wanted, strict=True):
        assert entry.kind is kind
        assert entry.link == (link.encode() if "LINK" in kind.name else b"")
        if kind in (Kind.CHARACTER, Kind.BLOCK):
            assert (entry.major, entry.minor) == (5, 6)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_an_error_of_ours(data: st.DataObject) -> None:
    """Whatever bytes of an archive are changed or cut, we return entries or raise our own errors."""
    whole = packed(member("dir/" + "n" * 120, b"content" * 100, pax_headers={"SCHILY.xattr.user.a": "b"}), member("y"))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Corrupt, LimitExceeded):  # any other error fails the test
        listing(bytes(damaged))


def header(change: Callable[[bytearray], None], name: str = "x", data: bytes = b"") -> bytes:
    """One ustar member whose header was changed, with a checksum that fits again."""
    block = bytearray(packed(member(name, data), form=tarfile.USTAR_FORMAT))
    change(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


def put(at: int, value: bytes) -> Callable[[bytearray], None]:
    """A change of some bytes of a header."""

    def change(block: bytearray) -> None:
        block[at : at + len(value)] = value

    return change


def test_a_pax_time_keeps_its_nanoseconds() -> None:
    """No float on the way: 0.123456789 stays that."""
    data = packed(member("x", pax_headers={"mtime": "1700000000.123456789", "atime": "-1.5"}))
    entry = listing(data)[0][0]
    assert (entry.mtime, entry.atime) == (1700000000_123456789, -1_500000000)


def test_extended_attributes_come_as_bytes() -> None:
    """SCHILY.xattr records may hold any byte, newlines and NULs too."""
    entry = listing(packed(member("x", pax_headers={"SCHILY.xattr.security.capability": "\x01\n\0=x"})))[0][0]
    assert entry.xattrs == {"security.capability": b"\x01\n\0=x"}


def test_a_global_header_holds_until_it_is_taken_back() -> None:
    """`g` records apply to what follows, an entry's own come first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"gid": "77"}) as tar:
        tar.addfile(tarfile.TarInfo("a"))
        own = tarfile.TarInfo("b")
        own.pax_headers = {"gid": "78"}
        tar.addfile(own)
    assert [entry.gid for entry, _ in listing(buffer.getvalue())] == [77, 78]


def test_base_256_numbers_may_be_negative() -> None:
    """GNU tar writes what octal digits cannot hold in two's complement."""
    changed = header(put(136, (-5 & (1 << 96) - 1).to_bytes(12, "big")))
    assert listing(changed)[0][0].mtime == -5 * 10**9


def test_old_tars_with_signed_checksums_are_read() -> None:
    """Some systems added up signed bytes; a name beyond ASCII shows it."""
    block = bytearray(packed(member("ü"), form=tarfile.USTAR_FORMAT))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in block[:512])
    assert listing(bytes(block))[0][0].name == "ü".encode()


def test_the_directory_of_old_tars_is_its_trailing_slash() -> None:
    """V7 had no type for directories."""
    assert listing(header(put(156, b"\0"), "d/"))[0][0].kind is Kind.DIRECTORY


def test_a_wrong_checksum_is_corrupt() -> None:
    """In the words of Go's archive/tar, which Docker's users know."""
    block = bytearray(packed(member("x")))
    block[0] ^= 1
    with pytest.raises(Corrupt, match="invalid tar header"):
        listing(bytes(block))


@pytest.mark.parametrize("size", [b"8" * 11 + b"\0", b"\xff" * 12, b"-0000000001\0"])
def test_a_size_that_is_none_is_corrupt(size: bytes) -> None:
    """Digits that are not octal, and negative numbers."""
    with pytest.raises(Corrupt):
        listing(header(put(124, size)))


def test_a_content_that_ends_early_is_corrupt() -> None:
    """A truncated archive is not a short file."""
    with pytest.raises(Corrupt, match="unexpected EOF"):
        listing(packed(member("x", b"a" * 5000))[:2000])


def test_an_unknown_type_is_corrupt() -> None:
    """As for Docker: what we cannot make is not left out."""
    with pytest.raises(Corrupt, match="unhandled tar header type"):
        listing(header(put(156, b"Z")))


def test_an_extended_header_at_the_end_is_corrupt() -> None:
    """It announces an entry that does not come."""
    data = packed(member("x", pax_headers={"comment": "c"}))
    with pytest.raises(Corrupt):
        listing(data[:1024])


def test_too_many_entries_stop() -> None:
    """A million empty files are half a gigabyte that compresses to nothing."""
    with pytest.raises(LimitExceeded):
        listing(packed(*(member(str(n)) for n in range(30))), Limits(entries=20))


def test_a_giant_extended_header_stops() -> None:
    """Before it is read into memory."""
    with pytest.raises(LimitExceeded):
        listing(header(lambda block: put(124, b"77777777777\0")(block) or put(156, b"x")(block)))


def test_an_entry_that_nobody_reads_is_skipped() -> None:
    """The reader finds the next header by itself."""
    assert [e.name for e in reader(packed(member("a", b"1" * 700), member("b", b"2")))] == [b"a", b"b"]
