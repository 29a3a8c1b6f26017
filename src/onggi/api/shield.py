"""Work that a client may start but not interrupt: a stop goes on when the one who asked for it goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from onggi.errors import OnggiError

_log = logging.getLogger("onggi.api")
T = TypeVar("T")


class Shield:
    """Runs work to its end, whoever waits for it."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; if the caller is cancelled, `work` is not."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell)
            raise

    async def settle(self, seconds: float) -> None:
        """Wait for what still runs, at most so long; for an engine that ends."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)


def _tell(task: asyncio.Task[Any]) -> None:
    """Nobody else will hear of this error."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.log(logging.INFO if isinstance(error, OnggiError) else logging.ERROR, "%s", error, exc_info=error)
