"""One client's connection: HTTP/1.1 on asyncio streams. h11 reads and writes the protocol, this file moves the bytes.

Its requests are answered one after the other, so a client may send the next before it has the first answer.
Callers: `server`. Read next: `http` for what a handler takes and gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

import h11

from onggi.api.http import Application, Hijack, Query, Reply, Request, Response, StreamResponse, message
from onggi.errors import Invalid
from onggi.wire import upgrade, versions

_log = logging.getLogger("onggi.api")
CHUNK = 1 << 16
_NAMED = (
    (b"Api-Version", versions.API.encode()),
    (b"Docker-Experimental", b"false"),
    (b"Ostype", b"linux"),
    (b"Server", f"Docker/{versions.DOCKER} (linux)".encode()),
)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_BODYLESS = (204, 304)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take."""

    header_bytes: int = 1 << 20
    header_seconds: float = 60.0
    leftover_seconds: float = 1.0
    """For how long a body that no handler wanted is read, to keep the connection."""


class Connection:
    """One client; `run` is its life."""

    def __init__(
        self, application: Application, limits: Limits, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._application, self._limits = application, limits
        self._reader, self.writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header_bytes)
        self._is_head = False
        self.task: asyncio.Task[None] | None = None
        self.idle = True
        """Whether no request is being answered: then there is nothing to cancel."""

    def hung_up(self) -> None:
        """The client is gone: nobody waits for what the handler does."""
        if not self.idle and self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Answer requests until the client leaves."""
        try:
            while await self._answer_one():
                self._http.start_next_cycle()
        except (ConnectionError, asyncio.CancelledError):
            _log.debug("the client hung up")
        except TimeoutError:
            _log.info("closed a connection: its request's header took too long")
        except h11.RemoteProtocolError as error:
            self._refuse(error)
        except Exception:  # noqa: BLE001 - nobody is above this task to hear of it
            _log.exception("answering a request failed")
        finally:
            self.idle = True
            self.writer.close()

    async def _answer_one(self) -> bool:
        """Answer one request; whether the connection can take another."""
        head = await self._header()
        if head is None:
            return False
        self.idle = False
        self._is_head = head.method == b"HEAD"
        request = self._request(head)
        reply = await self._reply(request)
        if isinstance(reply, Hijack):
            await self._hijack(reply, request)
            return False
        held_back = self._http.they_are_waiting_for_100_continue
        if isinstance(reply, StreamResponse):
            await self._stream(reply)
        else:
            await self._whole(reply)
        if self._http.their_state is h11.SEND_BODY and not held_back:
            await self._skip_leftover()
        self.idle = True
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _header(self) -> h11.Request | None:
        """The next request; None if the client is done."""
        http = self._http
        event = http.next_event()
        if event is h11.NEED_DATA:
            if not http.trailing_data[0]:
                http.receive_data(await self._reader.read(CHUNK))
                event = http.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(self._limits.header_seconds):
                    event = await self._event()
        return event if isinstance(event, h11.Request) else None

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        """What the client says next."""
        event = self._http.next_event()
        while event is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(CHUNK))
            event = self._http.next_event()
        return event  # type: ignore[return-value]

    def _request(self, head: h11.Request) -> Request:
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        target = head.target.decode("latin-1")
        if not target.startswith("/"):  # absolute form, as sent to a proxy
            parts = urlsplit(target)
            target = f"{parts.path or '/'}?{parts.query}"
        path, _, query = target.partition("?")
        if "%" in path:
            path = unquote(path, errors="replace")
        return Request(
            head.method.decode("ascii"), path, Query(query), headers, self._body(), upgrade.is_asked(headers)
        )

    async def _body(self) -> AsyncIterator[bytes]:
        """The request's body. The client's *may I send?* is answered when a handler starts to read."""
        try:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            while isinstance(event := await self._event(), h11.Data):
                yield bytes(event.data)
        except h11.RemoteProtocolError as error:
            raise Invalid("read", "request body", "unexpected EOF", code="text") from error

    async def _reply(self, request: Request) -> Reply:
        try:
            return await self._application(request)
        except Exception as error:  # noqa: BLE001 - the outermost rim: a bug is a 500 and a line in the log
            _log.exception("%s %s failed", request.method, request.path)
            return message(500, _worded(error))

    def _send(self, *events: h11.Event) -> None:
        """Write the events at once, in one piece."""
        self.writer.write(b"".join(self._http.send(event) or b"" for event in events))

    def _start(self, reply: Response | StreamResponse) -> h11.Response:
        headers = [] if isinstance(reply, Response) and reply.plain else list(_NAMED)
        if reply.content_type:
            headers.append((b"Content-Type", reply.content_type.encode("latin-1")))
        headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
        headers.append((b"Date", _date()))
        if isinstance(reply, Response) and reply.status not in _BODYLESS:
            headers.append((b"Content-Length", b"%d" % len(reply.body)))
        return h11.Response(status_code=reply.status, headers=headers, reason=_REASONS.get(reply.status, b""))

    async def _whole(self, reply: Response) -> None:
        if reply.body and not self._is_head:
            self._send(self._start(reply), h11.Data(data=reply.body), h11.EndOfMessage())
        else:
            self._send(self._start(reply), h11.EndOfMessage())
        await self.writer.drain()

    async def _stream(self, reply: StreamResponse) -> None:
        """Header first; an error in the middle breaks the connection, so that the client sees the answer is cut."""
        try:
            async with contextlib.aclosing(reply.chunks) as chunks:
                self._send(self._start(reply))
                await self.writer.drain()
                if not self._is_head:
                    async for chunk in chunks:
                        await self._chunk(chunk)
        finally:
            await reply.close()
        self._send(h11.EndOfMessage())
        await self.writer.drain()

    async def _chunk(self, chunk: bytes) -> None:
        if chunk:  # an empty one would end the body
            self._send(h11.Data(data=chunk))
            await self.writer.drain()

    async def _hijack(self, reply: Hijack, request: Request) -> None:
        """Leave HTTP. The header goes out by itself: a client may read it apart from the stream."""
        transport = self.writer.transport
        try:
            transport.set_write_buffer_limits(high=0)
            self.writer.write(upgrade.answer(reply.content_type, is_upgrade=request.upgrade))
            await self.writer.drain()
            transport.set_write_buffer_limits()
            await reply.run(_Raw(self._reader, self.writer, self._http.trailing_data[0]))
        finally:
            await reply.close()
        await self.writer.drain()

    async def _skip_leftover(self) -> None:
        """Read what is left of a body that the handler did not want.

        A client that is still sending would get a broken pipe instead of its answer.
        """
        while self._http.their_state is h11.SEND_BODY and self._http.next_event() is not h11.NEED_DATA:
            pass  # it is here already: mostly the end of a body of length 0
        if self._http.their_state is not h11.SEND_BODY:
            return
        with contextlib.suppress(TimeoutError):  # whoever is slow has had the answer by then, and loses the connection
            async with asyncio.timeout(self._limits.leftover_seconds):
                while self._http.their_state is h11.SEND_BODY:
                    await self._event()

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is not HTTP, if no answer has begun, as Go's server does: in plain text."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        line = f"{error.error_status_hint} {_REASONS.get(error.error_status_hint, b'').decode()}"
        head = f"HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
        self.writer.write(f"{head}{line}".encode())


class _Raw:
    """A hijacked connection; bytes that came behind the request are read first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> None:
        self._reader, self._writer, self._early = reader, writer, early

    async def read(self) -> bytes:
        """The client's next bytes; empty once it has closed its side."""
        if self._early:
            early, self._early = self._early, b""
            return early
        return await self._reader.read(CHUNK)

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client is slow."""
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        """Close our side only."""
        await self._writer.drain()
        self._writer.write_eof()


_now: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """The time as HTTP writes it; made once a second."""
    global _now
    second = int(time.time())
    if _now[0] != second:
        _now = (second, formatdate(second, usegmt=True).encode())
    return _now[1]


def _worded(error: Exception) -> str:
    """What the machine would not do, `No space left on device: /var/lib/…`, as that; anything else by its type."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"
