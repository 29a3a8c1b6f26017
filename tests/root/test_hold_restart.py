"""The engine is killed while containers run: they go on, and the next engine knows everything."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest

from harness.box import Box, alive, unframe, wait_until, wait_until_clean
from harness.engine import EngineProcess

Make = Callable[..., EngineProcess]


@pytest.fixture
def fresh(new_engine: Make) -> EngineProcess:
    """An engine of the test's own, with the image."""
    made = new_engine()
    made.load_busybox()
    return made


def ticking(engine: EngineProcess, name: str = "ticking") -> Box:
    """A container that writes a number every few milliseconds."""
    box = Box.run(engine.api, "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done", name=name)
    return box.says("3\n")


def test_a_container_survives_the_engine(fresh: EngineProcess) -> None:
    """Its first process is the same one, it goes on writing, and `ps` shows it as running."""
    box = ticking(fresh)
    pid = box.pid
    fresh.kill()
    assert alive(pid)
    fresh.start()
    assert box.pid == pid
    (listed,) = fresh.api.ok("GET", "/containers/json")
    assert (listed["Id"], listed["State"]) == (box.id, "running")
    said = box.output()[0]
    wait_until(lambda: len(box.output()[0]) > len(said), "it writes on")


def test_nothing_of_the_log_is_lost_while_no_engine_runs(fresh: EngineProcess) -> None:
    """The lines written before, between and after are all there, once, in order."""
    box = ticking(fresh)
    fresh.kill()
    log = f"{fresh.data_root}/containers/{box.id}/log"
    size = os.stat(log).st_size
    wait_until(lambda: os.stat(log).st_size > size + 500, "it writes without an engine")
    fresh.start()
    box.kill()
    numbers = [int(line) for line in box.output()[0].split()]
    assert numbers == list(range(len(numbers)))


def test_logs_follow_an_adopted_container(fresh: EngineProcess) -> None:
    """`logs -f` after a restart gives the past, the present, and ends with the container."""
    box = ticking(fresh)
    fresh.kill()
    fresh.start()
    connection = fresh.api.connect()
    path = f"/containers/{box.id}/logs?stdout=1&follow=1"
    connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    got = b""
    while got.count(b"\n") < 60:
        piece = connection.recv(1 << 16)
        assert piece
        got += piece
    box.kill()
    while piece := connection.recv(1 << 16):
        got += piece
    numbers = [int(line) for line in unframe(got.partition(b"\r\n\r\n")[2])[0].split()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 20


def test_attach_reaches_an_adopted_container_both_ways(fresh: EngineProcess) -> None:
    """What is typed after the restart comes back through it."""
    box = Box.run(fresh.api, "cat", OpenStdin=True)
    fresh.kill()
    fresh.start()
    connection = box.attach("stream=1&stdin=1&stdout=1")
    connection.sendall(b"are you there?\n")
    assert unframe(connection.recv(100))[0] == b"are you there?\n"


def test_wait_hears_the_end_of_an_adopted_container(fresh: EngineProcess) -> None:
    """Its exit code, though another engine started it."""
    box = Box.run(fresh.api, "sh", "-c", "trap 'exit 23' TERM; echo up; while :; do sleep 0.01; done").says("up")
    fresh.kill()
    fresh.start()
    os.kill(box.pid, signal.SIGTERM)
    assert box.wait() == 23


def test_the_exit_code_of_one_that_ended_meanwhile(fresh: EngineProcess) -> None:
    """It is in its state, `wait` answers at once, and its time of death is when it died."""
    box = Box.run(fresh.api, "sh", "-c", "trap 'echo bye; exit 23' TERM; echo up; while :; do sleep 0.01; done").says(
        "up"
    )
    pid = box.pid
    fresh.kill()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), "it has ended")
    wait_until(lambda: os.path.exists(f"{fresh.exec_root}/containers/{box.id}/exit.json"), "its keeper has noted it")
    fresh.start()
    assert box.state["Status"] == "exited"
    assert box.state["ExitCode"] == 23
    assert box.wait() == 23
    assert box.output()[0] == "up\nbye\n"
    assert box.state["FinishedAt"] > box.state["StartedAt"]


def test_rm_on_exit_is_kept_over_a_restart(fresh: EngineProcess) -> None:
    """--rm: one that ended meanwhile is gone after the restart, one that ends later goes then."""
    early = Box.run(fresh.api, "sleep", "60", host={"AutoRemove": True})
    late = Box.run(fresh.api, "sleep", "60", host={"AutoRemove": True})
    pid = early.pid
    fresh.kill()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "it has ended")
    fresh.start()
    early.wait_gone()
    assert late.state["Running"]
    late.kill()
    late.wait_gone()


def test_an_address_stays_reserved(fresh: EngineProcess) -> None:
    """A container started after the restart never gets the address of one that runs on."""
    first = Box.run(fresh.api, "sleep", "60")
    address = first.inspect()["NetworkSettings"]["IPAddress"]
    assert address
    fresh.kill()
    fresh.start()
    assert first.inspect()["NetworkSettings"]["IPAddress"] == address
    others = [Box.run(fresh.api, "sleep", "60").inspect()["NetworkSettings"]["IPAddress"] for _ in range(3)]
    assert address not in others
    assert len(set(others)) == 3


