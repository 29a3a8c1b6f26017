"""The engine is killed in the middle of a pull, again and again: nothing half-written is seen, nothing whole comes twice."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engine import EngineProcess
from harness.imagetar import digest, directory, member, packed
from harness.memory_registry import MemoryRegistry
from harness.scripted import Asked
from onggi.store.store import Store

pytestmark = pytest.mark.root
KILLS = int(os.environ.get("ONGGI_TEST_KILLS", "25"))
PIECE = 1 << 16


def layer(number: int) -> bytes:
    """Some files that do not compress."""
    names = [directory(f"d{number}"), *(member(f"d{number}/f{n}", os.urandom(150_000)) for n in range(12))]
    return packed(names)


class Killer:
    """Sends layers piece by piece, and kills the engine when so many bytes of them have gone out."""

    def __init__(self, engine: EngineProcess) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.left: int | None = None
        self.sent = 0
        self.done = threading.Event()

    def __call__(self, asked: Asked, good: bytes) -> bytes | Iterator[bytes]:
        """As a fault of the registry."""
        return self._pieces(good) if "/blobs/" in asked.target and len(good) > PIECE else good

    def _pieces(self, good: bytes) -> Iterator[bytes]:
        for start in range(0, len(good), PIECE):
            with self._lock:
                if self.left is not None and self.left <= self.sent:
                    self.left = None
                    self._engine.kill()
                    self.done.set()
            yield good[start : start + PIECE]
            with self._lock:
                self.sent += PIECE


def test_a_pull_that_is_killed_goes_on() -> None:
    """At any byte of any layer; what was whole is not asked for again, what was begun only from where it stopped."""
    random.seed(os.getpid())
    engine = EngineProcess()
    registry = MemoryRegistry(engine.network.listen())
    try:
        layers = [layer(number) for number in range(3)]
        registry.image("1", layers)
        blobs = {digest(gzip.compress(one, 1, mtime=0)) for one in layers}
        total = sum(len(registry.blobs[one]) for one in blobs)
        killer = registry.fault = Killer(engine)
        path = f"/images/create?fromImage={registry.address}/team/app&tag=1"
        killed = 0
        for _ in range(KILLS):
            engine.start()
            whole = whole_blobs(engine)
            asked = len(registry.server.asked)
            killer.left = killer.sent + random.randrange(total // KILLS * 2)
            killer.done.clear()
            with contextlib.suppress(OSError, http.client.HTTPException):
                engine.api("POST", path, timeout=60)
                killer.done.set()  # it came to its end before its turn
            assert killer.done.wait(30)
            assert not whole & set(fetched(registry, asked))
            if engine.process is None:
                killed += 1
                assert_nothing_is_half_there(engine)
            else:
                engine.kill()
        killer.left = None
        engine.start()
        assert b"Status: " in engine.api("POST", path, timeout=60).body.splitlines()[-1]
        (image,) = engine.api.ok("GET", "/images/json")
        assert image["RepoTags"] == [f"{registry.address}/team/app:1"]
        store = Store(Path(engine.data_root))
        for number, found in enumerate(store.images.all()[0].layers):
            assert len(list((store.layers.diff(found) / f"d{number}").iterdir())) == 12
        assert killed > KILLS // 3
        again = killer.sent - total
        assert again < killed * 3 * (2 << 20), f"{again} bytes came twice in {killed} kills"
    finally:
        registry.close()
        engine.close()


def whole_blobs(engine: EngineProcess) -> set[str]:
    """The blobs that are whole."""
    return {f"sha256:{name}" for name in os.listdir(f"{engine.data_root}/blobs/sha256")}


def fetched(registry: MemoryRegistry, since: int) -> list[str]:
    """The blobs that were asked for since then."""
    return [one.target.rpartition("/")[2] for one in registry.server.asked[since:] if "/blobs/" in one.target]


def assert_nothing_is_half_there(engine: EngineProcess) -> None:
    """Every blob has its digest, every layer all its files, and there is no image."""
    store = Store(Path(engine.data_root))
    for blob in store.content.all():
        assert digest(store.content.path(blob).read_bytes()) == str(blob)
    for found in store.layers.all():
        (top,) = store.layers.diff(found).iterdir()
        assert len(list(top.iterdir())) == 12
    assert store.images.all() == ()
