"""The store killed at every call that changes something: what is found afterwards is the old state or the new one."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.imagetar import digest, directory, docker_archive, member, packed
from onggi.oci.reference import Reference
from onggi.store.deletion import delete
from onggi.store.load import load
from onggi.store.store import Store

pytestmark = pytest.mark.root

OLD = packed([directory("a"), member("a/x", b"old")])
NEW = packed([member("new", b"new"), member(".wh.a")])
COUNTED = {
    *("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"),
    *("os.symlink", "os.link", "os.chmod", "os.chown", "os.utime"),
}
"""The events of Python's audit that stand for calls with an effect."""
KILLED = 9


def loads(store: Store, *images: tuple[list[bytes], list[str]]) -> None:
    """Load images from memory."""
    chunks = [docker_archive(*images), b""]
    load(store, lambda count: chunks.pop(0), lambda progress: None)


def killed_at(turn: int, work: Callable[[], None]) -> bool:
    """Whether a child that does `work` was stopped at its `turn`th call; False if it came to its end before."""
    pid = os.fork()
    if pid == 0:
        left = turn

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in COUNTED:
                left -= 1
                if left == 0:
                    os._exit(KILLED)

        try:
            sys.addaudithook(hook)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED


def names(root: Path) -> set[str]:
    """The names in the store, after checking that what they stand for is whole and that nothing else is there."""
    with open(root / "writers.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the last process of the killed one is gone
    store = Store(root)
    assert store.start().done
    assert list(root.glob("**/.aside-*")) == []
    images = store.images.all()
    assert {record.digest for record in store.images.records()} == {str(image.manifest) for image in images}
    wanted, layers = set(), set()
    for image in images:
        manifest = store.images.manifest_of(image)
        wanted |= {str(image.manifest), str(image.id), *(layer.digest for layer in manifest.layers)}
        layers |= {str(layer) for layer in image.layers}
        assert all(digest(store.content.read(blob)) == str(blob) for blob in store.content.all())
        assert (store.layers.diff(image.layers[0]) / "a/x").read_bytes() == b"old"
        assert all((store.layers.diff(one) / "new").read_bytes() == b"new" for one in image.layers[1:])
    assert {str(blob) for blob in store.content.all()} == wanted
    assert {str(layer) for layer in store.layers.all()} == layers
    return {name.familiar() for image in images for name in image.names}


def test_a_load_is_done_or_not(tmp_path: Path) -> None:
    """Two images in one archive over an older one: both names or neither."""
    before, after = {"old:1"}, {"old:1", "new:1", "more:1"}
    found = set()
    turn = 1
    while True:
        root = tmp_path / str(turn)
        Store(root).start()
        loads(Store(root), ([OLD], ["old:1"]))
        again = killed_at(turn, lambda: loads(Store(root), ([OLD, NEW], ["new:1"]), ([OLD], ["more:1"])))  # noqa: B023
        now = names(root)
        assert now in (before, after)
        found.add(frozenset(now))
        if not again:
            break
        turn += 1
    assert turn > 20
    assert found == {frozenset(before), frozenset(after)}


def test_a_tag_is_there_or_not(tmp_path: Path) -> None:
    """Moved from one image to another: it never is at none."""
    turn = 1
    while True:
        root = tmp_path / str(turn)
        Store(root).start()
        loads(Store(root), ([OLD], ["old:1"]), ([OLD, NEW], ["new:1"]))
        ids = {str(image.id) for image in Store(root).images.all()}

        def move() -> None:
            store = Store(root)  # noqa: B023
            store.images.tag(store.images.resolve("new:1"), Reference.parse("old:1"))

        again = killed_at(turn, move)
        assert names(root) == {"old:1", "new:1"}
        assert {str(image.id) for image in Store(root).images.all()} == ids
        if not again:
            break
        turn += 1
    assert turn > 3


def test_a_deletion_is_done_or_not(tmp_path: Path) -> None:
    """With its collection: the other image always stays whole."""
    found = set()
    turn = 1
    while True:
        root = tmp_path / str(turn)
        Store(root).start()
        loads(Store(root), ([OLD], ["old:1"]), ([OLD, NEW], ["new:1"]))

        def away() -> None:
            store = Store(root)  # noqa: B023
            delete(store.images, "new:1")
            store.collect()

        again = killed_at(turn, away)
        found.add(frozenset(names(root)))
        if not again:
            break
        turn += 1
    assert turn > 10
    assert found == {frozenset({"old:1", "new:1"}), frozenset({"old:1"})}
