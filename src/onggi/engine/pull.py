"""Pull: a reference becomes an image, with Docker's words on the way.

    manifest, or an index and of it this platform's ─► config ─► layers, several at a time (`transfers`) ─► names

What is there is not fetched again: an image that is whole, a blob that an image or an interrupted pull has brought. The names
come last, when all is on the disk. Loads what talks to registries, so it is imported when first needed (`registries`).
Callers: `registries`. Read next: `transfers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from onggi.engine import words
from onggi.engine.blocking import blocking
from onggi.engine.feed import Feed
from onggi.engine.receiver import Receiver, Reception
from onggi.engine.transfers import Layer, State, Transfers, Watcher
from onggi.errors import Corrupt, LimitExceeded, NotFound, OnggiError, Unsupported
from onggi.oci import choice, platform
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.oci.image import Descriptor, ImageConfig, Manifest
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference
from onggi.registry.client import Document, Repository
from onggi.registry.credentials import Credentials
from onggi.registry.transport import Transport
from onggi.store.images import Image
from onggi.store.store import Store

_DEEPEST_INDEX = 4
_CONFIGS = frozenset({spec.CONFIG, spec.DOCKER_CONFIG, "application/octet-stream"})
_LAYERS = (spec.LAYER, spec.DOCKER_LAYER, "application/vnd.oci.image.layer.nondistributable.v1.tar")


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference stands for at its registry."""

    top: Document
    """What the reference itself names: a manifest or an index."""
    manifest: Document
    document: Manifest
    indexes: tuple[Document, ...] = ()
    """What lies between the two, and the top itself."""


class Pulls:
    """Pulls of one engine. Made in a thread: nothing here may need the event loop before the first pull."""

    def __init__(self, store: Store, transport: Transport, reception: Reception, at_once: int) -> None:
        self._store = store
        self._transport = transport
        self._reception = reception
        self._transfers = Transfers(store, at_once)

    async def pull(
        self, reference: Reference, wanted: Platform | None, credentials: Credentials
    ) -> AsyncGenerator[bytes, None]:
        """Pull one image, or all tags of a repository if there is neither a tag nor a digest; Docker's progress lines."""
        repository = Repository(self._transport, reference.domain, reference.path, credentials)
        feed = Feed()
        if reference.tag or reference.digest:
            work = self._pull(repository, reference, wanted, feed)
        else:
            work = self._pull_all(repository, reference, wanted, feed)
        async for line in feed.lines(work):
            yield line

    async def _pull_all(
        self, repository: Repository, reference: Reference, wanted: Platform | None, feed: Feed
    ) -> None:
        try:
            tags = await repository.tags()
        except OnggiError as error:
            raise words.refused_pull(error, reference) from None
        for tag in sorted(tags):
            await self._pull(repository, replace(reference, tag=tag), wanted, feed)

    async def _pull(self, repository: Repository, reference: Reference, wanted: Platform | None, feed: Feed) -> None:
        try:
            found = await self._find(repository, reference, wanted or platform.host())
        except OnggiError as error:
            raise words.refused_pull(error, reference) from None
        told = str(reference.digest) if reference.digest else reference.tag
        feed.say(f"Pulling from {reference.path}", told)
        names = _names(reference, found.top.digest)
        here = await blocking(self._here, found.manifest.digest, names)
        if here is None:
            await self._fetch(repository, reference, found, names, wanted, feed)
        else:
            _check_platform(here.config, reference, wanted)
        feed.say(f"Digest: {found.top.digest}")
        status = "Downloaded newer image for" if here is None else "Image is up to date for"
        feed.say(f"Status: {status} {reference.familiar()}")

    async def _find(self, repository: Repository, reference: Reference, wanted: Platform) -> Found:
        """The manifest of a reference for one platform; NotFound if there is none for it."""
        top = document = await repository.manifest(str(reference.digest) if reference.digest else reference.tag)
        indexes = []
        while document.media_type in spec.INDEXES:
            indexes.append(document)
            if len(indexes) > _DEEPEST_INDEX:
                raise Corrupt("pull", reference.familiar(), "its index leads to indexes without end")
            chosen = choice.choose(spec.decode(document.data, spec.Index, str(document.digest)).manifests, wanted)
            digest = Digest.parse(chosen.digest)
            known = await self._known(digest)
            document = Document(chosen.media_type, digest, known) if known else await repository.manifest(str(digest))
        manifest = spec.decode(document.data, Manifest, str(document.digest))
        if manifest.config.media_type not in _CONFIGS:
            what = manifest.config.media_type
            raise Unsupported("pull", reference.familiar(), f"it is no container image but {what}")
        return Found(top, document, manifest, tuple(indexes))

    async def _known(self, digest: Digest) -> bytes | None:
        """A document that is here already; it need not stay, whoever uses it adds it again."""
        try:
            return await blocking(self._store.content.read, digest)
        except (NotFound, Corrupt):
            return None

    def _here(self, manifest: Digest, names: list[str]) -> Image | None:
        """The image if it is here with all that belongs to it, under these names."""
        content, layers = self._store.content, self._store.layers
        for image in self._store.images.all():
            known = {str(name) for name in image.references}
            if image.manifest == manifest and known.issuperset(names):
                blobs = [Digest.parse(layer.digest) for layer in self._store.images.manifest_of(image).layers]
                return image if all(map(content.has, blobs)) and all(map(layers.has, image.layers)) else None
        return None

    async def _fetch(
        self,
        repository: Repository,
        reference: Reference,
        found: Found,
        names: list[str],
        wanted: Platform | None,
        feed: Feed,
    ) -> None:
        async with self._reception.open() as receiver:
            config = found.document.config
            data = await self._known(Digest.parse(config.digest))
            if data is None:
                data = await repository.document(Digest.parse(config.digest), config.size)
            layers = _layers(found.document, _checked_config(data, config.digest, reference, wanted))
            await asyncio.wait([receiver.ready])
            receiver.ready.result()
            for document in (*(one.data for one in found.indexes), found.manifest.data, data):
                await blocking(self._store.content.add, document)
            await blocking(self._store.downloads.want, found.manifest.digest)
            try:
                await self._fetch_layers(receiver, repository, layers, feed)
            except (Corrupt, Unsupported, LimitExceeded):  # another try would find the same: keep nothing for it
                await blocking(self._store.downloads.finish, found.manifest.digest)
                raise
            await receiver.image(found.manifest.digest, names)

    async def _fetch_layers(self, receiver: Receiver, repository: Repository, layers: list[Layer], feed: Feed) -> None:
        """All of them; the first that fails ends the others."""
        missing = []
        for layer in layers:
            here = await blocking(self._has, layer)
            feed.say("Already exists" if here else "Pulling fs layer", layer.digest.short)
            if not here:
                missing.append(layer)
        try:
            async with asyncio.TaskGroup() as group:
                for layer in dict.fromkeys(missing):
                    group.create_task(self._transfers.fetch(receiver, repository, layer, _told(feed, layer)))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _has(self, layer: Layer) -> bool:
        return self._store.layers.has(layer.diff_id) and self._store.content.has(layer.digest)


