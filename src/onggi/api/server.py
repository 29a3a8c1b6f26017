"""Listening sockets and hang-ups; what is said on a connection is in `connection`.

One task per connection. The client's state decides what is cancelled:

    reading a header   idle connections wait for ever; a header once begun must end within `Limits.header_seconds`
    handler running    the client hangs up  -> the task is cancelled
                       the client only closes its writing side -> the handler goes on, and its answer is sent
    hijacked           end of file is handed to `run`, which may go on writing; a hang-up cancels it

A hang-up shows on a unix socket as EPOLLHUP, which a half-close does not set; over TCP the two look alike, and end of
file counts as a hang-up, as in Docker. Callers: `daemon`. Read next: `connection`, `router`.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket

from onggi.api.connection import CHUNK, Connection, Limits
from onggi.api.http import Application


class Server:
    """Answers requests on listening sockets with one application, such as a `Router`."""

    def __init__(self, application: Application, limits: Limits | None = None) -> None:
        self._application = application
        self._limits = limits or Limits()
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, *listeners: socket.socket) -> None:
        """Answer on `listeners`, which are bound and become ours, until cancelled; then hang up on everyone."""
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._hang_up)
            for listener in listeners:
                if listener.family == socket.AF_UNIX:
                    server = await loop.create_unix_server(self._protocol, sock=listener, backlog=1024)
                else:
                    server = await loop.create_server(self._protocol, sock=listener, backlog=1024)
                undo.callback(server.close)
            await asyncio.Event().wait()

    def _protocol(self) -> _Protocol:
        return _Protocol(self._application, self._limits, self._connections)

    async def _hang_up(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's streams, which also tell the connection that the client hung up."""

    def __init__(self, application: Application, limits: Limits, tasks: set[asyncio.Task[None]]) -> None:
        self._reader = asyncio.StreamReader(CHUNK)
        super().__init__(self._reader)
        self._application, self._limits, self._tasks = application, limits, tasks
        self._connection: Connection | None = None
        self._hangup: select.epoll | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start answering."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # a stream socket's
        loop = asyncio.get_running_loop()
        writer = asyncio.StreamWriter(transport, self, self._reader, loop)
        self._connection = Connection(self._application, self._limits, self._reader, writer)
        self._connection.task = task = loop.create_task(self._connection.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def eof_received(self) -> bool:
        """The client closed its side: keep ours, and watch for a hang-up."""
        super().eof_received()
        if self._connection is not None:
            raw = self._connection.writer.get_extra_info("socket")
            if raw.family == socket.AF_UNIX:
                self._watch(raw.fileno())
            else:
                self._connection.hung_up()
        return True

    def _watch(self, number: int) -> None:
        """EPOLLHUP is reported unasked, so an epoll that asks for nothing is readable once the peer is gone."""
        self._hangup = select.epoll(1)
        self._hangup.register(number, 0)
        asyncio.get_running_loop().add_reader(self._hangup.fileno(), self._gone)

    def _gone(self) -> None:
        self._unwatch()
        if self._connection is not None:
            self._connection.hung_up()

    def _unwatch(self) -> None:
        if self._hangup is not None:
            asyncio.get_running_loop().remove_reader(self._hangup.fileno())
            self._hangup.close()
            self._hangup = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed, by us or by a failed write."""
        super().connection_lost(exc)
        self._gone()
