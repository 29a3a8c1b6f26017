"""Pulling through the engine's API: what arrives, what is said on the way, and what is fetched."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from harness import image
from harness.api import Answer
from harness.engine import EngineProcess
from harness.imagetar import digest, member, packed
from harness.memory_registry import DOCKER_MANIFEST, LAYER, MANIFEST, MemoryRegistry
from harness.scripted import Asked, answer

pytestmark = pytest.mark.root
BASE = image.busybox_layer()
TOP = packed([member("etc/motd", b"hi"), member("opt/noise", os.urandom(200_000))])


class World:
    """An engine, and a registry beside it."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self.registry = MemoryRegistry(engine.network.listen())

    def pull(self, tag: str = "1", path: str = "team/app", platform: str = "", **headers: str) -> Answer:
        """POST /images/create."""
        query = f"fromImage={self.name(path)}&tag={tag}" + (f"&platform={platform}" if platform else "")
        return self.engine.api("POST", f"/images/create?{query}", headers=headers)

    def name(self, path: str = "team/app") -> str:
        """The repository's name."""
        return f"{self.registry.address}/{path}"

    def inspect(self, name: str) -> Any:
        """An image."""
        return self.engine.api.ok("GET", f"/images/{name}/json")

    def images(self) -> list[Any]:
        """All of them."""
        found: list[Any] = self.engine.api.ok("GET", "/images/json?all=1")
        return found

    def run(self, *words: str, tag: str = "1") -> str:
        """The output of a container from the image."""
        body = {"Image": f"{self.name()}:{tag}", "Cmd": words, "HostConfig": {"NetworkMode": "none"}, "Tty": True}
        made = self.engine.api.ok("POST", "/containers/create", body)["Id"]
        self.engine.api.ok("POST", f"/containers/{made}/start")
        assert self.engine.api.ok("POST", f"/containers/{made}/wait")["StatusCode"] == 0
        said = self.engine.api("GET", f"/containers/{made}/logs?stdout=1").body.decode()
        self.engine.api("DELETE", f"/containers/{made}?force=1")
        return said.strip()

    def clear(self) -> None:
        """Remove all images, and forget what was asked."""
        self.engine.api.ok("POST", '/images/prune?filters={"dangling":["false"]}')
        assert self.stored() == set()
        self.registry.blobs.clear()
        self.registry.manifests.clear()
        self.registry.server.asked.clear()
        self.registry.fault = lambda asked, answer: answer

    def stored(self) -> set[str]:
        """The names of blobs and layers in the store."""
        places = [Path(self.engine.data_root, place) for place in ("blobs/sha256", "layers")]
        return {name for place in places for name in os.listdir(place)}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One engine for this file."""
    engine = EngineProcess().start()
    made = World(engine)
    try:
        yield made
    finally:
        made.registry.close()
        engine.close()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """With nothing in it."""
    shared.clear()
    yield shared
    shared.clear()


def said(lines: list[Any], ident: str) -> list[str]:
    """What was said about one thing, each word once."""
    return list(dict.fromkeys(line["status"] for line in lines if line.get("id") == ident))


def failure(done: Answer) -> str:
    """The error, whether it came as a status or as a line."""
    return done.message if done.status != 200 else str(done.lines()[-1]["error"])


def test_an_image_arrives(world: World) -> None:
    """It has its name and the digest that it came by, and runs; Docker's words tell how it came."""
    manifest = world.registry.image("1", [BASE, TOP])
    lines = world.pull().lines()
    layers = [digest(gzip.compress(layer, 1, mtime=0))[7:19] for layer in (BASE, TOP)]
    assert lines[0] == {"status": "Pulling from team/app", "progressDetail": {}, "id": "1"}
    for layer in layers:
        words = said(lines, layer)
        assert words[0] == "Pulling fs layer"
        assert words[-1] == "Pull complete"
        assert set(words) <= {
            *("Pulling fs layer", "Waiting", "Downloading", "Download complete", "Extracting", "Pull complete")
        }
    assert [line["status"] for line in lines[-2:]] == [
        f"Digest: {manifest['digest']}",
        f"Status: Downloaded newer image for {world.name()}:1",
    ]
    seen = world.inspect(f"{world.name()}:1")
    assert seen["RepoTags"] == [f"{world.name()}:1"]
    assert seen["RepoDigests"] == [f"{world.name()}@{manifest['digest']}"]
    assert world.run("cat", "/etc/motd") == "hi"


