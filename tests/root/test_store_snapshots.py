"""`store/snapshots` and `store/tree`: a container's writable part, and getting rid of it whatever is in it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from harness.imagetar import directory, docker_archive, member, packed
from onggi.errors import Invalid, NotFound
from onggi.oci.digest import Digest
from onggi.store.builtin import make
from onggi.store.load import load
from onggi.store.store import Store

pytestmark = pytest.mark.root

BASE = packed([directory(".", 0o711, uid=5), member("x", b"1")])
TOP = packed([member("y", b"2")])
SET_FLAGS = 0x40086602


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the image a:1."""
    made = Store(tmp_path / "data")
    made.start()
    chunks = [docker_archive(([TOP, BASE], ["a:1"])), b""]
    load(made, lambda count: chunks.pop(0), lambda progress: None)
    return made


def test_an_overlay_has_the_top_layer_first(store: Store) -> None:
    """As overlayfs's lowerdir wants it; upper and work are empty and on one file system."""
    overlay = store.snapshots.prepare("c1", store.images.resolve("a:1").layers)
    assert [os.listdir(lower) for lower in overlay.lowers] == [["x"], ["y"]]
    assert os.listdir(overlay.upper) == os.listdir(overlay.work) == []
    assert not overlay.in_memory


def test_the_containers_root_looks_like_the_top_layers(store: Store) -> None:
    """Owner and mode of `/` come from upper, so it has those of the image."""
    overlay = store.snapshots.prepare("c1", store.images.resolve("a:1").layers)
    there = os.stat(overlay.upper)
    assert (there.st_mode & 0o7777, there.st_uid) == (0o711, 5)


def test_without_layers_something_empty_lies_below(store: Store) -> None:
    """overlayfs wants at least one lower directory."""
    (lower,) = store.snapshots.prepare("c1", ()).lowers
    assert os.listdir(lower) == []
    assert store.collect().done
    assert os.path.isdir(lower)


def test_a_layer_that_is_gone_is_named(store: Store) -> None:
    """And no container directory appears."""
    with pytest.raises(NotFound, match="is gone"):
        store.snapshots.prepare("c1", [Digest.of(b"nothing")])
    assert os.listdir(store.snapshots.directory) == []


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".", "a.b"])
def test_only_an_id_names_a_container(store: Store, name: str) -> None:
    """It becomes a directory's name."""
    with pytest.raises(Invalid):
        store.snapshots.prepare(name, ())


def test_the_host_image_lies_on_the_machine_itself(store: Store) -> None:
    """In memory, because upper must not lie within lower."""
    overlay = store.snapshots.prepare("c1", make(store, "host").layers)
    assert (overlay.lowers, overlay.in_memory) == (("/",), True)
    store.snapshots.remove("c1")
    assert os.listdir(store.snapshots.directory) == []


def test_remove_takes_all_that_prepare_made(store: Store) -> None:
    """Twice is no error."""
    store.snapshots.prepare("c1", store.images.resolve("a:1").layers)
    store.snapshots.remove("c1")
    store.snapshots.remove("c1")
    assert os.listdir(store.snapshots.directory) == []


def test_remove_leaves_what_is_the_engines(store: Store) -> None:
    """A record beside upper and work is not ours."""
    store.snapshots.prepare("c1", ())
    (store.snapshots.directory / "c1/record").write_text("engine")
    store.snapshots.remove("c1")
    assert os.listdir(store.snapshots.directory / "c1") == ["record"]


def test_remove_copes_with_what_containers_do(store: Store) -> None:
    """No permissions, deep trees, links to the host, odd names, devices, whiteouts."""
    overlay = store.snapshots.prepare("c1", store.images.resolve("a:1").layers)
    upper = Path(overlay.upper)
    outside = store.root / "outside"
    outside.mkdir()
    (outside / "kept").write_text("host")
    (upper / "link").symlink_to(outside)
    (upper / "bad\nname\udcff").mkdir(mode=0)
    (upper / "bad\nname\udcff" / "x").write_text("x")
    os.mkfifo(upper / "fifo")
    os.mknod(upper / "gone", 0o020000, 0)
    (Path(overlay.work) / "work").mkdir(mode=0)
    at = os.open(upper, os.O_PATH)
    for _ in range(3000):  # beyond PATH_MAX and beyond the descriptors that a process may have
        os.mkdir("deep", dir_fd=at)
        below = os.open("deep", os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    store.snapshots.remove("c1")
    assert os.listdir(store.snapshots.directory) == []
    assert (outside / "kept").read_text() == "host"


def test_remove_takes_immutable_files(store: Store) -> None:
    """chattr +i in a container that may is no way to stay for ever."""
    overlay = store.snapshots.prepare("c1", store.images.resolve("a:1").layers)
    place = Path(overlay.upper) / "d"
    place.mkdir()
    (place / "f").write_text("x")
    for path in (place / "f", place):
        fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SET_FLAGS, (0x10).to_bytes(8, "little"))
        finally:
            os.close(fd)
    with pytest.raises(PermissionError):
        (place / "f").unlink()
    store.snapshots.remove("c1")
    assert os.listdir(store.snapshots.directory) == []


def test_a_layer_that_comes_twice_is_mounted_once(store: Store) -> None:
    """The upper of the two, which hides all that the lower one could show; overlayfs takes no directory twice."""
    chunks = [docker_archive(([BASE, TOP, BASE], ["a:2"])), b""]
    load(store, lambda count: chunks.pop(0), lambda progress: None)
    overlay = store.snapshots.prepare("c1", store.images.resolve("a:2").layers)
    assert [os.listdir(lower) for lower in overlay.lowers] == [["x"], ["y"]]
