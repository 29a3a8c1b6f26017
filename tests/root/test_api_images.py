"""The images' use cases over a real store and its real worker process."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest

from harness import image as harness_image
from onggi.engine.events import Events
from onggi.engine.images import Images
from onggi.engine.instance import Instance
from onggi.errors import Conflict, Corrupt, Invalid, NotFound
from onggi.wire import progress
from onggi.wire.filters import Filters

T = TypeVar("T")
NONE = Filters()


class World:
    """A store in a scratch directory, with what containers use and what was told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events = Events()
        self.users: dict[str, list[tuple[str, bool]]] = {}
        instance = Instance(root / "data", root / "run")
        instance.prepare()
        self.images = Images(instance, self.events, lambda image_id: self.users.get(image_id, []))

    def run(self, work: Callable[[Images], Awaitable[T]]) -> T:
        """Await one use case in a loop of its own."""

        async def body() -> T:
            await self.images.start()
            return await work(self.images)

        return asyncio.run(body())

    def load(self, archive: bytes, chunk: int = 1 << 16) -> list[dict[str, object]]:
        """Load; the progress lines."""

        async def work(images: Images) -> bytes:
            return b"".join([line async for line in images.load(_chunks(archive, chunk), quiet=False)])

        return progress.Lines().feed(self.run(work))

    def told(self) -> list[tuple[str, str]]:
        """Actions and names of the events so far."""

        async def work(_: Images) -> list[tuple[str, str]]:
            heard = self.events.listen(since_ns=0, until_ns=time.time_ns(), filters=NONE)
            return [(event.action, event.actor.attributes["name"]) async for event in heard]

        return self.run(work)

    def blobs(self) -> set[str]:
        """What lies in the store."""
        return {
            path.name
            for folder in ("blobs/sha256", "layers")
            for path in (self.root / "data" / folder).glob("[0-9a-f]*")
        }


async def _chunks(archive: bytes, size: int) -> AsyncIterator[bytes]:
    stream = io.BytesIO(archive)
    while piece := stream.read(size):
        yield piece


@pytest.fixture
def world() -> Iterator[World]:
    """A fresh store on a tmpfs."""
    with TemporaryDirectory(prefix="onggi-api-", dir="/dev/shm") as directory:
        yield World(Path(directory))


@pytest.fixture(scope="module")
def archive() -> bytes:
    """A docker-archive of one busybox image."""
    return harness_image.busybox_archive()


def test_load_and_look(world: World, archive: bytes) -> None:
    """A loaded image is in the list, can be inspected by name and by id, and its history adds up."""
    lines = world.load(archive)
    assert lines[-1] == {"stream": f"Loaded image: {harness_image.BUSYBOX}\n"}
    [summary] = world.run(lambda images: images.list(all=False, filters=NONE))
    assert summary.repo_tags == [harness_image.BUSYBOX]
    seen = world.run(lambda images: images.inspect(summary.id[7:19]))
    assert (seen.id, seen.size) == (summary.id, summary.size)
    steps = world.run(lambda images: images.history(harness_image.BUSYBOX))
    assert sum(step.size for step in steps) == summary.size
    assert world.told() == [("load", harness_image.BUSYBOX)]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_cut_archive_leaves_nothing(world: World, archive: bytes, part: float) -> None:
    """An archive that ends too early is refused, and the store is as before."""
    with pytest.raises(Corrupt):
        world.load(archive[: int(len(archive) * part)])
    assert world.blobs() == set()
    assert world.told() == []


def test_junk_is_refused(world: World) -> None:
    """What is no archive is refused."""
    with pytest.raises(Corrupt):
        world.load(b"not a tar at all" * 1000)


def test_a_client_that_breaks_off_is_heard(world: World, archive: bytes) -> None:
    """When reading the archive fails, the load fails with that error and the worker is gone."""

    async def broken() -> AsyncIterator[bytes]:
        yield archive[: len(archive) // 2]
        raise Invalid("read", "request body", "unexpected EOF", code="text")

    async def work(images: Images) -> None:
        async for _ in images.load(broken(), quiet=True):
            pass

    with pytest.raises(Invalid, match="unexpected EOF"):
        world.run(work)
    world.run(lambda images: images.count())
    assert world.blobs() == set()


def test_tags_and_deletion(world: World, archive: bytes) -> None:
    """A name goes first, the image with its last name, and then the disk is empty again."""
    world.load(archive)
    name = harness_image.BUSYBOX
    world.run(lambda images: images.tag(name, "host:5000/a/b", "v1"))
    first = world.run(lambda images: images.delete(name, force=False, prune=True))
    assert [(one.untagged, one.deleted) for one in first] == [(name, "")]
    second = world.run(lambda images: images.delete("host:5000/a/b:v1", force=False, prune=True))
    assert [bool(one.deleted) for one in second][:2] == [False, True]
    assert world.blobs() == set()
    assert [action for action, _ in world.told()] == ["load", "tag", "untag", "untag", "delete"]


def test_an_image_in_use_stays(world: World, archive: bytes) -> None:
    """An image that a running container uses is not removed, not even by force."""
    world.load(archive)
    [summary] = world.run(lambda images: images.list(all=False, filters=NONE))
    world.users[summary.id] = [("c" * 64, True)]
    with pytest.raises(Conflict):
        world.run(lambda images: images.delete(summary.id, force=False, prune=True))
    with pytest.raises(Conflict):
        world.run(lambda images: images.delete(summary.id, force=True, prune=True))
    [again] = world.run(lambda images: images.list(all=False, filters=NONE))
    assert again.containers == 1


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"reference": ["busy*"]}, 1),
        ({"reference": ["other"]}, 0),
        ({"dangling": ["true"]}, 0),
        ({"dangling": ["false"]}, 1),
        ({"label": ["no"]}, 0),
        ({"until": ["1"]}, 0),
    ],
)
def test_list_filters(world: World, archive: bytes, wanted: dict[str, list[str]], count: int) -> None:
    """Each filter narrows the list."""
    world.load(archive)
    assert len(world.run(lambda images: images.list(all=False, filters=Filters(wanted)))) == count


def test_unknown_and_unusable_names(world: World) -> None:
    """A name that nobody has is not found; one that is none is refused."""
    with pytest.raises(NotFound):
        world.run(lambda images: images.inspect("nope"))
    with pytest.raises(Invalid):
        world.run(lambda images: images.inspect("BAD/../x"))
    with pytest.raises(NotFound):
        world.run(lambda images: images.for_container("nope", ""))


def test_built_in_images_are_made_at_first_use(world: World) -> None:
    """`hello` and `host` come into being when a container wants them, once, also when two want them at a time."""

    async def twice(images: Images) -> set[str]:
        return {image.id for image in await asyncio.gather(*(images.for_container("hello", "") for _ in range(3)))}

    assert len(world.run(twice)) == 1
    overlay = world.run(lambda images: _prepared(images))
    assert overlay
    assert world.run(lambda images: images.count()) == 2


async def _prepared(images: Images) -> bool:
    host = await images.for_container("host", "")
    overlay = await images.prepare("c0ffee", host)
    images.discard("c0ffee")
    return overlay.in_memory and overlay.lowers == ("/",)


def test_another_platform_is_not_found(world: World, archive: bytes) -> None:
    """An image for this machine is none for another."""
    world.load(archive)
    with pytest.raises(NotFound, match="does not match the specified platform"):
        world.run(lambda images: images.for_container(harness_image.BUSYBOX, "linux/s390x"))