def test_adopted_containers_reach_each_other(fresh: EngineProcess) -> None:
    """The bridge stays as it was: one container pings another after the restart."""
    first = Box.run(fresh.api, "sleep", "60")
    address = first.inspect()["NetworkSettings"]["IPAddress"]
    fresh.kill()
    fresh.start()
    second = Box.run(fresh.api, "ping", "-c", "1", "-W", "3", address)
    assert second.wait() == 0, second.output()


@pytest.mark.parametrize("verb", ["stop?t=0", "kill", "restart?t=0", "pause", "rename?name=renamed"])
def test_adopted_containers_can_be_commanded(fresh: EngineProcess, verb: str) -> None:
    """Stop, kill, restart, pause and rename work on a container that another engine started."""
    box = Box.run(fresh.api, "sleep", "60")
    fresh.kill()
    fresh.start()
    fresh.api.ok("POST", f"/containers/{box.id}/{verb}")
    expected = {"stop?t=0": "exited", "kill": "exited", "pause": "paused"}
    assert box.state["Status"] == expected.get(verb, "running")
    box.remove()
    assert fresh.api.ok("GET", "/containers/json?all=1") == []


def test_a_paused_container_stays_paused(fresh: EngineProcess) -> None:
    """Paused before, paused after, and unpause lets it go on."""
    box = ticking(fresh)
    fresh.api.ok("POST", f"/containers/{box.id}/pause")
    fresh.kill()
    fresh.start()
    assert box.state["Status"] == "paused"
    fresh.api.ok("POST", f"/containers/{box.id}/unpause")
    said = box.output()[0]
    wait_until(lambda: len(box.output()[0]) > len(said), "it writes on")


def test_a_keeper_that_was_killed_takes_its_container_along(fresh: EngineProcess) -> None:
    """kill -9 of the keeper: the container's processes die, it is `exited`, and rm leaves nothing."""
    Box.run(fresh.api, "true", host={"AutoRemove": True}).wait(
        "removed"
    )  # the bridge and the engine's group are there now
    before = fresh.leftovers()
    box = Box.run(fresh.api, "sh", "-c", "sleep 60 & echo up; sleep 60").says("up")
    pids = box.processes()
    os.kill(box.keeper, signal.SIGKILL)
    box.wait()
    assert box.state["Status"] == "exited"
    wait_until(lambda: not any(map(alive, pids)), "its processes are dead")
    box.remove()
    wait_until_clean(fresh, before)


def test_keeper_and_engine_killed_together(fresh: EngineProcess) -> None:
    """The next engine finds a container without a keeper: it is exited, with nothing left of it but itself."""
    box = Box.run(fresh.api, "sh", "-c", "sleep 60 & echo up; sleep 60").says("up")
    pids, keeper = box.processes(), box.keeper
    fresh.kill()
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not alive(keeper), "the keeper is dead")
    fresh.start()
    assert box.state["Status"] == "exited"
    wait_until(lambda: not any(map(alive, pids)), "its processes are dead")
    box.start()
    assert box.state["Running"]


def test_the_launcher_is_started_again(fresh: EngineProcess) -> None:
    """kill -9 of the launcher between two starts: the second start works."""
    first = Box.run(fresh.api, "sleep", "60")
    assert fresh.process
    launchers = [pid for pid in children(fresh.process.pid) if pid != first.keeper]
    for pid in launchers:
        os.kill(pid, signal.SIGKILL)
    second = Box.run(fresh.api, "true")
    assert second.wait() == 0
    assert first.state["Running"]


def test_a_second_engine_on_the_same_root_is_refused(fresh: EngineProcess) -> None:
    """It says so and ends, and the first one and its containers are as they were."""
    box = Box.run(fresh.api, "sleep", "60")
    second = EngineProcess(network=fresh.network)
    second.data_root, second.exec_root = fresh.data_root, fresh.exec_root
    with pytest.raises(AssertionError, match="another engine has this data root"):
        second.start()
    assert second.process
    second.process.wait()
    second.process = None
    second.close()
    assert box.state["Running"]


def test_containers_outlive_an_engine_that_was_asked_to_stop(fresh: EngineProcess) -> None:
    """SIGTERM ends the engine with status 0, at once, and no container."""
    box = ticking(fresh)
    pid = box.pid
    assert fresh.stop() == 0
    assert alive(pid)
    fresh.start()
    assert box.pid == pid


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def test_helpers_that_are_killed_while_they_wait_are_replaced(fresh: EngineProcess) -> None:
    """kill -9 of the launcher, of every keeper in waiting and of its starter: ten starts after it work."""
    assert fresh.process
    for killed in (waiting(fresh.process.pid), children(fresh.process.pid) + waiting(fresh.process.pid)):
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):  # it went with another one
                os.kill(pid, signal.SIGKILL)
        for _ in range(10):
            box = Box.run(fresh.api, "true", host={"NetworkMode": "none"})
            assert box.wait() == 0
            box.remove()


def waiting(engine: int) -> list[int]:
    """The keepers in waiting below an engine's launcher, and their starters."""
    keepers = [pid for launcher in children(engine) for pid in children(launcher)]
    return keepers + [pid for keeper in keepers for pid in children(keeper)]
