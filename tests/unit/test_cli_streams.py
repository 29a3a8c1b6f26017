"""Frames are taken apart wherever the stream is cut; the client reads what engines send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.cli.client import Connection, quote, with_query
from onggi.cli.failure import CommandFailed, EngineSaidNo
from onggi.cli.streams import Frames
from onggi.cli.terminal import DetachWatch, keys


def frame(kind: int, payload: bytes) -> bytes:
    """One frame of the attach stream."""
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50))), st.integers(1, 20))
def test_frames_survive_any_cut(sent: list[tuple[int, bytes]], step: int) -> None:
    """However the bytes arrive, the same payloads come out for the same descriptors."""
    data = b"".join(frame(kind, payload) for kind, payload in sent)
    frames, got = Frames(), []
    for start in range(0, len(data), step):
        got += frames.feed(data[start : start + step])
    assert got == sent


def test_an_error_frame_ends_the_stream() -> None:
    """Type 3 is the engine's own error."""
    with pytest.raises(CommandFailed, match="it broke"):
        Frames().feed(frame(3, b"it broke"))


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A client's connection and the engine's end of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours, "/test"), theirs


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n" + b'{"a\r\n4;x=y\r\n":1}\r\n0\r\nT: x\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
    ],
)
def test_an_answer_is_read_in_each_framing(ends: tuple[Connection, socket.socket], answer: bytes) -> None:
    """With a length, in chunks, after a 100: the same document; and the next answer is found behind it."""
    connection, engine = ends
    engine.sendall(answer * 2)
    assert connection.request("GET", "/x").json() == {"a": 1}
    assert connection.request("GET", "/x").json() == {"a": 1}


def test_lines_are_handed_out_as_they_complete(ends: tuple[Connection, socket.socket]) -> None:
    """A stream of JSON lines that arrives in odd pieces."""
    connection, engine = ends
    engine.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"a":1}\r\n{"b"')
    lines = connection.request("GET", "/events").lines()
    assert next(lines) == {"a": 1}
    engine.sendall(b":2}")
    engine.shutdown(socket.SHUT_WR)
    assert next(lines) == {"b": 2}


def test_a_hijacked_stream_begins_behind_the_head(ends: tuple[Connection, socket.socket]) -> None:
    """Bytes that came with the head are not lost."""
    connection, engine = ends
    engine.sendall(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nfirst")
    connection.request("POST", "/attach", upgrade=True)
    assert connection.buffered() == b"first"


@pytest.mark.parametrize("body", [b'{"message":"No such container: x"}', b"No such container: x\n"])
def test_an_error_has_the_engines_words(ends: tuple[Connection, socket.socket], body: bytes) -> None:
    """The message of a JSON error, or the text of a plain one."""
    connection, engine = ends
    engine.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    with pytest.raises(EngineSaidNo, match=r"^No such container: x$") as caught:
        connection.request("GET", "/x")
    assert caught.value.code == 404


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 abc x\r\n\r\n", b"", b"x" * 70_000])
def test_who_does_not_speak_http_is_told_apart(ends: tuple[Connection, socket.socket], answer: bytes) -> None:
    """Another service on the socket gives an error, not a traceback."""
    connection, engine = ends
    engine.sendall(answer)
    engine.shutdown(socket.SHUT_WR)
    with pytest.raises(CommandFailed):
        connection.request("GET", "/x")


def test_a_body_that_stops_early_is_an_error(ends: tuple[Connection, socket.socket]) -> None:
    """Half a document is never taken for a whole one."""
    connection, engine = ends
    engine.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
    engine.shutdown(socket.SHUT_WR)
    with pytest.raises(CommandFailed, match="hung up"):
        connection.request("GET", "/x").json()


def test_a_query_is_quoted() -> None:
    """A name cannot add a parameter or leave its path segment."""
    assert (
        with_query("/x", {"a": True, "b": False, "c": None, "d": "", "e": "1&f=ü", "t": 0})
        == "/x?a=1&e=1%26f%3D%C3%BC&t=0"
    )
    assert quote("../a?b") == "..%2Fa%3Fb"


def test_detach_keys_are_read() -> None:
    """Names of control keys become their bytes."""
    assert keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert keys("ctrl-],x,ctrl-@") == b"\x1dx\x00"


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-é", "esc", "ctrl-p,,x", "ctrl-1"])
def test_unknown_detach_keys_are_refused(text: str) -> None:
    """The key that is not known is named."""
    with pytest.raises(CommandFailed, match="detach keys"):
        keys(text)


def test_a_detach_is_noticed_across_pieces() -> None:
    """The sequence counts when it is typed in a row, also in two reads, and not when something comes between."""
    watch = DetachWatch("")
    watch.feed(b"a\x10b\x11")
    assert not watch.seen
    watch.feed(b"\x10\x10")
    watch.feed(b"\x11")
    assert watch.seen
