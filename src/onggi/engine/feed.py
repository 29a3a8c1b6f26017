"""Progress on its way to a client: every word of it, but of a bar only where it stands now.

A client that reads slowly does not hold up what it reads about, and does not make it pile up either.
Callers: `pull`, `push`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from onggi.wire import progress


class Feed:
    """Lines from the work to whoever reads them."""

    def __init__(self) -> None:
        self._lines: dict[object, bytes] = {}  # in order; a bar has its id as key, so that a newer one takes its place
        self._news = asyncio.Event()
        self._count = 0

    def say(self, text: str, ident: str = "") -> None:
        """A word on the whole, or on the thing `ident`."""
        self._add(progress.status(text, ident=ident))
        self._lines.pop(ident, None)  # a bar that nobody has seen is out of date now

    def bar(self, text: str, ident: str, current: int, total: int) -> None:
        """How far the thing `ident` is."""
        self._lines[ident] = progress.status(text, ident=ident, current=current, total=total)
        self._news.set()

    def line(self, fields: dict[str, Any]) -> None:
        """A line of any fields."""
        self._add(progress.line(fields))

    def _add(self, line: bytes) -> None:
        self._count += 1
        self._lines[self._count] = line
        self._news.set()

    async def lines(self, work: Coroutine[Any, Any, None]) -> AsyncGenerator[bytes, None]:
        """Do the work and give its lines as they come; raises what it raises, and ends it if nobody reads any more."""
        task = asyncio.create_task(work)
        task.add_done_callback(lambda task: self._news.set())
        try:
            while not task.done() or self._lines:
                await self._news.wait()
                self._news.clear()
                while self._lines:
                    yield self._lines.pop(next(iter(self._lines)))
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])
