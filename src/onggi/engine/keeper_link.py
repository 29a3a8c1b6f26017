"""The engine's end of one keeper's control socket: questions, answers, and the news that the container ended.

Callers: `engine/containers`, `engine/adopt`. Read next: `runtime/keeper`, where the protocol is drawn.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

from onggi.errors import StartFailed, Unavailable, from_fields

_LARGEST = 1 << 20
_TRACE = b'{"trace": '


class KeeperLink:
    """A conversation with a keeper; `on_exit` hears the exit record once, or None when the keeper died without one;
    `on_trace` what the start did, as JSON."""

    def __init__(
        self,
        control: socket.socket,
        on_exit: Callable[[dict[str, Any] | None], None],
        on_trace: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._control = control
        self._on_exit = on_exit
        self._on_trace = on_trace
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._exited = False
        self._ended = False
        self._loop.add_reader(control.fileno(), self._read)

    @classmethod
    def connect(cls, path: str, on_exit: Callable[[dict[str, Any] | None], None]) -> KeeperLink:
        """A link to a keeper that was there before this engine; OSError when nobody listens."""
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            control.connect(path)
            control.setblocking(False)
        except BaseException:
            control.close()
            raise
        return cls(control, on_exit)

    def adopted(self) -> None:
        """There will be no `started`: the container runs already."""
        self._started.set_result({})

    async def wait_started(self) -> dict[str, Any]:
        """The keeper's `started` message; StartFailed as the keeper or init told it."""
        return await self._started

    async def ask(self, operation: str, descriptors: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        """One question and its answer; the keeper's error is raised here."""
        if self._ended or self._exited:
            raise Unavailable(operation, "container", "its keeper is gone")
        self._number += 1
        number = self._number
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting[number] = future
        message = json.dumps({"n": number, "op": operation, **arguments}).encode()
        try:
            socket.send_fds(self._control, [message], list(descriptors), socket.MSG_NOSIGNAL)
        except OSError as error:
            self._waiting.pop(number)
            raise Unavailable(operation, "container", "its keeper is gone") from error
        return await future

    def _read(self) -> None:
        try:
            data = self._control.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        if data.startswith(_TRACE):  # large, and nobody may ever ask for it: passed on as it came
            self._on_trace(data[len(_TRACE) : -1])
            return
        message = json.loads(data)
        if "started" in message and not self._started.done():
            self._started.set_result(message)
        elif "failed" in message and not self._started.done():
            self._fail_start(message)
        elif "exited" in message:
            self._hear_exit(message["exited"])
        elif "n" in message:
            self._answer(message)

    def _fail_start(self, message: dict[str, Any]) -> None:
        error = from_fields(message["failed"])
        error.facts["trace"] = message.get("trace", [])
        self._started.set_exception(error)
        self.close()

    def _answer(self, message: dict[str, Any]) -> None:
        future = self._waiting.pop(message["n"], None)
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(from_fields(message["error"]))
        else:
            future.set_result(message["ok"])

    def _hear_exit(self, record: dict[str, Any]) -> None:
        """The container has ended; we go on listening, for the trace of a short one may come after its end."""
        self._exited = True
        self._give_up()
        self._on_exit(record)

    def _end(self) -> None:
        """Nobody is left on the other side."""
        if self._ended:
            return
        self.close()
        if not self._started.done():
            self._started.set_exception(StartFailed("start", "container", "its keeper died", code="keeper.died"))
        elif not self._exited:
            self._on_exit(None)

    def close(self) -> None:
        """Hang up; the keeper and its container stay."""
        if self._ended:
            return
        self._ended = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        self._give_up()

    def _give_up(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable("ask", "keeper", "it is gone"))
        self._waiting.clear()
