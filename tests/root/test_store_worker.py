"""`store/worker`: the process that the engine execs, its lines, and what a kill leaves."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.imagetar import digest, docker_archive, member, packed
from onggi.errors import Corrupt, from_fields
from onggi.store.images import HOST
from onggi.store.store import Store

pytestmark = pytest.mark.root

SOURCES = Path(__file__).parents[2] / "src"
LAYER = packed([member(f"file{n}", b"x" * 2000) for n in range(300)])


def start(root: Path, verb: str) -> subprocess.Popen[bytes]:
    """A worker."""
    command = [sys.executable, "-m", "onggi.store.worker", verb, "--root", str(root)]
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def run(root: Path, verb: str, data: bytes = b"") -> tuple[int, list[dict[str, Any]]]:
    """A worker's exit status and lines."""
    with start(root, verb) as worker:
        output, _ = worker.communicate(data)
    return worker.returncode, [json.loads(line) for line in output.splitlines()]


def test_load_tells_progress_and_the_images(tmp_path: Path) -> None:
    """JSON lines, status 0."""
    status, lines = run(tmp_path / "data", "load", docker_archive(([LAYER], ["a:1"])))
    assert status == 0
    assert lines[0]["progress"]["id"] == digest(LAYER)[7:19]
    assert lines[-1]["loaded"][0]["names"] == ["a:1"]


def test_an_error_comes_as_fields(tmp_path: Path) -> None:
    """Status 1, and the error can be put together again."""
    status, lines = run(tmp_path / "data", "load", b"x" * 1000)
    assert status == 1
    assert isinstance(from_fields(lines[-1]["error"]), Corrupt)


def test_a_wrong_command_line_is_an_error_too(tmp_path: Path) -> None:
    """It names the verbs."""
    status, lines = run(tmp_path / "data", "dance")
    assert (status, lines[-1]["error"]["kind"]) == (1, "invalid")


def test_hello_is_made_once(tmp_path: Path) -> None:
    """And stays the same image."""
    first, second = run(tmp_path / "data", "hello"), run(tmp_path / "data", "hello")
    assert first == second
    image = Store(tmp_path / "data").images.resolve("hello")
    assert image.config.run.cmd == ["/hello"]


def test_a_users_image_called_hello_wins(tmp_path: Path) -> None:
    """Ours does not shadow it."""
    _, loaded = run(tmp_path / "data", "load", docker_archive(([LAYER], ["hello:latest"])))
    _, made = run(tmp_path / "data", "hello")
    assert made[-1]["loaded"][0]["id"] == loaded[-1]["loaded"][0]["id"]


def test_the_host_image_is_marked_and_has_no_blobs_of_layers(tmp_path: Path) -> None:
    """Its one layer stands for the machine's own files."""
    run(tmp_path / "data", "host")
    image = Store(tmp_path / "data").images.resolve("host")
    assert image.layers == (HOST,)
    assert (image.config.run.labels or {})["dev.onggi.builtin"].startswith("host ")


def test_the_hosts_mark_cannot_be_copied(tmp_path: Path) -> None:
    """The config of one machine's host image, loaded on another, has no layers there."""
    run(tmp_path / "one", "host")
    one = Store(tmp_path / "one")
    document = one.content.read(one.images.resolve("host").id)
    from harness.imagetar import archive

    item = [{"Config": "c.json", "RepoTags": ["evil:1"], "Layers": []}]
    data = archive({"c.json": document, "manifest.json": json.dumps(item).encode()})
    run(tmp_path / "two", "host")
    run(tmp_path / "two", "load", data)
    assert Store(tmp_path / "two").images.resolve("evil:1").layers == ()


def test_loads_of_the_same_image_at_once(tmp_path: Path) -> None:
    """Each unpacks aside; whoever comes second finds it done. All of them succeed."""
    data = docker_archive(([LAYER], ["a:1"]))
    workers = [start(tmp_path / "data", "load") for _ in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(data)
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0] * 4
    check(tmp_path / "data")


def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    """Twenty loads killed at random moments: each image is whole or not there, and a start sweeps the rest."""
    root = tmp_path / "data"
    run(root, "load", docker_archive(([LAYER], ["old:1"])))
    chance = random.Random(1)
    for turn in range(20):
        layer = packed([member(f"turn{turn}", bytes(4000)), *(member(f"f{n}", b"y" * 500) for n in range(200))])
        data = docker_archive(([LAYER, layer], [f"new:{turn}"]))
        with start(root, "load") as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            if chance.random() < 0.5:
                worker.stdin.write(data[: chance.randrange(len(data))])
                worker.stdin.flush()
            else:
                worker.stdin.write(data)
                worker.stdin.close()
                for _ in range(chance.randrange(3)):
                    worker.stdout.readline()
            worker.kill()
        check(root)
    assert Store(root).images.resolve("old:1")


def check(root: Path) -> None:
    """Whatever the index names is whole; after a start nothing else is there."""
    with open(root / "writers.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the last process of a killed worker is gone
    store = Store(root)
    assert store.start().done
    assert list(root.glob("**/.aside-*")) == []
    wanted: set[str] = set()
    layers: set[str] = set()
    images = store.images.all()
    assert len({record.digest for record in store.images.records()}) == len(images)
    for image in images:
        manifest = store.images.manifest_of(image)
        wanted |= {str(image.manifest), str(image.id), *(layer.digest for layer in manifest.layers)}
        layers |= {str(layer) for layer in image.layers}
        for layer in manifest.layers:
            assert digest((root / "blobs" / layer.digest.replace(":", "/")).read_bytes()) == layer.digest
        for chain in image.layers:
            assert len(list(store.layers.diff(chain).iterdir())) in (300, 201)
    assert {str(blob) for blob in store.content.all()} == wanted
    assert {str(layer) for layer in store.layers.all()} == layers
