"""`store/load`: archives of images become images, all of them or none."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from harness.imagetar import (
    Layout,
    archive,
    config,
    digest,
    directory,
    docker_archive,
    docker_files,
    link,
    member,
    packed,
)
from onggi.errors import Corrupt, Invalid, LimitExceeded, NotFound, OnggiError, Unsupported
from onggi.store.limits import Limits
from onggi.store.load import Loaded, load
from onggi.store.store import Store

pytestmark = pytest.mark.root

BASE = packed([directory("bin"), member("bin/sh", b"shell", mode=0o755)])
TOP = packed([member("bin/sh", b"other"), member("etc/motd", b"hi")])
Run = Callable[[bytes], list[Loaded]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    made = Store(tmp_path / "data")
    made.start()
    return made


def run(store: Store, data: bytes) -> list[Loaded]:
    """Load an archive from memory."""
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        position += count
        return data[position - count : position]

    return load(store, read, lambda progress: None)


def shown(loaded: list[Loaded]) -> list[list[str]]:
    """The names of what was loaded."""
    return [[name.familiar() for name in image.names] for image in loaded]


def nothing_left(store: Store) -> bool:
    """Whether no blob, no layer and no half of one is there."""
    places = [store.content.blobs / "sha256", store.layers.directory]
    return not any(os.listdir(place) for place in places) and not list(store.root.glob("**/.aside-*"))


def test_a_docker_archive_becomes_an_image(store: Store) -> None:
    """Its id is its config's digest, its layers are unpacked, its size is theirs."""
    loaded = run(store, docker_archive(([BASE, TOP], ["app:1", "quay.io/me/app:2"])))
    assert shown(loaded) == [["app:1", "quay.io/me/app:2"]]
    image = store.images.resolve("app:1")
    assert str(image.id) == digest(config([BASE, TOP]))
    assert (store.layers.diff(image.layers[1]) / "etc/motd").read_text() == "hi"
    assert image.size == len(b"shell" + b"other" + b"hi")


@pytest.mark.parametrize("outer", [bytes, gzip.compress, zstd.compress])
@pytest.mark.parametrize("inner", [bytes, gzip.compress, zstd.compress])
def test_both_archives_may_be_compressed(
    store: Store, outer: Callable[[bytes], bytes], inner: Callable[[bytes], bytes]
) -> None:
    """The archive, and each layer in it, whatever it is called."""
    files = docker_files([([BASE], ["app:1"])])
    files[f"{digest(BASE)[7:]}/layer.tar"] = inner(BASE)
    assert shown(run(store, outer(archive(files)))) == [["app:1"]]


def test_a_layer_may_be_a_link_to_another_images(store: Store) -> None:
    """As old `docker save` wrote a layer that two images share."""
    files = docker_files([([BASE], ["a:1"]), ([BASE, TOP], ["b:1"])])
    items = json.loads(files["manifest.json"])
    items[1]["Layers"][0] = "other/layer.tar"
    files["manifest.json"] = json.dumps(items).encode()
    members = [member(name, data) for name, data in files.items()]
    data = packed([*members, link("other/layer.tar", f"../{digest(BASE)[7:]}/layer.tar")])
    assert shown(run(store, data)) == [["a:1"], ["b:1"]]


def test_an_image_without_names_is_dangling(store: Store) -> None:
    """It can be named by its id."""
    (loaded,) = run(store, docker_archive(([BASE], [])))
    assert store.images.resolve(loaded.id.short).names == ()


def test_an_oci_layout_becomes_an_image(store: Store) -> None:
    """Its manifest is kept as it came; the name is containerd's annotation."""
    layout = Layout()
    entry = layout.image([BASE, TOP])
    layout.name(entry, name="docker.io/library/app:1", ref="1")
    assert shown(run(store, layout.archive())) == [["app:1"]]
    assert str(store.images.resolve("app:1").manifest) == entry["digest"]


@pytest.mark.parametrize(("ref", "names"), [("app:1", ["app:1"]), ("quay.io/a/b", ["quay.io/a/b:latest"]), ("1.0", [])])
def test_a_ref_name_is_a_name_if_it_is_more_than_a_tag(store: Store, ref: str, names: list[str]) -> None:
    """The OCI's annotation holds a tag or a reference, as its writer liked."""
    layout = Layout()
    layout.name(layout.image([BASE]), ref=ref)
    assert shown(run(store, layout.archive())) == [names]


