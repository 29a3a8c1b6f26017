"""A client that is attached: what it is sent, when it is waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.runtime.log import HEADER, Writer
from onggi.runtime.subscriber import Subscriber, Wants

BOTH = Wants(stdin=False, stdout=True, stderr=True)


@pytest.fixture
def log(tmp_path: Path) -> Writer:
    """An empty log."""
    return Writer(os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The keeper's end and the client's."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


def test_frames_are_dockers(ends: Ends, log: Writer) -> None:
    """Eight bytes of header, no time, then the data."""
    log.append(1, 99, b"out")
    log.append(2, 99, b"err")
    Subscriber(ends[0], BOTH, 0, terminal=False).pump(log.descriptor, log.end)
    assert ends[1].recv(99) == b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err"


def test_a_terminal_has_no_frames(ends: Ends, log: Writer) -> None:
    """What a terminal shows is sent as it is."""
    log.append(1, 99, b"a")
    log.append(1, 99, b"b")
    Subscriber(ends[0], BOTH, 0, terminal=True).pump(log.descriptor, log.end)
    assert ends[1].recv(99) == b"ab"


def test_raw_frames_are_slices_of_the_log(ends: Ends, log: Writer) -> None:
    """With their times, as they are kept."""
    log.append(1, 99, b"a")
    Subscriber(ends[0], Wants(False, True, True, raw_frames=True), 0, terminal=False).pump(log.descriptor, log.end)
    assert ends[1].recv(99) == HEADER.pack(1, 1, 99) + b"a"


@pytest.mark.parametrize(("wants", "data"), [(Wants(False, True, False), b"out"), (Wants(False, False, True), b"err")])
def test_only_the_stream_that_was_asked_for(ends: Ends, log: Writer, wants: Wants, data: bytes) -> None:
    """The other one is passed over, and counts as sent."""
    log.append(1, 1, b"out")
    log.append(2, 1, b"err")
    subscriber = Subscriber(ends[0], wants, 0, terminal=False)
    subscriber.pump(log.descriptor, log.end)
    assert ends[1].recv(99)[8:] == data
    assert not subscriber.behind(log.end)


def test_a_late_subscriber_begins_where_it_asked(ends: Ends, log: Writer) -> None:
    """At the end of the log it sees only what comes."""
    log.append(1, 1, b"old")
    subscriber = Subscriber(ends[0], BOTH, log.end, terminal=True)
    log.append(1, 1, b"new")
    subscriber.pump(log.descriptor, log.end)
    assert ends[1].recv(99) == b"new"


def test_one_who_does_not_read_blocks_nobody_and_loses_nothing(ends: Ends, log: Writer) -> None:
    """A full socket: `pump` returns at once; everything arrives when the client reads."""
    for number in range(64):
        log.append(1, 1, bytes([number]) * (32 << 10))
    subscriber = Subscriber(ends[0], BOTH, 0, terminal=True)
    subscriber.pump(log.descriptor, log.end)
    assert subscriber.blocked
    received = b""
    while subscriber.behind(log.end) or len(received) < 64 * (32 << 10):
        received += ends[1].recv(1 << 20)
        subscriber.pump(log.descriptor, log.end)
    assert received == b"".join(bytes([number]) * (32 << 10) for number in range(64))


def test_one_who_is_gone_is_an_error_for_the_keeper(ends: Ends, log: Writer) -> None:
    """No signal: the keeper drops it."""
    ends[1].close()
    log.append(1, 1, b"x")
    with pytest.raises(OSError, match="Broken pipe"):
        Subscriber(ends[0], BOTH, 0, terminal=True).pump(log.descriptor, log.end)


def test_input_its_end_and_its_absence_are_three_things(ends: Ends) -> None:
    """Data, b"" at the end, None when there is nothing now."""
    subscriber = Subscriber(ends[0], Wants(True, True, True), 0, terminal=False)
    assert subscriber.receive() is None
    ends[1].send(b"in")
    assert subscriber.receive() == b"in"
    ends[1].shutdown(socket.SHUT_WR)
    assert subscriber.receive() == b""


def test_one_who_only_writes_is_never_behind(ends: Ends, log: Writer) -> None:
    """stdin alone: no output is sent or waited for."""
    log.append(1, 1, b"x")
    subscriber = Subscriber(ends[0], Wants(True, False, False), 0, terminal=False)
    subscriber.pump(log.descriptor, log.end)
    assert not subscriber.behind(log.end)
    assert not subscriber.listens