def test_what_is_here_is_not_fetched_again(world: World) -> None:
    """The same image asks for its manifest alone; another one for what only it has."""
    world.registry.image("1", [BASE])
    world.pull()
    world.registry.server.asked.clear()
    lines = world.pull().lines()
    assert lines[-1]["status"] == f"Status: Image is up to date for {world.name()}:1"
    assert world.registry.asked() == []
    two = world.registry.image("2", [BASE, TOP])
    lines = world.pull("2").lines()
    assert "Already exists" in said(lines, digest(gzip.compress(BASE, 1, mtime=0))[7:19])
    assert len(world.registry.asked()) == 2  # config and top layer
    assert world.inspect(f"{world.name()}:2")["RepoDigests"] == [f"{world.name()}@{two['digest']}"]


def test_a_tag_that_moved_takes_its_name_along(world: World) -> None:
    """What it stood for before has no tag any more, and keeps the digest that it came by."""
    first = world.registry.image("1", [BASE])
    world.pull()
    second = world.registry.image("1", [BASE, TOP])
    world.pull()
    by_digest = {one["RepoDigests"][0].partition("@")[2]: one["RepoTags"] for one in world.images()}
    assert by_digest == {first["digest"]: [], second["digest"]: [f"{world.name()}:1"]}


def test_by_digest(world: World) -> None:
    """The image gets no tag; a wrong digest is not found."""
    manifest = world.registry.image("", [BASE])
    lines = world.pull(manifest["digest"]).lines()
    assert lines[-1]["status"] == f"Status: Downloaded newer image for {world.name()}@{manifest['digest']}"
    seen = world.inspect(f"{world.name()}@{manifest['digest']}")
    assert (seen["RepoTags"], seen["RepoDigests"]) == ([], [f"{world.name()}@{manifest['digest']}"])
    missing = world.pull("sha256:" + "0" * 64)
    assert (missing.status, "manifest unknown" in missing.message) == (404, True)


@pytest.mark.parametrize(
    ("kind", "compress"), [("+gzip", gzip.compress), ("+zstd", zstd.compress), ("", bytes), ("+gzip", bytes)]
)
@pytest.mark.parametrize("media_type", [MANIFEST, DOCKER_MANIFEST])
def test_layers_in_every_dress(world: World, kind: str, compress: Callable[[bytes], bytes], media_type: str) -> None:
    """Compressed as they say, or not; manifests of the OCI and of Docker."""
    world.registry.image("1", [BASE, TOP], kind=kind, compress=compress, media_type=media_type)
    assert world.pull().lines()[-1]["status"].startswith("Status: Downloaded")
    assert world.run("cat", "/etc/motd") == "hi"


def for_platform(entry: dict[str, Any], architecture: str, os: str = "linux", **more: Any) -> dict[str, Any]:
    """An entry of an index."""
    return entry | {"platform": {"os": os, "architecture": architecture}} | more


def test_an_index_has_one_image_for_us(world: World) -> None:
    """Another platform's is taken when it is asked for; what no platform has is not found."""
    here = world.registry.image("", [BASE], architecture="amd64")
    there = world.registry.image("", [BASE, TOP], architecture="arm64")
    note = {"vnd.docker.reference.type": "attestation-manifest"}
    proof = for_platform(world.registry.image("", []), "amd64", annotations=note)
    entries = (proof, for_platform(there, "arm64"), for_platform(here, "amd64"))
    index = world.registry.index("1", *entries)
    lines = world.pull().lines()
    assert lines[-2]["status"] == f"Digest: {index['digest']}"
    seen = world.inspect(f"{world.name()}:1")
    assert (seen["Architecture"], len(seen["RootFS"]["Layers"])) == ("amd64", 1)
    assert seen["RepoDigests"] == [f"{world.name()}@{index['digest']}"]
    assert index["digest"][7:] in world.stored()
    world.pull(platform="linux/arm64")
    assert world.inspect(f"{world.name()}:1")["Architecture"] == "arm64"
    missing = world.pull(platform="linux/s390x")
    assert (missing.status, missing.message) == (
        404,
        "no matching manifest for linux/s390x in the manifest list entries",
    )


def test_one_image_for_another_platform(world: World) -> None:
    """Is refused when a platform was asked for, in the words that clients know; and taken when none was."""
    world.registry.image("1", [BASE], architecture="arm64")
    for _ in range(2):  # whether it is here or not
        refused = world.pull(platform="linux/amd64")
        assert "does not match the specified platform: wanted linux/amd64, actual: linux/arm64" in failure(refused)
        assert world.pull().status == 200


def test_all_tags(world: World) -> None:
    """Without a tag the API means all of them."""
    for tag in ("1", "2"):
        world.registry.image(tag, [BASE], author=tag)
    world.registry.fault = lambda asked, good: (
        answer(200, {"name": "x", "tags": ["2", "1"]}) if asked.target.endswith("/tags/list") else good
    )
    assert world.engine.api("POST", f"/images/create?fromImage={world.name()}").status == 200
    assert {name for one in world.images() for name in one["RepoTags"]} == {f"{world.name()}:{n}" for n in (1, 2)}


