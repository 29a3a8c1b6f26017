"""The HTTP server over a real unix socket: its answers, its limits, and what rude clients can do to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from harness.api import Api
from harness.small_engine import SmallServer
from onggi.api.connection import Limits
from onggi.api.http import Reply, Request, Response, StreamResponse, json_response

DONE: list[str] = []
"""What the probing handlers saw."""
SEEN = threading.Event()
GATE: list[asyncio.Event] = []


async def forever(request: Request) -> Reply:
    """A stream that says one thing and then nothing; it tells when it is cancelled."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"first\n"
        await asyncio.Event().wait()

    async def close() -> None:
        DONE.append("closed")
        SEEN.set()

    return StreamResponse(chunks(), close=close)


async def silent(request: Request) -> Reply:
    """A handler that never answers; it tells when it is cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        DONE.append("cancelled")
        SEEN.set()
    return Response()


async def gate(request: Request) -> Reply:
    """An answer that waits until as many requests wait as the query says."""
    GATE.append(event := asyncio.Event())
    if len(GATE) == request.query.number("count"):
        for other in GATE:
            other.set()
    await event.wait()
    return Response(200, b"late")


async def size(request: Request) -> Reply:
    """The length of the body."""
    return json_response(len(await request.read(1 << 30)))


async def echo(request: Request) -> Reply:
    """The body, chunk by chunk, while it still arrives."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        async for chunk in request.body:
            yield chunk

    return StreamResponse(chunks())


async def inject(request: Request) -> Reply:
    """A handler that puts what a client sent into a header."""
    return Response(200, headers=(("X-Echo", request.query.text("v")),))


async def broken(request: Request) -> Reply:
    """A handler with a bug."""
    raise ZeroDivisionError("a bug")


ROUTES = (
    ("GET", "/forever", forever),
    ("GET", "/silent", silent),
    ("GET", "/gate", gate),
    ("POST", "/size", size),
    ("POST", "/echo", echo),
    ("GET", "/inject", inject),
    ("GET", "/broken", broken),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server with the small engine and the handlers above."""
    path = tmp_path_factory.mktemp("api") / "s"
    with SmallServer(path, *ROUTES, limits=Limits(header_bytes=1 << 16, header_seconds=0.3)) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh() -> None:
    DONE.clear()
    GATE.clear()
    SEEN.clear()


@pytest.fixture
def api(server: SmallServer) -> Api:
    """Requests to it."""
    return Api(server.path)


def exchange(server: SmallServer, sent: bytes, *, half_close: bool = False) -> bytes:
    """All that the server says to `sent` until it closes."""
    with server.connect() as client:
        client.sendall(sent)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_ping_has_dockers_headers(api: Api) -> None:
    """`_ping` says OK, with the headers from which clients negotiate."""
    answer = api("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    wanted = {"Api-Version", "Builder-Version", "Cache-Control", "Content-Length", "Content-Type", "Date"}
    wanted |= {"Docker-Experimental", "Ostype", "Pragma", "Server", "Swarm"}
    assert {name.lower() for name in wanted} == set(answer.headers)
    assert answer.headers["api-version"] == "1.51"


def test_head_has_no_body(server: SmallServer) -> None:
    """HEAD gives the header alone, and the connection goes on."""
    head = b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = exchange(server, head + b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    first, second = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert b"Content-Length: 0\r\n" in first
    assert first.endswith(b"\r\n\r\n")
    assert second.endswith(b"\r\n\r\nOK")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nosuch"), ("DELETE", "/_ping"), ("GET", "/v1.45/"), ("GET", "/")]
)
def test_unknown_is_404(api: Api, method: str, path: str) -> None:
    """An unknown path and a wrong method are both *page not found*."""
    answer = api(method, path)
    assert (answer.status, answer.body) == (404, b'{"message":"page not found"}\n')


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.99", "client version 1.99 is too new. Maximum supported API version is 1.51"),
        ("2", "client version 2 is too new. Maximum supported API version is 1.51"),
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version",
        ),
    ],
)
def test_version_out_of_range(api: Api, version: str, message: str) -> None:
    """A version that is too new or too old is refused in Docker's words."""
    answer = api("GET", f"/v{version}/info")
    assert (answer.status, answer.message) == (400, message)


def test_every_version_in_range(api: Api) -> None:
    """1.24 to 1.51 are all answered, and so is no version."""
    assert {api("GET", f"/v1.{minor}/version").status for minor in range(24, 52)} == {200}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{bad", "invalid JSON: invalid character 'b' looking for beginning of object key string"),
        (b'{"Image":"x"} y', "unexpected content after JSON"),
        (b'{"Image":"x"', "invalid JSON: unexpected EOF"),
        (b"[" * 200_000, "invalid JSON: exceeded max depth"),
        (b"null", "config cannot be empty in order to create a container"),
    ],
)
def test_bad_json_is_400(api: Api, body: bytes, message: str) -> None:
    """A body that is no JSON is refused in Docker's words."""
    answer = api("POST", "/containers/create", body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.message) == (400, message)


def test_json_needs_its_content_type(api: Api) -> None:
    """JSON that is declared as something else is refused."""
    answer = api("POST", "/containers/create", b"{}", headers={"Content-Type": "text/plain"})
    assert answer.message == "unsupported Content-Type header (text/plain): must be 'application/json'"


def test_a_header_cannot_be_injected(server: SmallServer) -> None:
    """A line end that a handler puts into a header does not make another header."""
    answer = exchange(server, b"GET /inject?v=a%0d%0aX-Evil:%20yes HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"X-Evil" not in answer


def test_a_split_request_is_refused(server: SmallServer) -> None:
    """Two lengths, or a length and chunks that disagree, could smuggle a request: 400, and the connection ends."""
    answer = exchange(server, b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 99])
