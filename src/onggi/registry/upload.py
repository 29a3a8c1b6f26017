"""A blob on its way into a registry: not at all if it is there, by name from another repository, or in chunks.

    HEAD blob            there: nothing to do
    POST uploads?mount   the registry has it in another repository of ours: it is there now
    POST uploads         a place for it
    PATCH place …        chunk by chunk; after a failure the place is asked how far it is
    PUT place?digest     done

(OCI distribution spec 1.1, "Pushing blobs".) Callers: `engine/push`. Read next: `client`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from onggi.errors import Corrupt, NotFound, OnggiError, Unauthorized
from onggi.oci.digest import Digest
from onggi.registry import refusals
from onggi.registry.client import Repository
from onggi.registry.session import ATTEMPTS, Asked, is_passing
from onggi.registry.transport import Answer, pause

CHUNK = 64 << 20
_LARGEST_CHUNK = 1 << 30
_MOST_MOUNTS = 4
_FIRST_PAUSE = 0.1
Reader = Callable[[int, int], AsyncIterator[bytes]]
"""Gives `count` bytes of the blob from `offset` on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it took."""

    there: bool = False
    mounted: str = ""
    """The repository that it was mounted from."""


@dataclass(slots=True)
class _Place:
    """An upload that was begun."""

    url: str
    chunk: int


async def upload(
    repository: Repository,
    digest: Digest,
    size: int,
    read: Reader,
    sources: Sequence[str] = (),
    *,
    chunk: int = CHUNK,
) -> Outcome:
    """Bring a blob into the registry. `sources` are repositories of the same registry that may have it."""
    if await repository.has(digest):
        return Outcome(there=True)
    for source in sources[:_MOST_MOUNTS]:
        if await _mount(repository, digest, source):
            return Outcome(mounted=source)
    fruitless, reached = 0, 0
    place: _Place | None = None
    while True:
        try:
            place = place or await _begin(repository, chunk)
            offset = await _offset(repository, place) if reached or fruitless else 0
            reached = max(reached, offset)
            await _chunks(repository, place, digest, size, offset, read)
            return Outcome()
        except OnggiError as error:
            if error.facts.get("status") == 404:
                place = None  # the registry has forgotten it: once more from the beginning
            elif not is_passing(error):
                raise
            fruitless += 1
            if fruitless >= ATTEMPTS:
                raise
            await pause(max(_FIRST_PAUSE * 2**fruitless, error.facts.get("wait", 0.0)))


async def _mount(repository: Repository, digest: Digest, source: str) -> bool:
    """Whether the registry took it over from `source`; a place that it made instead is given back."""
    path = repository.url(f"/blobs/uploads/?mount={digest}&from={quote(source, safe='')}")
    asked = Asked("POST", path, repository.scope(push=True, also=[source]), good=(201, 202))
    try:
        async with await repository.session.ask(asked) as answer:
            if answer.status == 201:
                return True
            place = _place(answer, CHUNK)
    except (NotFound, Unauthorized):
        return False
    async with await repository.session.send_to(place.url, "DELETE", repository.scope(push=True), headers={}):
        return False


async def _begin(repository: Repository, chunk: int) -> _Place:
    asked = Asked("POST", repository.url("/blobs/uploads/"), repository.scope(push=True), good=(202,))
    async with await repository.session.ask(asked) as answer:
        return _place(answer, chunk)


def _place(answer: Answer, chunk: int) -> _Place:
    target = answer.header("Location")
    if not target:
        raise Corrupt("push blob", answer.url, "the registry took the upload and named no place for it")
    least = answer.header("OCI-Chunk-Min-Length")
    if least.isdigit() and int(least) <= _LARGEST_CHUNK:
        chunk = max(chunk, int(least))
    return _Place(urljoin(answer.url, target), chunk)


async def _offset(repository: Repository, place: _Place) -> int:
    """How many bytes the registry has, after something went wrong."""
    async with await _to(repository, place.url, "GET") as answer:
        if answer.status != 204:
            raise refusals.refusal(answer.status, await answer.beginning(), "push", place.url)
        place.url = urljoin(place.url, answer.header("Location") or place.url)
        return _end(answer)


async def _chunks(repository: Repository, place: _Place, digest: Digest, size: int, offset: int, read: Reader) -> None:
    while size - offset > place.chunk:
        count = place.chunk
        headers = {"Content-Range": f"{offset}-{offset + count - 1}"}
        async with await _to(repository, place.url, "PATCH", headers, read(offset, count), count) as answer:
            if answer.status != 202:
                raise refusals.refusal(answer.status, await answer.beginning(), "push", place.url)
            place.url = urljoin(place.url, answer.header("Location") or place.url)
            offset = _end(answer) or offset + count
    await _finish(repository, place, digest, size, offset, read)


async def _finish(repository: Repository, place: _Place, digest: Digest, size: int, offset: int, read: Reader) -> None:
    """The last chunk comes with the digest, so that a small blob takes one request."""
    count = size - offset
    headers = {"Content-Range": f"{offset}-{size - 1}"} if offset and count else {}
    url = place.url + ("&" if "?" in place.url else "?") + f"digest={quote(str(digest), safe='')}"
    async with await _to(repository, url, "PUT", headers, read(offset, count), count) as answer:
        if answer.status not in (201, 204):
            raise refusals.refusal(answer.status, await answer.beginning(), "push", place.url)


async def _to(
    repository: Repository,
    url: str,
    method: str,
    headers: dict[str, str] | None = None,
    body: AsyncIterator[bytes] | bytes = b"",
    length: int = 0,
) -> Answer:
    given = {"Content-Type": "application/octet-stream", **(headers or {})}
    return await repository.session.send_to(
        url, method, repository.scope(push=True), headers=given, body=body, length=length
    )


def _end(answer: Answer) -> int:
    """The bytes that the registry has, from its `Range: 0-N`; 0 if it does not say."""
    found = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", answer.header("Range").strip())
    return int(found[1]) + 1 if found and int(found[1]) else 0