def _names(reference: Reference, digest: Digest) -> list[str]:
    """What the image is called from now on: its tag if it was asked for by one, and where it comes from."""
    by_digest = Reference(reference.domain, reference.path, digest=digest)
    by_tag = [] if reference.digest else [str(Reference(reference.domain, reference.path, reference.tag))]
    return [*by_tag, str(by_digest)]


def _checked_config(data: bytes, digest: str, reference: Reference, wanted: Platform | None) -> ImageConfig:
    config = spec.decode(data, ImageConfig, digest)
    if config.os not in ("", "linux"):
        cause = f'image operating system "{config.os}" cannot be used on this platform'
        raise Unsupported("pull", reference.familiar(), cause, code="text")
    _check_platform(config, reference, wanted)
    return config


def _check_platform(config: ImageConfig, reference: Reference, wanted: Platform | None) -> None:
    offered = choice.of_config(config)
    if wanted is not None and platform.rank(wanted, offered) is None:
        raise words.other_platform(reference.familiar(), wanted, offered)


def _layers(manifest: Manifest, config: ImageConfig) -> list[Layer]:
    if len(manifest.layers) != len(config.diff_ids):
        cause = f"invalid manifest, layers length mismatch: expected {len(manifest.layers)}, got {len(config.diff_ids)}"
        raise Corrupt("pull", "image", cause, code="load.layers")
    return [_layer(entry, diff_id) for entry, diff_id in zip(manifest.layers, config.diff_ids, strict=True)]


def _layer(entry: Descriptor, diff_id: Digest) -> Layer:
    if not entry.media_type.startswith(_LAYERS) and "foreign" not in entry.media_type:
        raise Unsupported("pull", entry.digest, f"media type {entry.media_type} is no layer")
    if diff_id.algorithm != "sha256":
        raise Unsupported("pull", str(diff_id), "a layer's digest must be sha256")
    if entry.size < 0:
        raise Corrupt("pull", entry.digest, f"a layer of {entry.size} bytes")
    return Layer(Digest.parse(entry.digest), entry.size, diff_id)


def _told(feed: Feed, layer: Layer) -> Watcher:
    def watcher(state: State) -> None:
        if state.total:
            feed.bar(state.text, layer.digest.short, state.current, state.total)
        else:
            feed.say(state.text, layer.digest.short)

    return watcher
