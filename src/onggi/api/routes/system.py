"""`/_ping`, `/version`, `/info`, `/events`. The next rooms are `engine/system` and `engine/events`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from onggi.api.http import JSON, Reply, Request, Response, Route, StreamResponse, json_response
from onggi.api.ports import Events, System
from onggi.wire import document, filters, gotime
from onggi.wire.events import Event

_PING = (
    ("Builder-Version", "1"),  # the classic builder: there is no BuildKit behind this socket
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
)
_PONG = Response(200, b"OK", "text/plain; charset=utf-8", _PING)
_PONG_HEAD = Response(200, b"", "text/plain; charset=utf-8", _PING)
_NDJSON = "application/x-ndjson"
_JSON_SEQUENCE = "application/json-seq"
_RECORD = b"\x1e"


class SystemRoutes:
    """The handlers, and the engine that they ask."""

    def __init__(self, system: System, events: Events) -> None:
        self._system = system
        self._events = events

    def routes(self) -> list[Route]:
        """Method, path, handler."""
        return [
            ("GET", "/_ping", self.ping),
            ("HEAD", "/_ping", self.ping),
            ("GET", "/version", self.version),
            ("GET", "/info", self.info),
            ("GET", "/events", self.events),
        ]

    async def ping(self, request: Request) -> Reply:
        """GET and HEAD /_ping"""
        return _PONG_HEAD if request.method == "HEAD" else _PONG

    async def version(self, request: Request) -> Reply:
        """GET /version"""
        return json_response(await self._system.version())

    async def info(self, request: Request) -> Reply:
        """GET /info"""
        return json_response(await self._system.info())

    async def events(self, request: Request) -> Reply:
        """GET /events: kept ones if `since` or `until` is given, then those that happen."""
        query, now = request.query, time.time_ns()
        since, until = (
            gotime.parse_timestamp(query.text(name), now) if query.text(name) else None for name in ("since", "until")
        )
        wanted = filters.parse(query.text("filters"), filters.EVENTS)
        accepted = request.headers.get("accept", "")
        kind = next((k for k in (_NDJSON, _JSON_SEQUENCE) if k in accepted), JSON)
        heard = self._events.listen(since_ns=since, until_ns=until, filters=wanted)
        return StreamResponse(_lines(heard, _RECORD if kind == _JSON_SEQUENCE else b""), kind, close=heard.aclose)


async def _lines(events: AsyncGenerator[Event, None], before: bytes) -> AsyncGenerator[bytes, None]:
    async for event in events:
        yield before + document.encode(event) + b"\n"