def test_of_an_index_this_machines_image_is_taken(store: Store) -> None:
    """Neither another platform's nor an attestation; and the others' blobs do not stay."""
    layout = Layout()
    other = layout.image([TOP], architecture="s390x") | {"platform": {"os": "linux", "architecture": "s390x"}}
    unknown = layout.image([TOP], author="sbom") | {"platform": {"os": "unknown", "architecture": "unknown"}}
    ours = layout.image([BASE]) | {"platform": _host()}
    layout.name(layout.index(unknown, other, ours), name="docker.io/library/app:1")
    run(store, layout.archive())
    assert str(store.images.resolve("app:1").manifest) == ours["digest"]
    assert len(store.content.all()) == 3


def test_an_index_without_this_machine_is_refused(store: Store) -> None:
    """In Docker's words."""
    layout = Layout()
    other = layout.image([TOP]) | {"platform": {"os": "linux", "architecture": "s390x"}}
    layout.name(layout.index(other), name="docker.io/library/app:1")
    with pytest.raises(NotFound, match="no matching manifest for linux/"):
        run(store, layout.archive())
    assert nothing_left(store)


def _host() -> dict[str, Any]:
    from onggi.oci.platform import host

    return {"os": "linux", "architecture": host().architecture}


def test_a_tag_moves_to_the_image_that_came_last(store: Store) -> None:
    """And the other one is dangling, not gone."""
    (old,) = run(store, docker_archive(([BASE], ["app:1"])))
    (new,) = run(store, docker_archive(([TOP], ["app:1"])))
    assert store.images.resolve("app:1").id == new.id
    assert store.images.resolve(str(old.id)).names == ()


def test_loading_again_changes_nothing(store: Store) -> None:
    """The same blobs, the same layers, one entry."""
    data = docker_archive(([BASE, TOP], ["app:1"]))
    run(store, data)
    before = (sorted(map(str, store.content.all())), sorted(map(str, store.layers.all())))
    run(store, data)
    assert (sorted(map(str, store.content.all())), sorted(map(str, store.layers.all()))) == before
    assert len(store.images.records()) == 1


def test_progress_is_told_by_layer(store: Store) -> None:
    """The id is the short diff id, from 0 to the blob's size."""
    told: list[dict[str, Any]] = []
    data = docker_archive(([BASE], ["app:1"]))
    chunks = [data, b""]
    load(store, lambda count: chunks.pop(0), told.append)
    assert told[0] == {"id": digest(BASE)[7:19], "status": "Loading layer", "current": 0, "total": len(BASE)}
    assert told[-1]["current"] == len(BASE)


