"""A small HTTP/1.1 client over a unix socket: requests, streams, and the hijack with its half close.

Not a general client: no redirects, no TLS, no pool. `http.client` would cost 15 ms of imports at each `onggi run`.
One `Connection` carries one request after another; what streams (`attach`, `wait`, `events`) gets one of its own.
Callers: `engine` and the files of `commands`. Read next: `streams`.
"""

from __future__ import annotations

from onggi.cli.document import dumps, loads
from onggi.cli.failure import CommandFailed, EngineSaidNo

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator
    from typing import Any
else:
    # `socket` proper would bring `selectors`, `enum` and more: 5 ms for names that are not used here.
    import _socket as socket

API = "/v1.45"
"""The version this client speaks; Docker 26's, so that it can also be tried on a real Docker."""
_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024


class Response:
    """An answer whose head has arrived; the body is read as it comes."""

    __slots__ = ("_connection", "_left", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: dict[str, str]) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        length = headers.get("content-length")
        self._left = int(length) if length is not None else -1
        if status in (204, 304) or 100 <= status < 200:
            self._left = 0

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives, unframed."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
            return
        while self._left:
            piece = self._connection.receive(_CHUNK if self._left < 0 else min(_CHUNK, self._left))
            if not piece:
                if self._left > 0:
                    raise CommandFailed("read the engine's answer: it hung up in the middle")
                return
            self._left -= len(piece) if self._left > 0 else 0
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        connection = self._connection
        while size := int(connection.line().partition(b";")[0], 16):
            while size:
                piece = connection.receive(min(_CHUNK, size))
                if not piece:
                    raise CommandFailed("read the engine's answer: it hung up in the middle")
                size -= len(piece)
                yield piece
            connection.line()
        while connection.line():
            continue  # trailers say nothing that this client needs

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """The whole body, decoded; None when it is empty."""
        body = self.read()
        return loads(body) if body else None

    def lines(self) -> Iterator[Any]:
        """A body of one JSON value a line, each as soon as it is complete."""
        rest = b""
        for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield loads(line)
        if rest.strip():
            yield loads(rest)


class Connection:
    """One connection to the engine's socket."""

    __slots__ = ("_buffer", "path", "socket")

    def __init__(self, connected: socket.socket, path: str) -> None:
        self.path = path
        self._buffer = b""
        self.socket = connected

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def send(self, method: str, path: str, body: Any = None, *, upgrade: bool = False, auth: str = "") -> None:
        """Send a request; `body` is a JSON value, or an iterable of bytes that is sent in chunks.

        `auth` are credentials for a registry, as `credentials` gives them.
        """
        head = [f"{method} {path} HTTP/1.1", "Host: onggi"]
        if auth:
            head.append(f"X-Registry-Auth: {auth}")
        payload = b""
        chunks: Iterable[bytes] | None = None
        if upgrade:
            head += ["Connection: Upgrade", "Upgrade: tcp"]
        if isinstance(body, dict):
            payload = dumps(body).encode()
            head += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        elif body is not None:
            chunks = body
            head += ["Content-Type: application/x-tar", "Transfer-Encoding: chunked"]
        elif method == "POST":
            head.append("Content-Length: 0")
        self.socket.sendall("\r\n".join([*head, "", ""]).encode() + payload)
        if chunks is not None:
            self._send_chunks(chunks)

    def _send_chunks(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                if chunk:
                    self.socket.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.socket.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # the engine has answered before the end, which says why

    def head(self) -> Response:
        """Read the head of the answer."""
        status_line = self.line()
        while status_line.startswith(b"HTTP/1.1 100"):
            while self.line():
                continue
            status_line = self.line()
        words = status_line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise CommandFailed(f"read the answer of `{self.path}`: not an engine, it does not speak HTTP")
        headers = {}
        while line := self.line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return Response(self, int(words[1]), headers)

    def request(self, method: str, path: str, body: Any = None, *, upgrade: bool = False, auth: str = "") -> Response:
        """Send a request and read the answer's head; EngineSaidNo when it is an error."""
        self.send(method, path, body, upgrade=upgrade, auth=auth)
        return self.answer()

    def answer(self) -> Response:
        """Read the head of the answer to what was sent; EngineSaidNo when it is an error."""
        response = self.head()
        if response.status >= 400:
            raise refusal(response)
        return response

    def line(self) -> bytes:
        """One line without its end; empty at the end of a head or of the stream."""
        while b"\n" not in self._buffer:
            piece = self.socket.recv(_CHUNK)
            if not piece or len(self._buffer) > _LONGEST_LINE:
                if not piece and not self._buffer:
                    raise CommandFailed(f"talk to the engine at `{self.path}`: it hung up")
                raise CommandFailed(f"read the answer of `{self.path}`: a line without an end")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def receive(self, most: int) -> bytes:
        """Up to `most` bytes, buffered ones first; empty at the end."""
        if self._buffer:
            piece, self._buffer = self._buffer[:most], self._buffer[most:]
            return piece
        return self.socket.recv(most)

    def buffered(self) -> bytes:
        """What has arrived beyond the last head: the first bytes of a hijacked stream."""
        piece, self._buffer = self._buffer, b""
        return piece


def connect(path: str) -> Connection:
    """Connect to the socket at `path`; OSError when nobody answers there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Connection(sock, path)


def refusal(response: Response) -> EngineSaidNo:
    """The error that an answer of 400 or more carries."""
    body = response.read()
    try:
        message = loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or f"status {response.status}"
    text, _, hint = str(message).partition("\nhint: ")
    return EngineSaidNo(text.rstrip(), response.status, hint=hint)


def quote(text: str) -> str:
    """Percent-encode `text` for a query or one path segment."""
    return "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "-._~") else f"%{byte:02X}"
        for byte in text.encode()
    )


def with_query(path: str, query: dict[str, Any]) -> str:
    """`path` with those parameters that have a value: True is 1; False, None and the empty string are left out."""
    parts = []
    for name, value in query.items():
        if value is True:
            parts.append(f"{name}=1")
        elif value is not False and value is not None and value != "":
            parts.append(f"{name}={quote(str(value))}")
    return f"{path}?{'&'.join(parts)}" if parts else path