def test_what_is_not_http_is_refused(server: SmallServer, junk: bytes) -> None:
    """Bytes that are not HTTP get a plain 400 or a closed connection, and harm nobody else."""
    assert exchange(server, junk, half_close=True)[:12] in (b"HTTP/1.1 400", b"")
    assert Api(server.path)("GET", "/_ping").status == 200


def test_huge_header_is_431(server: SmallServer) -> None:
    """A header beyond the limit is refused before it is whole."""
    answer = exchange(server, b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * (1 << 17))
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_slow_header_is_cut_off(server: SmallServer) -> None:
    """A client that does not end its header is hung up on after the limit."""
    assert exchange(server, b"GET /_ping HTTP/1.1\r\nHos") == b""


def test_idle_connection_is_kept(server: SmallServer) -> None:
    """A connection on which nothing was begun is kept longer than a header may take."""
    with server.connect() as idle:
        assert exchange(server, b"GET /_ping HTTP/1.1\r\nHos") == b""  # lasts as long as the limit
        idle.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_pipelined_requests_are_answered_in_order(server: SmallServer) -> None:
    """Requests that come before their predecessors' answers are answered one after the other."""
    requests = b"".join(
        b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (n, b"z" * n) for n in range(50)
    )
    answer = exchange(server, requests, half_close=True)
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert [json.loads(body) for body in bodies] == list(range(50))


def test_half_closed_client_gets_its_answer(server: SmallServer) -> None:
    """A client that closes its writing side behind the request is still there."""
    with server.connect() as client:
        client.sendall(b"GET /gate?count=2 HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert exchange(server, b"GET /gate?count=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"late")
        assert client.recv(65536).endswith(b"late")


def test_vanished_client_cancels_its_stream(server: SmallServer) -> None:
    """A client that hangs up in the middle of a silent stream leaves nothing running."""
    with server.connect() as client:
        client.sendall(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"first" not in client.recv(65536):
            pass
    assert SEEN.wait(5)
    assert DONE == ["closed"]


def test_vanished_client_cancels_its_handler(server: SmallServer) -> None:
    """A client that hangs up before the answer cancels the handler, also after a half-close."""
    for how in (False, True):
        SEEN.clear()
        with server.connect() as client:
            client.sendall(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
            if how:
                client.shutdown(socket.SHUT_WR)
        assert SEEN.wait(5)
    assert DONE == ["cancelled", "cancelled"]


def test_upload_that_stops_in_the_middle(server: SmallServer) -> None:
    """A body that ends too early is the client's error, not a hang."""
    answer = exchange(server, b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", half_close=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"unexpected EOF" in answer


def test_body_both_ways_at_once(server: SmallServer) -> None:
    """The answer to a chunked body comes while the body is still sent."""
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        received = b""
        while b"one" not in received:
            received += client.recv(65536)
        client.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        while not received.endswith(b"0\r\n\r\n"):
            received += client.recv(65536)
    assert b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n" in received


def test_continue_is_sent_when_the_body_is_wanted(server: SmallServer) -> None:
    """*100 Continue* comes for a body that is read, and not for one that nobody wants."""
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with server.connect() as client:
        client.sendall(head % b"/size")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert client.recv(65536).endswith(b"\r\n\r\n3\n")
    assert exchange(server, head % b"/nosuch").startswith(b"HTTP/1.1 404 ")


def test_unwanted_small_body_keeps_the_connection(server: SmallServer) -> None:
    """A small body that no handler read is skipped; the next request is answered."""
    first = b"POST /nosuch HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    answer = exchange(server, first + b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"OK")


def test_json_body_without_end_is_refused(api: Api) -> None:
    """A JSON body beyond the limit is not read into memory."""
    answer = api("POST", "/containers/create", b" " * (9 << 20), headers={"Content-Type": "application/json"})
    assert answer.status == 400


def test_a_bug_is_a_500_and_the_server_goes_on(api: Api) -> None:
    """An exception that nobody foresaw is answered, and the next request is too."""
    assert api("GET", "/broken").status == 500
    assert api("GET", "/_ping").status == 200


def test_200_connections_at_once(server: SmallServer) -> None:
    """200 clients whose answers wait for each other are all answered."""
    with contextlib.ExitStack() as undo:
        clients = [undo.enter_context(server.connect()) for _ in range(200)]
        for half in (b"GET /gate?count=200 HTTP/1.1\r\n", b"Host: x\r\n\r\n"):
            for client in clients:
                client.sendall(half)
        assert all(client.recv(65536).endswith(b"late") for client in clients)


def test_http_1_0_is_answered_and_closed(server: SmallServer) -> None:
    """A client of HTTP/1.0 gets a stream without chunks, ended by the close."""
    answer = exchange(server, b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
    assert answer.endswith(b"\r\n\r\nabc")


def test_encoded_and_absolute_targets(server: SmallServer) -> None:
    """`%2F` in an image's name and a target with scheme and host are understood."""
    assert exchange(
        server, b"GET http://h/images/small%3Alatest/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ).startswith(b"HTTP/1.1 200 OK")
    missing = exchange(server, b"GET /images/a%2Fb/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert missing.endswith(b'{"message":"No such image: a/b:latest"}\n')


def test_a_server_ends_while_it_answers(tmp_path: Path) -> None:
    """A server ends when it is told to, also while a client is being answered."""
    with SmallServer(tmp_path / "s", *ROUTES) as running:
        client = running.connect()
        client.sendall(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"first" not in client.recv(65536):
            pass
    assert client.recv(65536) == b""
    client.close()