def test_credentials_come_with_the_request(world: World) -> None:
    """And go to the registry."""
    world.registry.image("1", [BASE])
    kim = "Basic a2ltOnNlY3JldA=="
    world.registry.fault = lambda asked, good: (
        good if asked.headers.get("authorization") == kim else answer(401, www_authenticate='Basic realm="x"')
    )
    refused = world.pull()
    assert (refused.status, "no basic auth credentials" in refused.message) == (401, True)
    header = "eyJ1c2VybmFtZSI6ImtpbSIsInBhc3N3b3JkIjoic2VjcmV0In0="
    assert world.pull(**{"X-Registry-Auth": header}).status == 200


# -- what is wrong with it ---------------------------------------------------------------------------------------------


def corrupt_blob(asked: Asked, good: bytes) -> bytes:
    """The same number of other bytes."""
    head, middle, body = good.partition(b"\r\n\r\n")
    return good if "/blobs/" not in asked.target else head + middle + bytes(255 - byte for byte in body)


def only_layers(fault: Callable[[bytes], bytes | None]) -> Callable[[Asked, bytes], bytes | None]:
    """A fault in what is larger than any document here."""
    return lambda asked, good: fault(good) if "/blobs/" in asked.target and len(good) > 50_000 else good


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (corrupt_blob, "other bytes"),
        (only_layers(lambda good: good[:-5] + b"wrong"), "its bytes have the digest"),
        (only_layers(lambda good: answer(200, good)), "where the manifest says"),
        (only_layers(lambda good: answer(200, b"<html>", content_type="text/html")), "a web page instead of a blob"),
        (only_layers(lambda good: answer(500, b"out of order")), "answered 500"),
        (only_layers(lambda good: answer(307, location="http://127.0.0.1:1/x")), "connection refused"),
        (only_layers(lambda good: None), "broke off"),
    ],
)
def test_a_pull_that_fails_leaves_no_image(
    world: World, fault: Callable[[Asked, bytes], bytes | None], words: str
) -> None:
    """It says why, and the next one finishes."""
    world.registry.image("1", [BASE, TOP])
    world.registry.fault = fault
    assert words in failure(world.pull())
    assert world.images() == []
    world.registry.fault = lambda asked, good: good
    assert world.pull().lines()[-1]["status"].startswith("Status: Downloaded")
    assert world.run("cat", "/etc/motd") == "hi"


