"""The worker process that takes in what pulls bring, driven: one for all pulls that go on at a time.

It unpacks what strangers packed, so it is neither a thread nor a fork of the engine. It is started with the first pull and
ends with the last, and if the engine dies, it does too: its stdin ends. Callers: `transfers`, `pull`. The next room is
`store/receive`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onggi.engine import image_load
from onggi.errors import OnggiError, Unavailable, from_fields
from onggi.oci.digest import Digest

Told = Callable[[int], None]
"""Hears how many bytes of a blob were taken in."""


@dataclass(slots=True)
class Order:
    """Something that the worker was asked to do."""

    key: str
    done: asyncio.Future[None]
    told: Told


class Receiver:
    """One worker, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.users = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once collections are kept away: what is found in the store from then on stays."""
        self._process = process
        self._orders: dict[str, Order] = {}
        self._keys = itertools.count()
        self._reading = asyncio.create_task(self._read())

    @property
    def ended(self) -> bool:
        """Whether nothing can be asked of it any more."""
        return self._reading.done()

    def layer(self, digest: Digest, size: int, diff_id: Digest, told: Told) -> Order:
        """Have a blob taken in, and its layer unpacked, while it is written."""
        fields = {"do": "layer", "digest": str(digest), "size": size, "diff_id": str(diff_id)}
        return self._order(fields, told)

    def more(self, order: Order) -> None:
        """The blob has grown."""
        self._tell({"do": "more", "key": order.key})

    def drop(self, order: Order) -> None:
        """Nobody wants it any more."""
        self._tell({"do": "drop", "key": order.key})

    async def image(self, manifest: Digest, names: list[str]) -> None:
        """Give a manifest whose layers are here its names, once all is on the disk."""
        order = self._order({"do": "image", "manifest": str(manifest), "names": names}, lambda count: None)
        await asyncio.wait([order.done])
        order.done.result()

    async def end(self) -> None:
        """Ask for nothing more, and wait for it."""
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.close()
        await asyncio.wait([self._reading])

    def _order(self, fields: dict[str, Any], told: Told) -> Order:
        order = Order(str(next(self._keys)), asyncio.get_running_loop().create_future(), told)
        if self.ended:
            order.done.set_exception(_gone())
        else:
            self._orders[order.key] = order
            self._tell(fields | {"key": order.key})
        return order

    def _tell(self, fields: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # it is a pipe
        with contextlib.suppress(ConnectionError):  # whoever waits hears that it has ended
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None  # it is a pipe
        error: OnggiError = _gone()
        try:
            async for line in self._process.stdout:
                fields = json.loads(line)
                if "key" in fields:
                    self._hear(fields)
                elif "ready" in fields:
                    self.ready.set_result(None)
                else:
                    error = from_fields(fields["error"])
            await self._process.wait()
        finally:
            for future in (self.ready, *(order.done for order in self._orders.values())):
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # nobody may be waiting for it

    def _hear(self, fields: dict[str, Any]) -> None:
        order = self._orders.get(fields["key"])
        if order is None:
            return
        if "at" in fields:
            order.told(fields["at"])
            return
        del self._orders[order.key]
        if "error" in fields:
            order.done.set_exception(from_fields(fields["error"]))
            order.done.exception()  # nobody may be waiting for it
        else:
            order.done.set_result(None)


class Reception:
    """Gives the one worker to whoever needs it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._receiver: Receiver | None = None
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Receiver]:
        """The worker, which lives at least as long as this."""
        async with self._starting:
            receiver = self._receiver
            if receiver is None or receiver.ended:
                process = await image_load.start("receive", self._root, stdin=asyncio.subprocess.PIPE)
                receiver = self._receiver = Receiver(process)
            receiver.users += 1
        try:
            yield receiver
        finally:
            receiver.users -= 1
            if not receiver.users:
                self._let_go(receiver)

    def _let_go(self, receiver: Receiver) -> None:
        if self._receiver is receiver:
            self._receiver = None
        task = asyncio.create_task(receiver.end())  # it collects before it ends, for which nobody has to wait
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def settle(self) -> None:
        """Wait for workers that are ending; for an engine that ends."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=5)


def _gone() -> Unavailable:
    return Unavailable("pull", "image", "the process that takes in layers has ended")