def changed(change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A docker-archive with something wrong in it."""
    files = docker_files([([BASE, TOP], ["app:1"])])
    change(files)
    return archive(files)


def item(**fields: Any) -> Callable[[dict[str, bytes]], None]:
    """A change of manifest.json's only item."""

    def change(files: dict[str, bytes]) -> None:
        (old,) = json.loads(files["manifest.json"])
        files["manifest.json"] = json.dumps([old | fields]).encode()

    return change


def _replace_layer(files: dict[str, bytes]) -> None:
    files[f"{digest(TOP)[7:]}/layer.tar"] = BASE


def _replace_compressed(files: dict[str, bytes]) -> None:
    files[f"{digest(TOP)[7:]}/layer.tar"] = gzip.compress(BASE)


def _evil_layer() -> bytes:
    return docker_archive(([BASE, packed([link("a", "../../.."), member("a/evil")])], ["app:1"]))


BAD: dict[str, tuple[bytes, type[OnggiError], str]] = {
    "nothing": (b"", Corrupt, "open manifest.json: no such file or directory"),
    "garbage": (b"x" * 600, Corrupt, "archive/tar: invalid tar header"),
    "short garbage": (b"garbage", Corrupt, "unexpected EOF"),
    "a tar of something else": (BASE, Corrupt, "open manifest.json: no such file or directory"),
    "truncated": (docker_archive(([BASE, TOP], ["app:1"]))[:-11_500], Corrupt, "unexpected EOF"),
    "truncated gzip": (gzip.compress(docker_archive(([os.urandom(9000)], ["a:1"])))[:-900], Corrupt, "unexpected EOF"),
    "no config": (changed(item(Config="no.json")), Corrupt, "no such file or directory"),
    "no layer": (changed(item(Layers=["a", "b"])), Corrupt, "no such file or directory"),
    "too few layers": (changed(item(Layers=[])), Corrupt, "layers length mismatch: expected 0, got 2"),
    "bad name": (changed(item(RepoTags=["UPPER:1"])), Invalid, "must be lowercase"),
    "name without a tag": (changed(item(RepoTags=["app"])), Invalid, "invalid tag"),
    "another layer": (changed(_replace_layer), Corrupt, "invalid diffID for layer 1"),
    "another compressed layer": (changed(_replace_compressed), Corrupt, "invalid diffID for layer 1: expected"),
    "bad manifest.json": (changed(lambda f: f.update({"manifest.json": b"[{]"})), Corrupt, "manifest.json"),
    "wrong manifest.json": (
        changed(lambda f: f.update({"manifest.json": b'[{"Config":1}]'})),
        Corrupt,
        "Expected `str`",
    ),
    "deep manifest.json": (changed(lambda f: f.update({"manifest.json": b"[" * 100_000})), Corrupt, "manifest.json"),
    "a name that leaves": (archive({"../manifest.json": b"[]"}), Corrupt, "outside"),
    "a blob of another digest": (archive({"blobs/sha256/" + "0" * 64: b"x"}), Corrupt, "its bytes have the digest"),
    "a blob that is no digest": (archive({"blobs/sha256/passwd": b"x"}), Invalid, "invalid checksum digest length"),
    "an evil layer": (_evil_layer(), Corrupt, "outside"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_is_refused_and_leaves_nothing(store: Store, case: str) -> None:
    """No blob, no layer, no name, no temporary file."""
    data, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        run(store, data)
    assert nothing_left(store)
    assert store.images.all() == ()


def test_a_bad_image_takes_the_good_ones_with_it(store: Store) -> None:
    """All or none: the good one is not loaded either; what was there before stays."""
    run(store, docker_archive(([BASE], ["before:1"])))
    files = docker_files([([TOP], ["good:1"]), ([BASE], ["bad:1"])])
    items = json.loads(files["manifest.json"])
    items[1]["Layers"] = ["nothing"]
    with pytest.raises(Corrupt):
        run(store, archive(files | {"manifest.json": json.dumps(items).encode()}))
    assert [str(name) for image in store.images.all() for name in image.names] == ["docker.io/library/before:1"]
    assert len(store.layers.all()) == 1


def test_another_systems_image_is_refused(store: Store) -> None:
    """It could never run here."""
    layout = Layout()
    layout.name(layout.image([BASE], os="windows"), name="docker.io/library/app:1")
    with pytest.raises(Unsupported, match="cannot load windows image on linux"):
        run(store, layout.archive())
    assert nothing_left(store)


def test_an_artifact_is_no_image(store: Store) -> None:
    """A chart or a signature in a layout is refused by its config's media type."""
    layout = Layout()
    document = {
        "schemaVersion": 2,
        "config": layout.blob(b"{}", "application/vnd.cncf.helm.config.v1+json"),
        "layers": [],
    }
    entry = layout.blob(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")
    layout.name(entry, name="docker.io/library/app:1")
    with pytest.raises(Unsupported, match="helm"):
        run(store, layout.archive())


def test_a_bomb_of_an_archive_stops(store: Store) -> None:
    """A giant member of zeros, compressed a thousandfold."""
    small = Store(store.root, Limits(expanded=1_000_000))
    with pytest.raises(LimitExceeded):
        run(small, gzip.compress(archive({"x": bytes(20_000_000)})))
    assert nothing_left(store)


def test_a_giant_document_stops(store: Store) -> None:
    """manifest.json is read into memory, so it has a limit."""
    small = Store(store.root, Limits(document=1000))
    with pytest.raises(LimitExceeded):
        run(small, archive({"manifest.json": b" " * 2000}))


def test_an_index_in_itself_ends(store: Store) -> None:
    """Nested indexes are followed a few levels, no more."""
    layout = Layout()
    entry = layout.image([BASE])
    for _ in range(6):
        entry = layout.index(entry)
    layout.name(entry, name="docker.io/library/app:1")
    with pytest.raises(Unsupported):
        run(store, layout.archive())


def test_links_in_a_circle_end(store: Store) -> None:
    """A layer that is a link to a link to itself is a file that is missing."""
    files = docker_files([([BASE], ["app:1"])])
    layer = f"{digest(BASE)[7:]}/layer.tar"
    del files[layer]
    members = [member(name, data) for name, data in files.items()]
    with pytest.raises(Corrupt, match="no such file"):
        run(store, packed([*members, link(layer, "../a"), link("a", layer)]))


def test_an_archive_cannot_claim_to_be_the_host(store: Store) -> None:
    """A config with our label is an image like any other: it has its own layers, here none."""
    layout = Layout()
    layout.name(layout.image([], config={"Labels": {"dev.onggi.builtin": "host"}}), name="docker.io/library/evil:1")
    layout.entries[0]["annotations"]["dev.onggi.builtin"] = "host"
    run(store, layout.archive())
    assert store.images.resolve("evil:1").layers == ()
