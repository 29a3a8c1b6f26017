"""The engine's way to registries: pull, push, login, search, what a reference stands for.

What talks to registries is loaded when somebody first asks, in a thread: it takes a fifth of a second and some megabytes that
an engine which only runs what it has does not need. Callers: `images`, `api/routes/registries`. Read next: `pull`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onggi.engine.blocking import blocking
from onggi.engine.receiver import Reception
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference
from onggi.registry.credentials import from_header
from onggi.registry.hosts import Options
from onggi.store.store import Store
from onggi.wire.filters import Filters

if TYPE_CHECKING:
    from onggi.engine.inquiries import Inquiries
    from onggi.engine.pull import Pulls
    from onggi.registry.transport import Transport


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line and the configuration file say about registries."""

    options: Options = field(default_factory=Options)
    downloads: int = 3
    """How many layers are downloaded at once."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    transport: Transport
    pulls: Pulls
    inquiries: Inquiries


class Registries:
    """All registries, for one engine. `auth` is an `X-Registry-Auth` header."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.settings = settings
        self._store = store
        self._reception = Reception(store.root)
        self._loading = asyncio.Lock()
        self._loaded: _Loaded | None = None

    async def close(self) -> None:
        """Hang up on all of them."""
        if self._loaded is not None:
            await self._loaded.transport.close()
        await self.settle()

    async def settle(self) -> None:
        """Wait for what pulls that are over leave behind."""
        await self._reception.settle()

    async def pull(self, reference: Reference, wanted: Platform | None, auth: str) -> AsyncGenerator[bytes, None]:
        """Pull an image, or all tags of a repository; Docker's progress lines."""
        loaded = await self._load()
        async for line in loaded.pulls.pull(reference, wanted, from_header(auth)):
            yield line

    async def distribution(self, name: str, auth: str) -> Mapping[str, Any]:
        """What a reference stands for at its registry, and for which platforms."""
        reference = Reference.parse(name).with_default_tag()
        return await (await self._load()).inquiries.distribution(reference, from_header(auth))

    async def login(self, body: bytes) -> Mapping[str, Any]:
        """Try credentials (Docker's AuthConfig as JSON) at their registry."""
        return await (await self._load()).inquiries.login(body)

    async def search(self, term: str, limit: int | None, filters: Filters, auth: str) -> list[Mapping[str, Any]]:
        """Repositories that a registry finds."""
        return await (await self._load()).inquiries.search(term, limit, filters, from_header(auth))

    async def _load(self) -> _Loaded:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await blocking(self._import)
            return self._loaded

    def _import(self) -> _Loaded:
        from onggi.engine.inquiries import Inquiries
        from onggi.engine.pull import Pulls
        from onggi.registry.transport import Transport

        transport = Transport(self.settings.options)
        pulls = Pulls(self._store, transport, self._reception, self.settings.downloads)
        return _Loaded(transport, pulls, Inquiries(transport))