def test_another_layer_than_the_config_names_is_refused(world: World) -> None:
    """Its blob may be what the manifest says: unpacked it is something else. Nothing stays of it."""
    world.registry.image("1", [BASE])
    media_type, data = world.registry.manifests["1"]
    document = json.loads(data)
    document["layers"] = [world.registry.blob(gzip.compress(TOP), LAYER + "+gzip")]
    world.registry.manifest("1", document, media_type)
    assert "invalid diffID" in failure(world.pull())
    assert world.images() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document["layers"].clear(), "layers length mismatch"),
        (lambda document: document["config"].update(mediaType="application/vnd.cncf.helm.config.v1+json"), "helm"),
        (lambda document: document["layers"][0].update(mediaType="image/png"), "image/png is no layer"),
        (lambda document: document["layers"][0].update(size=-1), "-1 bytes"),
        (lambda document: document["layers"][0].update(digest="sha256:../../x"), "digest"),
        (lambda document: document["config"].update(size=1 << 40), "a document of"),
        (lambda document: document.pop("config"), "config"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(world: World, change: Callable[[Any], object], words: str) -> None:
    """By what is wrong with it."""
    world.registry.image("1", [BASE])
    media_type, data = world.registry.manifests["1"]
    document = json.loads(data)
    change(document)
    world.registry.manifest("1", document, media_type)
    assert words in failure(world.pull())
    assert world.images() == []


def test_indexes_without_end_are_refused(world: World) -> None:
    """One that leads to another, and so on."""
    entry = world.registry.image("", [BASE])
    for _ in range(6):
        entry = world.registry.index("1", for_platform(entry, "amd64"))
    assert "indexes without end" in failure(world.pull())


def test_names_that_are_none(world: World) -> None:
    """Are refused as Docker does."""
    for query in ("fromImage=x/BAD&tag=1", "fromImage=x&tag=..", "fromImage=x&tag=1&platform=a/b/c/d"):
        refused = world.engine.api("POST", f"/images/create?{query}")
        assert (refused.status, query) == (400, query), refused.message


# -- together ----------------------------------------------------------------------------------------------------------


def test_pulls_of_one_image_share_the_work(world: World) -> None:
    """Four at once fetch each layer once, and all succeed."""
    world.registry.image("1", [BASE, TOP])
    together = threading.Barrier(4)
    results: list[Answer] = []

    def work() -> None:
        together.wait()
        results.append(world.pull())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [failure(done) for done in results if "error" in done.lines()[-1]] == []
    layers = {digest(gzip.compress(layer, 1, mtime=0)) for layer in (BASE, TOP)}
    fetched = [one for one in world.registry.asked() if one in layers]
    assert sorted(fetched) == sorted(layers)


class Holding:
    """A fault that holds back the rest of every layer until it is told to let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, asked: Asked, good: bytes) -> bytes | Iterator[bytes]:
        """Half of it at once."""
        return self._pieces(good) if "/blobs/" in asked.target and len(good) > 50_000 else good

    def _pieces(self, good: bytes) -> Iterator[bytes]:
        yield good[: len(good) // 2]
        self.begun.set()
        assert self.let_go.wait(60)
        yield good[len(good) // 2 :]


def streaming(world: World) -> tuple[http.client.HTTPResponse, Any]:
    """A pull whose lines are read as they come, and its connection."""
    connection = world.engine.api.connect()
    connection.sendall(
        f"POST /images/create?fromImage={world.name()}&tag=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    )
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response, connection


def test_a_client_that_leaves_ends_its_pull_and_no_other(world: World) -> None:
    """The other one gets its image from what both were waiting for."""
    holding = world.registry.fault = Holding()
    world.registry.image("1", [BASE, TOP])
    first, connection = streaming(world)
    assert holding.begun.wait(30)
    second, other = streaming(world)
    while b"Pulling fs layer" not in second.readline():
        pass
    first.close()
    connection.close()
    holding.let_go.set()
    assert b"Downloaded newer image" in second.read()
    other.close()
    layers = {digest(gzip.compress(layer, 1, mtime=0)) for layer in (BASE, TOP)}
    assert sorted(one for one in world.registry.asked() if one in layers) == sorted(layers)


def test_what_a_broken_pull_has_fetched_is_used(world: World) -> None:
    """After its client has left, the next pull asks for the rest."""
    holding = world.registry.fault = Holding()
    world.registry.image("1", [TOP])
    first, connection = streaming(world)
    assert holding.begun.wait(30)
    while b"Downloading" not in first.readline():
        pass
    first.close()
    connection.close()
    beginnings = Path(world.engine.data_root, "downloads")
    world.registry.fault = lambda asked, good: good
    assert world.pull().lines()[-1]["status"].startswith("Status: Downloaded")
    holding.let_go.set()
    ranges = [one.headers.get("range") for one in world.registry.server.asked if "/blobs/" in one.target]
    assert ranges[-1] is not None
    assert [name for name in os.listdir(beginnings) if name != "wanted"] == []
    assert os.listdir(beginnings / "wanted") == []


def test_a_wrong_beginning_is_begun_anew(world: World) -> None:
    """What lies there from before may be of another world: its digest tells, and it is fetched once more."""
    world.registry.image("1", [TOP])
    layer = digest(gzip.compress(TOP, 1, mtime=0))
    beginning = Path(world.engine.data_root, "downloads", f"sha256-{layer[7:]}")
    beginning.write_bytes(b"junk" * 1000)
    assert world.pull().lines()[-1]["status"].startswith("Status: Downloaded")
    beginning.write_bytes(b"junk" * 1_000_000)  # longer than the blob is
    world.clear()
    world.registry.image("1", [TOP])
    assert world.pull().lines()[-1]["status"].startswith("Status: Downloaded")


def test_a_deletion_meanwhile_takes_nothing_from_a_pull(world: World) -> None:
    """The layer that both images have was there when the pull looked, and still is when it ends."""
    world.registry.image("0", [BASE])
    world.pull("0")
    holding = world.registry.fault = Holding()
    world.registry.image("1", [BASE, TOP])
    response, connection = streaming(world)
    assert holding.begun.wait(30)
    assert world.engine.api("DELETE", f"/images/{world.name()}:0").status == 200
    holding.let_go.set()
    assert b"Downloaded newer image" in response.read()
    connection.close()
    assert world.run("cat", "/etc/motd") == "hi"


def test_a_pull_is_an_event(world: World) -> None:
    """With the name that was pulled."""
    world.registry.image("1", [BASE])
    world.pull()
    now = json.loads(world.engine.api("GET", "/info").body)["SystemTime"]
    told = world.engine.api("GET", f"/events?since=0&until={now}").lines()
    assert [one["Actor"]["ID"] for one in told if one["Action"] == "pull"][-1] == f"{world.name()}:1"
