"""A server that answers each connection with the bytes that a test says, and remembers what it was asked.

Not a web server: one request a connection, and whatever the script gives goes out as it is, also half an answer.
Callers: tests of `registry/`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


Script = Callable[[Asked], "bytes | Iterable[bytes] | None"]
"""The raw bytes of the answer, whole or piece by piece; None hangs up at once."""


class Scripted:
    """The server, on a port of this machine's loopback unless it is given a socket. Each connection has a thread."""

    def __init__(self, script: Script, listener: socket.socket | None = None) -> None:
        self.asked: list[Asked] = []
        self._script = script
        self._listener = listener or socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece or (not data and piece[:1] == b"\x16"):  # TLS: nobody here speaks it
                return
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        method, target, _ = first.split(" ")
        asked = Asked(method, target, headers, body)
        self.asked.append(asked)
        answer = self._script(asked)
        if answer is None:  # a reset rather than an end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        for piece in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(piece)


def answer(status: int = 200, body: bytes | Any = b"", **headers: str) -> bytes:
    """A whole answer; `body` is bytes, or a value for JSON. `content_type="…"` is a header."""
    kind = {}
    if not isinstance(body, bytes):
        body, kind = json.dumps(body).encode(), {"content-type": "application/json"}
    given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    given = {"content-length": str(len(body)), "connection": "close", **kind, **given}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in given.items() if value), "", ""]
    return "\r\n".join(lines).encode() + body
