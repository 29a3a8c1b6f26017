"""Layers on their way from a registry into the store, each once, however many pulls want it.

    semaphore ─► download ─► downloads/sha256-… ─► the worker follows: hash, decompress, unpack ─► done
                    │ a megabyte at a time, written by a thread: the event loop waits for no disk

A layer that several pulls want has one transfer, and all of them as watchers; when the last one leaves, it is cancelled, and
what has come stays for the next pull. Callers: `pull`. Read next: `receiver`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from onggi.engine.blocking import blocking
from onggi.engine.receiver import Order, Receiver
from onggi.errors import Corrupt, KernelError, LimitExceeded
from onggi.oci.digest import Digest
from onggi.registry.client import Repository
from onggi.registry.download import download
from onggi.store.downloads import Beginning
from onggi.store.store import Store

PIECE = 1 << 20
_LATEST = 0.25  # seconds: what trickles in is written that often too
_OFTEN = 0.1
_LETTING_GO = 10.0


@dataclass(frozen=True, slots=True)
class State:
    """What happens to a layer, in Docker's words; with a bar when `total` is there."""

    text: str
    current: int = 0
    total: int = 0


WAITING = State("Waiting")
DOWNLOADED = State("Download complete")
DONE = State("Pull complete")
Watcher = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to be fetched."""

    digest: Digest
    size: int
    diff_id: Digest


@dataclass(slots=True)
class _Transfer:
    layer: Layer
    watchers: list[Watcher] = field(default_factory=list)
    state: State = WAITING
    task: asyncio.Task[None] | None = None

    def tell(self, state: State) -> None:
        self.state = state
        for watcher in self.watchers:
            watcher(state)


class Transfers:
    """All transfers of one engine; at most `at_once` of them download."""

    def __init__(self, store: Store, at_once: int) -> None:
        self._store = store
        self._free = asyncio.Semaphore(at_once)
        self._running: dict[Digest, _Transfer] = {}

    async def fetch(self, receiver: Receiver, repository: Repository, layer: Layer, watcher: Watcher) -> None:
        """Bring a layer into the store, or wait for who already does; its blob and its files are there afterwards."""
        while (transfer := self._running.get(layer.digest)) is not None and transfer.layer != layer:
            assert transfer.task is not None  # it is running
            await asyncio.wait([transfer.task])  # an image that calls this blob something else: not our affair
        if transfer is None:
            transfer = self._running[layer.digest] = _Transfer(layer)
            transfer.task = asyncio.create_task(self._run(receiver, repository, transfer))
        await self._watch(transfer, watcher)

    async def _watch(self, transfer: _Transfer, watcher: Watcher) -> None:
        assert transfer.task is not None  # it was given one when it was made
        transfer.watchers.append(watcher)
        watcher(transfer.state)
        try:
            await asyncio.shield(transfer.task)
        finally:
            transfer.watchers.remove(watcher)
            if not transfer.watchers and not transfer.task.done():
                transfer.task.cancel()
                await asyncio.wait([transfer.task])

    async def _run(self, receiver: Receiver, repository: Repository, transfer: _Transfer) -> None:
        try:
            await self._take_up(receiver, repository, transfer)
        except Corrupt as error:
            if error.code != "blob.digest" or not error.facts.get("resumed"):
                raise
            await self._take_up(receiver, repository, transfer)  # its beginning was a wrong one, and is forgotten
        finally:
            del self._running[transfer.layer.digest]

    async def _take_up(self, receiver: Receiver, repository: Repository, transfer: _Transfer) -> None:
        layer, store = transfer.layer, self._store
        if await blocking(store.content.has, layer.digest):
            transfer.tell(DOWNLOADED)
            await _taken_in(receiver, self._order(receiver, transfer))
            transfer.tell(DONE)
            return
        with await blocking(store.downloads.begin, layer.digest) as beginning:
            if beginning.size > layer.size:
                await blocking(beginning.restart)
            resumed = beginning.size > 0
            try:
                await self._download(receiver, repository, transfer, beginning)
            except Corrupt as error:
                error.facts["resumed"] = resumed
                raise
        transfer.tell(DONE)

    async def _download(
        self, receiver: Receiver, repository: Repository, transfer: _Transfer, beginning: Beginning
    ) -> None:
        """Fetch the blob while the worker takes it in; the first of the two that fails ends the other."""
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self._free)
            order = self._order(receiver, transfer)
            sink = _Sink(beginning, transfer, lambda: receiver.more(order))
            taking_in = asyncio.create_task(_taken_in(receiver, order))
            fetching = asyncio.create_task(self._fill(repository, transfer.layer, sink, transfer))
            try:
                await asyncio.wait((fetching, taking_in), return_when=asyncio.FIRST_COMPLETED)
                if not taking_in.done():
                    await fetching
                    await held.aclose()  # the next one may download
                    transfer.tell(DOWNLOADED)
                await taking_in
                await fetching
            finally:
                for task in (fetching, taking_in):
                    task.cancel()
                await asyncio.wait((fetching, taking_in))

    async def _fill(self, repository: Repository, layer: Layer, sink: _Sink, transfer: _Transfer) -> None:
        def waits(seconds: float) -> None:
            transfer.tell(State(f"Retrying in {max(1, round(seconds))} second{'s' if seconds >= 1.5 else ''}"))

        try:
            await download(repository, layer.digest, layer.size, sink, waits)
        finally:
            await sink.flush()

    def _order(self, receiver: Receiver, transfer: _Transfer) -> Order:
        layer = transfer.layer

        def told(count: int) -> None:
            if transfer.state is DOWNLOADED or transfer.state.text == "Extracting":
                transfer.tell(State("Extracting", count, layer.size))

        return receiver.layer(layer.digest, layer.size, layer.diff_id, told)


async def _taken_in(receiver: Receiver, order: Order) -> None:
    """Wait for the worker; who is cancelled waits until it has let go of the blob, which somebody else may want next."""
    try:
        await asyncio.wait([order.done])
    except asyncio.CancelledError:
        receiver.drop(order)
        await asyncio.wait([order.done], timeout=_LETTING_GO)
        raise
    order.done.result()


class _Sink:
    """Gathers what comes into pieces, and writes each in a thread while the next one comes."""

    def __init__(self, beginning: Beginning, transfer: _Transfer, grown: Callable[[], None]) -> None:
        self.size = beginning.size
        self._beginning = beginning
        self._transfer = transfer
        self._grown = grown
        self._piece: list[bytes] = []
        self._gathered = 0
        self._writing: asyncio.Task[None] | None = None
        self._written_at, self._told_at = time.monotonic(), 0.0

    async def write(self, data: bytes) -> None:
        """Take it; it is written a little later."""
        self._piece.append(data)
        self._gathered += len(data)
        self.size += len(data)
        now = time.monotonic()
        if now - self._told_at >= _OFTEN:
            self._told_at = now
            self._transfer.tell(State("Downloading", self.size, self._transfer.layer.size))
        if self._gathered >= PIECE or now - self._written_at >= _LATEST:
            await self._written()
            self._written_at = now
            self._begin()

    async def flush(self) -> None:
        """Write all that there is; also when nobody waits for it any more, because the descriptor is in use."""
        await self._written()
        self._begin()
        await self._written()

    def _begin(self) -> None:
        if self._piece:
            data, self._piece, self._gathered = b"".join(self._piece), [], 0
            self._writing = asyncio.create_task(self._write(data))

    async def _write(self, data: bytes) -> None:
        try:
            await blocking(self._beginning.append, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LimitExceeded("store blob", "", "no space left on device", code="disk.full") from None
            raise KernelError("write", str(self._beginning.path), error.errno or 0) from None
        self._grown()

    async def _written(self) -> None:
        if self._writing is not None:
            writing = self._writing
            await asyncio.wait([writing])
            self._writing = None
            writing.result()
