"""Where the engine is, and how it is started when nobody answers.

The socket: `--host`, else ONGGI_HOST, else `/run/onggi/onggi.sock` for root and `$XDG_RUNTIME_DIR/onggi/onggi.sock` for
others. Only an engine that should listen on that default is started; a host that was named has to be there.
Callers: `main`, the files of `commands`. Read next: `client`.
"""

from __future__ import annotations

import os

from onggi.cli.client import API, connect
from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.client import Connection, Response


class Engine:
    """The engine that this command talks to: one connection for requests, more for streams."""

    __slots__ = ("_connection", "_may_start", "socket_path")

    def __init__(self, host: str = "") -> None:
        named = host or os.environ.get("ONGGI_HOST", "")
        self.socket_path = path_of(named) if named else default_socket()
        self._may_start = not named
        self._connection: Connection | None = None

    def connect(self) -> Connection:
        """A new connection; the engine is started first if it may be and nobody answers."""
        try:
            return connect(self.socket_path)
        except (FileNotFoundError, ConnectionRefusedError):
            if not self._may_start:
                raise self._nobody() from None
        except PermissionError:
            raise CommandFailed(
                f"connect to `{self.socket_path}`: permission denied", hint="run it as root, or join the group onggi"
            ) from None
        except OSError as error:
            raise CommandFailed(f"connect to `{self.socket_path}`: {error.strerror or error}") from None
        from onggi.cli import background

        background.start(self.socket_path)
        return connect(self.socket_path)

    def _nobody(self) -> CommandFailed:
        return CommandFailed(
            f"connect to `{self.socket_path}`: no engine answers there",
            hint=f"start one there: onggi engine -H unix://{self.socket_path}",
        )

    def request(self, method: str, path: str, body: Any = None, *, versioned: bool = True, auth: str = "") -> Response:
        """A request on the shared connection. The answer must be read to its end before the next one."""
        if self._connection is None:
            self._connection = self.connect()
        return self._connection.request(method, (API if versioned else "") + path, body, auth=auth)

    def call(self, method: str, path: str, body: Any = None, *, versioned: bool = True, auth: str = "") -> Any:
        """A request and its decoded answer; None when it has no body."""
        return self.request(method, path, body, versioned=versioned, auth=auth).json()

    def stream(self, method: str, path: str, body: Any = None, *, upgrade: bool = False) -> tuple[Connection, Response]:
        """A request on a connection of its own, for an answer that takes its time."""
        connection = self.send(method, path, body, upgrade=upgrade)
        return connection, connection.answer()

    def send(self, method: str, path: str, body: Any = None, *, upgrade: bool = False) -> Connection:
        """The first half of `stream`: what comes back is still to be read with `answer`."""
        connection = self.connect()
        connection.send(method, API + path, body, upgrade=upgrade)
        return connection


def path_of(host: str) -> str:
    """The socket's path in `unix:///path` (or a bare absolute path)."""
    path = host.removeprefix("unix://")
    if path.startswith("/"):
        return path
    raise CommandFailed(
        f"use host `{host}`: only unix sockets for now", hint="write it as unix:///run/onggi/onggi.sock", status=125
    )


def default_socket() -> str:
    """The socket of this user's own engine."""
    if os.geteuid() == 0:
        return "/run/onggi/onggi.sock"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime:
        raise CommandFailed(
            "find the engine: XDG_RUNTIME_DIR is not set", hint="name its socket with --host, or be root"
        )
    return f"{runtime}/onggi/onggi.sock"
