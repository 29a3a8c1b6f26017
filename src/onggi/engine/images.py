"""The images' use cases: list, inspect, history, tag, delete, load, pull, and what a container takes from its image.

The store works on files, so each call goes through a thread; a load is a process of its own (`image_load`), because it
unpacks what strangers packed. Callers: `api/routes/images`, `engine/containers`. Read next: `image_views`, `store/store`.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from onggi.engine import image_load, image_views, registries, words
from onggi.engine.blocking import blocking
from onggi.engine.events import Events
from onggi.engine.instance import Instance
from onggi.errors import Conflict, Invalid, NotFound
from onggi.oci import choice
from onggi.oci.digest import Digest
from onggi.oci.image import RunConfig
from onggi.oci.platform import Platform, rank
from onggi.oci.reference import Reference
from onggi.store import builtin, deletion
from onggi.store.images import Image
from onggi.store.snapshots import Overlay
from onggi.store.store import Store
from onggi.wire import progress
from onggi.wire.filters import Filters
from onggi.wire.images import HistoryEntry, ImageDeleted, ImageInspect, ImagesPruned, ImageSummary

Users = Callable[[str], Sequence[tuple[str, bool]]]
"""The containers made from an image, by its id: their ids, and whether each runs."""


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """What a container takes from its image."""

    id: str
    run: RunConfig
    layers: tuple[Digest, ...]


class Images:
    """All images of one engine."""

    def __init__(
        self, instance: Instance, events: Events, users: Users, settings: registries.Settings | None = None
    ) -> None:
        self._store = Store(instance.data_root)
        self.registries = registries.Registries(self._store, settings or registries.Settings())
        self._events = events
        self._users = users
        self._making = asyncio.Lock()

    async def start(self) -> None:
        """Make the store's directories, and remove what a killed engine left behind."""
        await blocking(self._store.start)

    async def close(self) -> None:
        """Let go of registries."""
        await self.registries.close()

    async def count(self) -> int:
        """How many there are."""
        return len(await self._all())

    # -- for containers ------------------------------------------------------------------------------------------------

    async def for_container(self, name: str, platform: str) -> ContainerImage:
        """The image that `name` means; a built-in one is made now. NotFound if there is none, or none for `platform`."""
        try:
            image = self._store.images.resolve(name)  # from memory, in microseconds: a thread would cost more
        except NotFound:
            image = await self._make(name)
        if platform:
            _check_platform(image, name, Platform.parse(platform))
        return ContainerImage(str(image.id), image.config.run, image.layers)

    async def prepare(self, container_id: str, image: ContainerImage) -> Overlay:
        """The directories of a new container."""
        return await blocking(self._store.snapshots.prepare, container_id, image.layers)

    def discard(self, container_id: str) -> None:
        """Remove a container's directories; this blocks."""
        self._store.snapshots.remove(container_id)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def inspect(self, name: str) -> ImageInspect:
        """All about one."""
        image = await self._find(name)
        return await blocking(image_views.inspect, image, self._store.layers)

    async def history(self, name: str) -> builtins.list[HistoryEntry]:
        """How it was made, newest step first."""
        image = await self._find(name)
        return await blocking(image_views.history, image, self._store.layers)

    async def tag(self, name: str, repository: str, tag: str) -> None:
        """Give it one more name."""
        reference = Reference.parse(f"{repository}:{tag}" if tag else repository)
        if reference.digest is not None:
            raise Invalid("tag", name, "refusing to create a tag with a digest reference", code="text")
        image = await self._find(name)
        await blocking(self._store.images.tag, image, reference.with_default_tag())
        self._tell("tag", image, reference.with_default_tag().familiar())

    async def delete(self, name: str, *, force: bool, prune: bool) -> builtins.list[ImageDeleted]:
        """Take a name away, and with the last one the image. There are no untagged parents that `prune` could keep."""
        removed = await self._delete(name, force=force)
        await self._collect()
        return removed

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Delete the images that no container uses and that pass: those without a tag, unless `dangling` is false."""
        dangling = filters.flag("dangling", default=True)
        removed: builtins.list[ImageDeleted] = []
        for image in image_views.prunable(await self._all(), filters):
            if dangling and image.names:
                continue
            for name in [str(name) for name in image.references] or [str(image.id)]:
                with contextlib.suppress(Conflict, NotFound):  # a container uses it; or its other names took it along
                    removed += await self._delete(name, force=False)
        freed = await self._collect(unfinished=True)
        return ImagesPruned(images_deleted=removed or None, space_reclaimed=freed)

    async def load(self, archive: AsyncIterator[bytes], *, quiet: bool) -> AsyncGenerator[bytes, None]:
        """Load an archive; gives Docker's progress lines. All of its images are loaded or none."""
        async with contextlib.aclosing(image_load.load(self._store.root, archive)) as reports:
            async for report in reports:
                if isinstance(report, image_load.Loaded):
                    for line in await self._loaded(report):
                        yield line
                elif not quiet:
                    yield progress.status(report.status, ident=report.id, current=report.current, total=report.total)

    async def pull(self, name: str, tag: str, *, platform: str, auth: str) -> AsyncGenerator[bytes, None]:
        """Pull an image, all tags of a repository without a `tag`; gives Docker's progress lines."""
        reference = _pulled(name, tag)
        wanted = Platform.parse(platform) if platform else None
        async with contextlib.aclosing(self.registries.pull(reference, wanted, auth)) as lines:
            async for line in lines:
                yield line
        attributes = {"name": reference.familiar_name}
        with contextlib.suppress(NotFound):  # all tags of a repository: no one image has its name
            attributes |= (await self._find(reference.familiar())).config.run.labels or {}
        self._events.publish("image", "pull", reference.familiar(), attributes)

    async def list(self, *, all: bool, filters: Filters) -> builtins.list[ImageSummary]:
        """Images that pass, newest first. There are no intermediate ones that `all` could add."""
        found = image_views.select(await self._all(), filters)
        return [image_views.summary(image, len(self._users(str(image.id)))) for image in found]

    # ------------------------------------------------------------------------------------------------------------------

    async def _delete(self, name: str, *, force: bool) -> builtins.list[ImageDeleted]:
        image = await self._find(name)
        users = [deletion.User(container, running) for container, running in self._users(str(image.id))]
        removed = await blocking(
            deletion.delete,
            self._store.images,
            name,
            force=force,
            users={image.id: users},
            used_layers=self._store.snapshots.held(),
        )
        for one in removed:
            if one.untagged:
                self._tell("untag", image, str(image.id))
            elif one.deleted == str(image.id):
                self._tell("delete", image, str(image.id))
        return [ImageDeleted(untagged=one.untagged, deleted=one.deleted) for one in removed]

    async def _collect(self, *, unfinished: bool = False) -> int:
        """Remove what nobody refers to now; the bytes of it. While somebody adds, it is left to who comes next."""
        await self.registries.settle()
        return (await blocking(self._store.collect, unfinished=unfinished)).freed

    async def _all(self) -> tuple[Image, ...]:
        return await blocking(self._store.images.all)

    async def _find(self, name: str) -> Image:
        return await blocking(self._store.images.resolve, name)

    async def _make(self, name: str) -> Image:
        """The built-in image of this name, made at its first use; NotFound if it is none."""
        if not builtin.is_builtin(Reference.parse(name)):
            raise NotFound.of("image", Reference.parse(name).with_default_tag().familiar())
        async with self._making:
            with contextlib.suppress(NotFound):  # somebody else made it while we waited
                return await self._find(name)
            await image_load.make(self._store.root, Reference.parse(name).familiar_name)
            return await self._find(name)

    async def _loaded(self, report: image_load.Loaded) -> builtins.list[bytes]:
        names = report.names or (report.id,)
        for name in names:
            image = await self._find(name)
            self._tell("load", image, name)
        what = "Loaded image: {}\n" if report.names else "Loaded image ID: {}\n"
        return [progress.stream(what.format(name)) for name in names]

    def _tell(self, action: str, image: Image, name: str) -> None:
        labels = image.config.run.labels or {}
        self._events.publish("image", action, str(image.id), {**labels, "name": name})


def _pulled(name: str, tag: str) -> Reference:
    """The reference that a pull's two parameters spell; the tag may be a digest, and is in the name for some clients."""
    separator = "@" if ":" in tag else ":"
    return Reference.parse(f"{name}{separator}{tag}" if tag else name)


def _check_platform(image: Image, name: str, wanted: Platform) -> None:
    offered = choice.of_config(image.config)
    if rank(wanted, offered) is None:
        raise words.other_platform(name, wanted, offered)
