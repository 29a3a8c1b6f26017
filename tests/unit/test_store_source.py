"""`store/source`: streams, compressed in whatever way, in whatever pieces they come."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from onggi.errors import Corrupt, LimitExceeded
from onggi.store import source
from onggi.store.limits import Limits
from onggi.store.source import Decompressor, Source, compression, plain

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def pieces(data: bytes, sizes: Iterator[int]) -> Callable[[int], bytes]:
    """A stream that gives as little at a time as `sizes` says."""
    buffer = io.BytesIO(data)
    return lambda count: buffer.read(max(1, min(count, next(sizes))))


def endless(size: int) -> Iterator[int]:
    """The same size for ever."""
    while True:
        yield size


def everything(read: Callable[[int], bytes]) -> bytes:
    """The stream to its end."""
    return b"".join(iter(lambda: read(1000), b""))


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_compressed_stream_becomes_plain(kind: str, size: int) -> None:
    """However small the pieces are in which it comes."""
    data = bytes(range(256)) * 30
    read, found = plain(pieces(COMPRESSORS[kind](data), endless(size)), Limits())
    assert (found, everything(read)) == (kind, data)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_members_follow_each_other(kind: str) -> None:
    """And padding of zeros after the last means nothing."""
    compress = COMPRESSORS[kind]
    read, _ = plain(io.BytesIO(compress(b"one") + compress(b"two") + bytes(700)).read, Limits())
    assert everything(read) == b"onetwo"


@pytest.mark.parametrize("data", [b"", b"\x1f", b"plain text", bytes(1000), b"\x28\xb5"])
def test_anything_else_is_plain(data: bytes) -> None:
    """Also what is shorter than a magic number."""
    read, found = plain(io.BytesIO(data).read, Limits())
    assert (found, everything(read)) == ("", data)


def test_a_skippable_frame_of_zstd_is_zstd() -> None:
    """zstd:chunked puts such frames first or last."""
    assert compression(b"\x50\x2a\x4d\x18rest") == "zstd"


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("cut", [1, 5])
def test_a_stream_that_ends_early_is_corrupt(kind: str, cut: int) -> None:
    """It never is a shorter file."""
    read, _ = plain(io.BytesIO(COMPRESSORS[kind](b"x" * 5000)[:-cut]).read, Limits())
    with pytest.raises(Corrupt, match="unexpected EOF"):
        everything(read)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(COMPRESSORS)), st.data())
def test_damage_is_corrupt(kind: str, data: st.DataObject) -> None:
    """Whatever byte is changed, the error is ours."""
    damaged = bytearray(COMPRESSORS[kind](b"some text, " * 50))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    read, _ = plain(io.BytesIO(bytes(damaged)).read, Limits())
    with contextlib.suppress(Corrupt):  # any other error fails the test
        everything(read)


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_an_endless_stream_of_zeros_stops(kind: str) -> None:
    """Long before it ends."""
    read, _ = plain(io.BytesIO(COMPRESSORS[kind](bytes(3_000_000))).read, Limits(expanded=100_000, ratio=20))
    with pytest.raises(LimitExceeded):
        everything(read)


def test_what_compresses_well_is_no_bomb() -> None:
    """Below the limit that is given away, any ratio is fine."""
    read, _ = plain(io.BytesIO(gzip.compress(bytes(3_000_000))).read, Limits())
    assert len(everything(read)) == 3_000_000


def test_without_isal_zlib_does_the_same() -> None:
    """For machines that have no wheel of it."""
    decompressor: Decompressor = source._Gzip()
    data, output = zlib.compress(b"abc" * 5000, wbits=31), b""
    while not decompressor.eof:
        piece, data = (data[:10], data[10:]) if decompressor.needs_input else (b"", data)
        output += decompressor.decompress(piece, 100)
    assert output == b"abc" * 5000


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000), st.lists(st.integers(1, 500), min_size=1), st.lists(st.integers(1, 700), min_size=1))
def test_a_source_gives_each_byte_once(data: bytes, arriving: list[int], wanted: list[int]) -> None:
    """Taken, in chunks or skipped, and the position counts them."""

    def sizes() -> Iterator[int]:
        while True:
            yield from arriving

    stream = Source(pieces(data, sizes()))
    at = 0
    for turn, count in enumerate(wanted):
        rest = min(count, len(data) - at)
        if turn % 3 == 0:
            assert stream.take(count) == data[at : at + count]
        elif turn % 3 == 1:
            assert b"".join(bytes(piece) for piece in stream.chunks(rest)) == data[at : at + rest]
        else:
            stream.skip(rest)
        at += rest
        assert stream.position == at
