"""The log: frames go in and come out; what the disk or a crash cut off is not seen."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from onggi.runtime.log import CHUNK, HEADER, Frame, Writer, parse_frames, read_frames

_PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 2**63), st.binary(max_size=200)), max_size=8)


def encoded(pieces: list[tuple[int, int, bytes]]) -> bytes:
    """The file that these pieces make."""
    return b"".join(HEADER.pack(stream, len(data), time) + data for stream, time, data in pieces)


@given(_PIECES, st.integers(0, 10**9))
def test_what_goes_in_comes_out(pieces: list[tuple[int, int, bytes]], offset: int) -> None:
    """Stream, time and data, in order, each with the offset behind it."""
    block = encoded(pieces)
    found = list(parse_frames(block, offset))
    assert [(f.stream, f.time, f.data) for f in found] == pieces
    assert not found or found[-1].end == offset + len(block)


@given(_PIECES, st.data())
def test_a_torn_end_is_left_for_later(pieces: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    """Cut anywhere: the whole frames before the cut, and nothing of the one that was hit."""
    block = encoded(pieces)
    cut = data.draw(st.integers(0, len(block)))
    found = list(parse_frames(block[:cut]))
    assert [(f.stream, f.time, f.data) for f in found] == pieces[: len(found)]
    assert (found[-1].end if found else 0) <= cut


def writer(path: Path) -> Writer:
    """A writer on a file that it owns."""
    return Writer(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def test_the_writer_appends(tmp_path: Path) -> None:
    """Two pieces, and a second writer that goes on where the first one ended."""
    first = writer(tmp_path / "log")
    first.append(1, 5, b"out")
    first.append(2, 6, b"err")
    second = writer(tmp_path / "log")
    second.append(1, 7, b"again")
    assert list(read_frames(second.descriptor, 0)) == [
        Frame(1, 5, b"out", 19),
        Frame(2, 6, b"err", 38),
        Frame(1, 7, b"again", 59),
    ]
    assert second.end == 59


def test_frames_are_read_from_any_frame_on(tmp_path: Path) -> None:
    """`end` of one frame is where the next one begins."""
    log = writer(tmp_path / "log")
    for number in range(3):
        log.append(1, number, b"x" * number)
    first = next(read_frames(log.descriptor, 0))
    assert [frame.time for frame in read_frames(log.descriptor, first.end)] == [1, 2]


def test_a_frame_of_the_largest_size_fits_one_read(tmp_path: Path) -> None:
    """A small `size` still reads one whole frame: a reader always gets on."""
    log = writer(tmp_path / "log")
    log.append(1, 1, b"y" * CHUNK)
    assert [len(frame.data) for frame in read_frames(log.descriptor, 0, size=10)] == [CHUNK]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel's own full disk: writes beyond `size` fail or are short (RLIMIT_FSIZE)."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_does_not_fit_is_taken_back_whole(tmp_path: Path) -> None:
    """A short write leaves no torn frame; it is counted, and the log goes on when there is room again."""
    log = writer(tmp_path / "log")
    log.append(1, 1, b"kept")
    with largest_file(log.end + HEADER.size + 3):
        log.append(1, 2, b"torn in the middle")
        log.append(2, 3, b"")
    assert log.lost == len(b"torn in the middle")
    log.append(1, 4, b"later")
    assert [frame.data for frame in read_frames(log.descriptor, 0)] == [b"kept", b"", b"later"]
    assert os.fstat(log.descriptor).st_size == log.end


def test_a_full_disk_loses_and_counts(tmp_path: Path) -> None:
    """No byte fits: nothing is written, the container goes on."""
    log = writer(tmp_path / "log")
    log.append(1, 1, b"kept")
    with largest_file(log.end):
        log.append(1, 2, b"lost")
    assert (log.lost, [f.data for f in read_frames(log.descriptor, 0)]) == (4, [b"kept"])


def test_forgetting_empties_the_file(tmp_path: Path) -> None:
    """A log that nobody keeps begins again at 0."""
    log = writer(tmp_path / "log")
    log.append(1, 1, b"x")
    log.forget()
    log.append(1, 2, b"y")
    assert list(read_frames(log.descriptor, 0)) == [Frame(1, 2, b"y", 17)]
