"""`store/images`, `store/deletion`, `store/gc`: names, ids, and what goes when a name goes."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from harness.imagetar import digest, docker_archive, member, packed
from onggi.errors import Conflict, Invalid, NotFound
from onggi.oci.digest import Digest, chain_ids
from onggi.oci.reference import Reference
from onggi.store.deletion import User, delete
from onggi.store.images import Image
from onggi.store.load import load
from onggi.store.store import Store

pytestmark = pytest.mark.root

BASE = packed([member("base", b"1" * 10)])
TOP = packed([member("top", b"2" * 20)])
OTHER = packed([member("other", b"3" * 30)])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    made = Store(tmp_path / "data")
    made.start()
    return made


def image(store: Store, layers: list[bytes], *names: str) -> Image:
    """Load an image; it."""
    chunks = [docker_archive((layers, names)), b""]
    (loaded,) = load(store, lambda count: chunks.pop(0), lambda progress: None)
    return store.images.get(loaded.id)


def tag(store: Store, one: Image, name: str) -> None:
    """Give the image a name."""
    store.images.tag(one, Reference.parse(name))


def removed(store: Store, name: str, **options: object) -> list[str]:
    """Delete and collect; the lines of the answer."""
    lines = delete(store.images, name, **options)  # type: ignore[arg-type]
    assert store.collect().done
    return [f"Untagged: {line.untagged}" if line.untagged else f"Deleted: {line.deleted}" for line in lines]


def test_an_image_has_many_names(store: Store) -> None:
    """Reference with and without default parts, id, prefix of the id, manifest's digest, name@digest."""
    one = image(store, [BASE], "app:1")
    tag(store, one, "quay.io/x/app")
    for name in (
        "app:1", "docker.io/library/app:1", "quay.io/x/app", "quay.io/x/app:latest", str(one.id), one.id.hex,
        one.id.short, f"sha256:{one.id.short}", str(one.manifest), f"app@{one.manifest}",
    ):  # fmt: skip
        assert store.images.resolve(name).id == one.id, name


@pytest.mark.parametrize(
    "name", ["app", "app:2", "0" * 64, "sha256:" + "0" * 64, "quay.io/app:1", "app@sha256:" + "0" * 64]
)
def test_what_is_not_there_is_not_found(store: Store, name: str) -> None:
    """Docker shows the name with its default tag, and the algorithm of an id."""
    image(store, [BASE], "app:1")
    with pytest.raises(NotFound) as caught:
        store.images.resolve(name)
    shown = {"app": "app:latest", "0" * 64: "sha256:" + "0" * 64}
    assert caught.value.facts == {"name": shown.get(name, name)}


def test_bad_syntax_is_invalid_rather_than_not_found(store: Store) -> None:
    """As in Docker."""
    with pytest.raises(Invalid, match="must be lowercase"):
        store.images.resolve("APP")


def test_a_name_wins_over_the_prefix_of_an_id(store: Store) -> None:
    """An image called `ab` is found under it, whatever ids begin so."""
    one = image(store, [BASE], "app:1")
    two = image(store, [TOP], f"{one.id.hex[:2]}:latest")
    assert store.images.resolve(one.id.hex[:2]).id == two.id


