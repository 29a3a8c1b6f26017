"""A tiny HTTP client for the engine's socket; on `http.client`, so that it shares no code with what it tests."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """A body of one JSON value a line, decoded."""
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]

    @property
    def message(self) -> str:
        """The text of an error."""
        return str(self.json()["message"])


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file instead of an address."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """Requests to one socket: `api("GET", "/containers/json")`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """Send one request. `body` is bytes (a tar archive), or a value that is sent as JSON."""
        connection = _UnixConnection(self.path, timeout)
        given = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        elif body is not None:
            given.setdefault("Content-Type", "application/x-tar")
        try:
            connection.request(method, path, body=body, headers=given)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def ok(self, method: str, path: str, body: Any = None, *, timeout: float = 30) -> Any:
        """Like a call, but an error is an AssertionError; the decoded JSON, or None without a body."""
        answer = self(method, path, body, timeout=timeout)
        assert answer.status < 400, f"{method} {path}: {answer.status} {answer.body!r}"
        return answer.json() if answer.body else None

    def load(self, archive: bytes, *, timeout: float = 60) -> list[str]:
        """Load an archive of images; the names that the engine says it has loaded."""
        answer = self("POST", "/images/load?quiet=1", archive, timeout=timeout)
        lines = answer.lines()
        assert answer.status == 200, f"load: {answer.status} {answer.body!r}"
        assert not any("error" in line for line in lines), f"load: {lines}"
        said = [str(line.get("stream", "")).strip() for line in lines]
        return [text.partition(": ")[2] for text in said if text.startswith("Loaded image")]

    def connect(self) -> socket.socket:
        """A bare connection, for hijacks and for requests that no library would send."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(30)
        sock.connect(self.path)
        return sock
