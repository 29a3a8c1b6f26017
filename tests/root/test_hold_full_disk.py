"""A full disk: containers go on, the engine answers, and what takes the room can be removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import image
from harness.box import Box, receive_all, unframe
from harness.engine import EngineProcess


@pytest.fixture
def small() -> Iterator[EngineProcess]:
    """An engine whose data lie on a file system of 12 MB, with the image."""
    engine = EngineProcess()
    Path(engine.data_root).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "small", engine.data_root], check=True)
    try:
        engine.start()
        engine.load_busybox()
        yield engine
    finally:
        try:
            Path(engine.data_root, "fill").unlink(missing_ok=True)
            if engine.process:
                engine.remove_containers()
                engine.stop()
        finally:
            subprocess.run(["umount", "-l", engine.data_root], check=True)
            engine.close()


def fill(engine: EngineProcess) -> None:
    """Take all the room that is left."""
    subprocess.run(["dd", "if=/dev/zero", f"of={engine.data_root}/fill", "bs=4096"], capture_output=True, check=False)


def test_a_container_that_fills_the_disk_with_its_log_goes_on(small: EngineProcess) -> None:
    """It writes 26 MB where 8 fit: it ends by itself with its own exit code, and what was kept is whole."""
    script = "dd if=/dev/zero bs=65536 count=400 2>/dev/null | tr '\\0' x; echo; exit 4"
    box = Box.create(small.api, "sh", "-c", script)
    connection = box.attach()
    box.start()
    heard, _ = unframe(receive_all(connection))
    assert box.wait() == 4
    kept, _ = box.output()
    assert 0 < len(kept) < 12 << 20
    assert set(kept) <= {"x", "\n"}
    assert len(heard) >= len(kept)


def test_what_runs_can_be_stopped_and_removed(small: EngineProcess) -> None:
    """Stop, kill and rm work though no record can be written; afterwards there is room again."""
    boxes = [Box.run(small.api, "sleep", "60") for _ in range(2)]
    fill(small)
    small.api.ok("POST", f"/containers/{boxes[0].id}/stop?t=0")
    boxes[1].kill()
    assert [box.state["Status"] for box in boxes] == ["exited", "exited"]
    Path(small.data_root, "fill").unlink()
    for box in boxes:
        box.remove()
    assert small.api.ok("GET", "/containers/json?all=1") == []


def test_what_takes_the_room_can_be_removed(small: EngineProcess) -> None:
    """A container has written until nothing fits; `rm` of it makes room, though even forgetting needs some."""
    box = Box.run(small.api, "sh", "-c", "cat /dev/zero >/fill 2>/dev/null; exit 3")
    assert box.wait() == 3
    box.remove()
    assert Box.run(small.api, "true").wait() == 0


def test_nothing_can_be_made_and_the_engine_says_so(small: EngineProcess) -> None:
    """Create is an error that names the cause; nothing is left of it, and the engine goes on."""
    fill(small)
    answer = small.api("POST", "/containers/create", {"Image": image.BUSYBOX})
    assert answer.status >= 500
    assert "No space left" in answer.message or "full" in answer.message
    assert small.api.ok("GET", "/containers/json?all=1") == []
    Path(small.data_root, "fill").unlink()
    assert Box.run(small.api, "true").wait() == 0


def test_an_engine_starts_on_a_full_disk(small: EngineProcess) -> None:
    """After a kill -9 it comes back, with containers that run and such that ended; then they can be removed."""
    running = Box.run(small.api, "sleep", "60")
    ended = Box.run(small.api, "sleep", "60", host={"AutoRemove": True})
    pid = ended.pid
    fill(small)
    small.kill()
    subprocess.run(["kill", "-9", str(pid)], check=True)
    ended.wait_empty()
    small.start()
    assert running.state["Running"]
    running.remove()