def test_a_prefix_of_two_ids_is_not_found(store: Store) -> None:
    """Seventeen images have two ids that begin alike."""
    ids = [image(store, [packed([member(str(n))])]).id.hex for n in range(17)]
    first = next(one for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    with pytest.raises(NotFound):
        store.images.resolve(first[0])


def test_a_second_name_is_the_same_image(store: Store) -> None:
    """One id, two names, in order."""
    one = image(store, [BASE], "b:1")
    tag(store, one, "a:1")
    (listed,) = store.images.all()
    assert [name.familiar() for name in listed.names] == ["a:1", "b:1"]


def test_a_dangling_image_that_gets_a_name_is_listed_once(store: Store) -> None:
    """The nameless entry goes."""
    one = image(store, [BASE])
    tag(store, one, "a:1")
    assert len(store.images.records()) == 1


def test_a_tag_with_a_digest_is_refused(store: Store) -> None:
    """In Docker's words."""
    with pytest.raises(Invalid, match="refusing to create a tag with a digest reference"):
        tag(store, image(store, [BASE], "a:1"), f"b@sha256:{'0' * 64}")


def test_deleting_one_of_two_names_takes_only_the_name(store: Store) -> None:
    """The image stays."""
    tag(store, image(store, [BASE], "a:1"), "b:1")
    assert removed(store, "a:1") == ["Untagged: a:1"]
    assert (store.layers.diff(store.images.resolve("b:1").layers[0]) / "base").exists()


def test_deleting_the_last_name_takes_the_image_and_its_layers(store: Store) -> None:
    """In Docker's order: the name, the image, the layers from the top."""
    one = image(store, [BASE, TOP], "a:1")
    layers = [f"Deleted: {layer}" for layer in reversed(chain_ids(one.layers))]
    assert removed(store, "a:1") == ["Untagged: a:1", f"Deleted: {one.id}", *layers]
    assert (store.content.all(), store.layers.all()) == ([], [])


def test_layers_that_another_image_has_stay(store: Store) -> None:
    """Only what nobody else refers to goes."""
    one, two = image(store, [BASE, TOP], "a:1"), image(store, [BASE, OTHER], "b:1")
    assert removed(store, "a:1") == ["Untagged: a:1", f"Deleted: {one.id}", f"Deleted: {chain_ids(one.layers)[1]}"]
    assert set(store.layers.all()) == set(two.layers)
    assert Digest.parse(digest(BASE)) in store.content.all()


def test_deleting_by_id_takes_the_one_name_too(store: Store) -> None:
    """If it has one."""
    one = image(store, [BASE], "a:1")
    assert removed(store, one.id.short)[:2] == ["Untagged: a:1", f"Deleted: {one.id}"]


@pytest.mark.parametrize("other", ["b:1", "a:2"])
def test_an_id_with_several_names_is_kept_unless_forced(store: Store, other: str) -> None:
    """In Docker's words; two tags of one repository count as several too."""
    one = image(store, [BASE], "a:1")
    tag(store, one, other)
    with pytest.raises(Conflict) as caught:
        removed(store, one.id.short)
    cause = f"unable to delete {one.id.short} (must be forced) - image is referenced in multiple repositories"
    assert caught.value.cause == cause
    assert removed(store, one.id.short, force=True)[:3] == ["Untagged: a:1", f"Untagged: {other}", f"Deleted: {one.id}"]


def test_a_used_image_is_kept(store: Store) -> None:
    """By its name, and by its id; each in Docker's words."""
    one = image(store, [BASE], "a:1")
    users = {one.id: [User("c" * 64, running=False)]}
    with pytest.raises(Conflict) as caught:
        removed(store, "a:1", users=users)
    assert caught.value.cause == (
        f'unable to remove repository reference "a:1" (must force) - container {"c" * 12} is using its referenced image '
        f"{one.id.short}"
    )
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container c{12}$"):
        removed(store, one.id.short, users=users)
    assert store.images.resolve("a:1")


def test_force_takes_the_image_of_a_stopped_container_but_not_its_layers(store: Store) -> None:
    """The container lies on them."""
    one = image(store, [BASE], "a:1")
    store.snapshots.prepare("c1", one.layers)
    users = {one.id: [User("c1", running=False)]}
    lines = removed(store, "a:1", force=True, users=users, used_layers=store.snapshots.held())
    assert lines == ["Untagged: a:1", f"Deleted: {one.id}"]
    assert store.layers.all() == [one.layers[0]]
    store.snapshots.remove("c1")
    assert store.collect().layers == one.layers


def test_force_leaves_the_image_of_a_running_container_dangling(store: Store) -> None:
    """Its name goes; by its id it cannot go at all."""
    one = image(store, [BASE], "a:1")
    users = {one.id: [User("c1", running=True)]}
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container c1"):
        removed(store, one.id.short, force=True, users=users)
    assert removed(store, "a:1", force=True, users=users) == ["Untagged: a:1"]
    assert store.images.get(one.id).names == ()


def test_deleting_what_is_not_there_is_not_found(store: Store) -> None:
    """And changes nothing."""
    image(store, [BASE], "a:1")
    with pytest.raises(NotFound):
        delete(store.images, "b:1")
    assert len(store.images.all()) == 1


def test_the_data_root_is_an_oci_layout(store: Store) -> None:
    """Every entry of index.json leads to a manifest whose config and layers are blobs beside it."""
    image(store, [BASE, TOP], "a:1")
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((store.root / "index.json").read_bytes())["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1"

    def blob(descriptor: dict[str, str | int]) -> bytes:
        data = (store.root / "blobs" / str(descriptor["digest"]).replace(":", "/")).read_bytes()
        assert (digest(data), len(data)) == (descriptor["digest"], descriptor["size"])
        return data

    manifest = json.loads(blob(entry))
    assert [blob(layer) for layer in manifest["layers"]] == [BASE, TOP]
    assert json.loads(blob(manifest["config"]))["rootfs"]["diff_ids"] == [digest(BASE), digest(TOP)]


def test_a_layer_is_stored_once(store: Store) -> None:
    """Whatever it lies on, and also if an image has it twice; it goes with its last image."""
    one, two, three = image(store, [BASE, TOP], "a:1"), image(store, [TOP], "b:1"), image(store, [TOP, TOP], "c:1")
    assert one.layers == (Digest.parse(digest(BASE)), Digest.parse(digest(TOP)))
    assert one.layers[1:] == two.layers == three.layers[1:]
    assert len(store.layers.all()) == 2
    gone = [item.deleted for item in delete(store.images, "a:1") if item.deleted]
    assert gone == [str(one.id), *map(str, reversed(chain_ids(one.layers)))]
    store.collect()
    assert store.layers.all() == [two.layers[0]]


def test_collection_waits_for_nobody(store: Store) -> None:
    """While somebody adds, nothing is removed; the next collection does it."""
    store.content.add(b"nobody refers to this")
    with store.locks.writing():
        assert not store.collect().done
        assert len(store.content.all()) == 1
    assert store.collect().blobs
    assert store.content.all() == []


def test_a_layer_that_a_power_cut_left_half_is_removed_at_the_start(store: Store) -> None:
    """It has its name and not its bytes, and no image, because that comes after the disk was waited for."""
    layer = store.layers.directory / digest(BASE)[7:]
    (layer / "diff").mkdir(parents=True)
    (layer / "layer.json").touch()
    assert store.start().layers
    assert store.layers.all() == []


def test_two_collections_do_not_tread_on_each_other(store: Store) -> None:
    """What another one is removing is left to it; should it be killed, the next removes it."""
    aside = store.root / "layers/.aside-1234"
    (aside / "diff").mkdir(parents=True)
    fd = os.open(aside, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert store.collect().done
    assert aside.exists()
    os.close(fd)
    assert store.collect().done
    assert not aside.exists()


def test_what_killed_writers_left_is_swept_at_the_start(store: Store) -> None:
    """Half blobs, half layers, half records, half removed layers."""
    for place in ("blobs/sha256", "layers", "."):
        (store.root / place / ".aside-1234").mkdir()
        (store.root / place / ".aside-1234/file").write_text("half")
    assert store.start().done
    assert list(store.root.glob("**/.aside-*")) == []


def test_a_damaged_image_does_not_hide_the_others(store: Store) -> None:
    """It is left out of the list, and collection does not fail on it."""
    image(store, [BASE], "good:1")
    bad = image(store, [TOP], "bad:1")
    store.content.path(bad.id).write_bytes(b"{}")
    fresh = Store(store.root)
    assert [name.familiar() for one in fresh.images.all() for name in one.names] == ["good:1"]
    assert fresh.collect().done


def test_writers_do_not_lose_each_others_names(store: Store) -> None:
    """Read, change and replace of the index is one step."""
    one = image(store, [BASE], "a:1")
    stores = [Store(store.root) for _ in range(4)]

    def work(n: int) -> None:
        for m in range(10):
            tag(stores[n], one, f"n{n}:{m}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.images.resolve("a:1").names) == 41


def test_another_process_sees_the_change(store: Store) -> None:
    """What was read before is not used when the index was replaced since."""
    other = Store(store.root)
    assert other.images.all() == ()
    image(store, [BASE], "a:1")
    assert other.images.resolve("a:1")


def test_nobody_else_may_look_into_the_layers(store: Store) -> None:
    """They hold set-user-id programs."""
    for name in ("layers", "containers", "blobs"):
        assert os.stat(store.root / name).st_mode & 0o077 == 0, name
