"""What a handler takes and gives: `Request`, and `Response`, `StreamResponse` or `Hijack`.

A handler is `async def handler(request: Request) -> Reply`. It raises `errors.*`; `errors` words them.

- `Response` is sent whole, with a length.
- `StreamResponse`: the header goes out at once, before the first chunk is made; then chunk by chunk.
- `Hijack`: the connection stops being HTTP. The server answers `101 UPGRADED` if the client asked for an upgrade, else
  `200 OK` without a length, by itself; then `run` owns the bytes both ways, and the connection closes when it returns.

A client that goes away cancels the handler, the stream's iterator or `run`. Callers: `server`, `router`, `routes/`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from urllib.parse import parse_qs

from onggi.errors import Invalid, LimitExceeded
from onggi.wire import document, upgrade, versions

JSON = "application/json"
_FALSE = frozenset({"", "0", "no", "false", "none"})
_MAX_JSON = 8 << 20


async def _nothing() -> None:
    """There is nothing to close."""


class Body(Protocol):
    """The request's body, read as it arrives."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks; `Invalid` if the client stops in the middle."""


class Channel(Protocol):
    """A hijacked connection."""

    async def read(self) -> bytes:
        """What the client sent next; empty once it has closed its side, and the other side stays open."""

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client is slow."""

    async def write_eof(self) -> None:
        """Close our side; the client's stays open."""


class Query:
    """The query's parameters, read as Docker reads them."""

    __slots__ = ("_values",)

    def __init__(self, text: str) -> None:
        self._values = parse_qs(text, keep_blank_values=True) if text else {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """The first value."""
        return self._values[name][0] if name in self._values else default

    def texts(self, name: str) -> list[str]:
        """All values."""
        return self._values.get(name, [])

    def flag(self, name: str, *, default: bool = False) -> bool:
        """False is nothing, `0`, `no`, `false` or `none`; all else is true."""
        return self.text(name).strip().lower() not in _FALSE if name in self._values else default

    def number(self, name: str, default: int | None = None) -> int:
        """An int64; `Invalid` in Go's words if it is none, or missing without a default."""
        value = self.text(name)
        if not value and default is not None:
            return default
        digits = value[1:] if value[:1] in ("+", "-") else value
        if not (digits.isascii() and digits.isdigit()):
            raise Invalid("read", name, f'strconv.Atoi: parsing "{value}": invalid syntax', code="text")
        if not -(2**63) <= (number := int(value) if len(value) < 30 else 2**63) < 2**63:
            raise Invalid("read", name, f'strconv.Atoi: parsing "{value}": value out of range', code="text")
        return number


@dataclass(slots=True)
class Request:
    """One request. `path` is decoded and without its version; `params` are the path's `{names}`."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]
    """By lower-case name; of a name that comes twice, the last."""
    body: Body
    upgrade: bool = False
    """Whether the client asked to switch protocols."""
    version: tuple[int, ...] = versions.parse(versions.API)
    params: dict[str, str] = field(default_factory=dict)

    async def read(self, limit: int = _MAX_JSON) -> bytes:
        """The whole body; `LimitExceeded` beyond `limit` bytes."""
        chunks, size = [], 0
        async for chunk in self.body:
            size += len(chunk)
            if size > limit:
                raise LimitExceeded("read", "request body", f"longer than {limit} bytes", code="body.too-long")
            chunks.append(chunk)
        return b"".join(chunks)

    async def read_json(self) -> bytes:
        """The whole body, checked to be declared as JSON; `Invalid` in Docker's words."""
        raw = await self.read()
        declared = self.headers.get("content-type", "")
        if raw and declared.split(";")[0].strip().lower() != JSON:
            what = f"unsupported Content-Type header ({declared}): must be 'application/json'"
            if not declared:
                what = "malformed Content-Type header (): mime: no media type"
            raise Invalid("read", "request body", what, code="text")
        return raw


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. `plain` leaves out the headers that name the engine (Docker's *page not found* has none)."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    plain: bool = False


@dataclass(frozen=True, slots=True)
class StreamResponse:
    """An answer whose header goes out before its first chunk is made. `close` is called in the end, come what may."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    close: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class Hijack:
    """The connection itself, given to `run`. `close` is called in the end, also if `run` never was."""

    run: Callable[[Channel], Awaitable[None]]
    content_type: str = upgrade.RAW
    close: Callable[[], Awaitable[None]] = _nothing


Reply: TypeAlias = Response | StreamResponse | Hijack
Handler: TypeAlias = Callable[[Request], Awaitable[Reply]]
Application: TypeAlias = Handler
"""What a server asks for every reply: a router."""
Route: TypeAlias = tuple[str, str, Handler]
"""Method, path pattern (`/containers/{id}/json`; `{name...}` takes slashes too), handler."""


def json_response(value: Any, status: int = 200) -> Response:
    """A document, or plain dicts and lists, as Docker sends it: one line."""
    return Response(status, document.encode(value) + b"\n", JSON)


def message(status: int, text: str, *, plain: bool = False) -> Response:
    """An error as Docker sends it."""
    return Response(status, document.encode({"message": text}) + b"\n", JSON, plain=plain)
