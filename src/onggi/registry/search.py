"""Search, which only Docker Hub and a few others have: the first registry's `/v1/search`.

Callers: `engine/registries`. Read next: `session`.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from onggi.oci import image as spec
from onggi.oci.reference import DEFAULT_DOMAIN
from onggi.registry import hosts
from onggi.registry.credentials import NOBODY, Credentials
from onggi.registry.hosts import Endpoint
from onggi.registry.session import Asked, Session
from onggi.registry.transport import Transport

_LARGEST = 8 << 20


class Result(msgspec.Struct, frozen=True):
    """A repository that was found."""

    name: str
    description: str | None = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct):
    results: list[Result] | None = None


async def search(
    transport: Transport, domain: str, term: str, limit: int, credentials: Credentials = NOBODY
) -> list[Result]:
    """Repositories whose names or descriptions have `term` in them, at most `limit`, in the registry's order."""
    hub = [Endpoint("https", hosts.HUB_SEARCH)]
    endpoints = hub if domain == DEFAULT_DOMAIN else hosts.endpoints(domain, transport.options)
    headers = {"Authorization": credentials.basic} if credentials.username else {}
    asked = Asked("GET", f"/v1/search?q={quote(term, safe='')}&n={limit}", headers=headers)
    async with await Session(transport, endpoints).ask(asked) as answer:
        return (spec.decode(await answer.read(_LARGEST), _Results, answer.url).results or [])[:limit]
