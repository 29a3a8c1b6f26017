"""A blob, fetched to its end: what breaks off goes on where it stopped, with a `Range` request.

Only the number of bytes is looked at here; whether they are the right ones is for who keeps them to say.
Callers: `engine/transfers`. Read next: `client`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from onggi.errors import Corrupt, OnggiError, Unavailable
from onggi.oci.digest import Digest
from onggi.registry.client import Repository
from onggi.registry.session import ATTEMPTS, is_passing
from onggi.registry.transport import pause

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0


class Sink(Protocol):
    """Where the bytes go."""

    @property
    def size(self) -> int:
        """How many are there."""

    async def write(self, data: bytes) -> None:
        """Append."""


async def download(
    repository: Repository, digest: Digest, size: int, sink: Sink, waits: Callable[[float], None] = lambda seconds: None
) -> None:
    """Fill `sink` up to `size` bytes; it may have a beginning already. `waits` hears of every pause before another try.

    Gives up after five tries in a row that brought nothing, or at what another try cannot mend.
    """
    fruitless = 0
    while sink.size < size:
        before = sink.size
        try:
            await _some(repository, digest, size, sink)
        except OnggiError as error:
            fruitless = 0 if sink.size > before else fruitless + 1
            if fruitless >= ATTEMPTS or not is_passing(error):
                raise
            seconds = max(min(_FIRST_PAUSE * 2**fruitless, _LONGEST_PAUSE), error.facts.get("wait", 0.0))
            waits(seconds)
            await pause(seconds)


async def _some(repository: Repository, digest: Digest, size: int, sink: Sink) -> None:
    """One request's worth; Unavailable if it ends before the blob does."""
    async with await repository.blob(digest, size, sink.size, attempts=1) as answer:
        known = sink.size if answer.status == 200 else 0
        async for chunk in answer.chunks():
            if known:  # a registry without ranges begins at the beginning
                left = chunk[known:]
                known -= len(chunk) - len(left)
                chunk = left
            if sink.size + len(chunk) > size:
                raise Corrupt("fetch blob", str(digest), f"the registry sends more than {size} bytes", code="blob.size")
            if chunk:
                await sink.write(chunk)
    if sink.size < size:
        cause = f"it ended after {sink.size} of {size} bytes"
        raise Unavailable("fetch blob", str(digest), cause, code="registry.broken-off", facts={"retry": True})
