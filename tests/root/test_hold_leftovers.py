"""After rm nothing is left on the machine, however a container's life ended; nor after a killed engine has come back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from harness.box import Box, status_of, wait_until, wait_until_clean
from harness.engine import EngineProcess
from harness.leftovers import Leftovers

Make = Callable[..., EngineProcess]
SEED = 20_240_229


@pytest.fixture
def fresh(new_engine: Make) -> EngineProcess:
    """An engine of the test's own, with the image, its bridge and its cgroup made, and nothing of a container left."""
    made = new_engine()
    made.load_busybox()
    Box.run(made.api, "true", host={"AutoRemove": True}).wait_gone()
    wait_until(lambda: not any(name.startswith("v") for name in made.leftovers().links), "no container's link is left")
    return made


def family(pid: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/task/{pid}/children") as file:
        for child in map(int, file.read().split()):
            found |= {child} | family(child)
    return found


def helpers(engine: EngineProcess, name: str) -> list[int]:
    """The engine's helper processes whose command is `name`, by their argument list: they are forks of one program."""
    assert engine.process
    found = []
    for pid in family(engine.process.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if status_of(pid)["Name"] == name:
                found.append(pid)
    return found


def test_fifty_containers_a_third_of_them_killed_on_their_way(fresh: EngineProcess) -> None:
    """Start and force-remove race; keepers and launchers are killed mid-start; at the end all counts are as before."""
    before = fresh.leftovers()
    chance = random.Random(SEED)
    for number in range(50):
        box = Box.create(fresh.api, "sh", "-c", "sleep 60 & sleep 60")
        starter = threading.Thread(target=box.try_start)
        starter.start()
        if number % 3 == 0:
            time.sleep(chance.uniform(0, 0.02))  # how far it gets until then is the point
            strike(fresh, box, number // 3 % 4)
        starter.join(30)
        assert not starter.is_alive(), "a start hangs"
        box.api("DELETE", f"/containers/{box.id}?force=1")
        box.wait_gone()
    assert fresh.api.ok("GET", "/containers/json?all=1") == []
    wait_until_clean(fresh, before)


def strike(engine: EngineProcess, box: Box, way: int) -> None:
    """Kill the keeper, the starter or the launcher, or remove the container by force while it starts."""
    if way == 3:
        box.api("DELETE", f"/containers/{box.id}?force=1")
        return
    for pid in helpers(engine, ("onggi-keeper", "onggi-starter", "onggi-launcher")[way]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_start_that_fails_leaves_nothing(fresh: EngineProcess) -> None:
    """Twenty starts that end in `command not found`: no more than before once the containers are removed."""
    before = fresh.leftovers()
    for _ in range(20):
        box = Box.create(fresh.api, "no-such-command")
        assert box.try_start().status == 400
        box.remove()
    wait_until_clean(fresh, before)


def test_a_start_that_fails_keeps_only_what_was_there_before_it(fresh: EngineProcess) -> None:
    """The created container has its directory, and no cgroup, link, mount or process."""
    box = Box.create(fresh.api, "no-such-command")
    before = fresh.leftovers()
    assert box.try_start().status == 400
    left = fresh.leftovers()
    wait_until(lambda: fresh.leftovers().links == before.links, "the link is gone")
    assert left.cgroups == before.cgroups
    assert left.mounts == before.mounts
    assert {line for line in left.processes if box.id in line} == set()
    box.remove()


def test_an_engine_killed_at_any_moment_leaves_nothing_inconsistent(fresh: EngineProcess) -> None:
    """Twenty rounds: kill -9 amid create, start and rm; the next engine answers, and everything can be removed."""
    before = fresh.leftovers()
    chance = random.Random(SEED)
    for number in range(20):
        worker = threading.Thread(target=churn, args=(fresh,))
        worker.start()
        time.sleep(chance.uniform(0.01, 0.15))  # the instruction at which it dies is the point
        fresh.kill()
        worker.join(30)
        assert not worker.is_alive(), "a request hangs though its engine is dead"
        fresh.start()
        check_consistent(fresh, number)
    for listed in fresh.api.ok("GET", "/containers/json?all=1"):
        fresh.api.ok("DELETE", f"/containers/{listed['Id']}?force=1")
    wait_until_clean(fresh, without_engine(fresh, before))


def churn(engine: EngineProcess) -> None:
    """Create, start and remove until the engine is gone; every second container stays."""
    with contextlib.suppress(OSError, AssertionError, ValueError):
        for number in range(1000):
            host = {"AutoRemove": number % 4 == 1, "NetworkMode": ("bridge", "none")[number % 2]}
            box = Box.run(engine.api, "sleep", ("60", "0.01")[number % 3 == 0], host=host)
            if number % 2:
                box.remove()


def check_consistent(engine: EngineProcess, number: int) -> None:
    """What runs by the engine's word runs by the kernel's, and what is not running by its word has no process."""
    listed = engine.api.ok("GET", "/containers/json?all=1")
    names = [name for one in listed for name in one["Names"]]
    assert len(names) == len(set(names))
    addresses = []
    for one in listed:
        box = Box(engine.api, one["Id"])
        state = box.inspect()
        if state["State"]["Running"]:
            assert os.path.exists(f"/proc/{state['State']['Pid']}"), f"round {number}: {one['Id'][:12]} has no process"
            addresses.append(state["NetworkSettings"]["IPAddress"])
        else:
            box.wait_empty()
    given = [address for address in addresses if address]
    assert len(given) == len(set(given)), f"round {number}: an address was given twice"


def without_engine(engine: EngineProcess, before: Leftovers) -> Leftovers:
    """`before`, with the processes and the mounts of the engine that runs now beside those of the first."""
    now = engine.leftovers()
    assert engine.process
    own = {str(pid) for pid in {engine.process.pid} | family(engine.process.pid)}
    mine = frozenset(line for line in now.processes if line.split()[0] in own)
    return before._replace(processes=before.processes | mine)


def test_nothing_at_all_is_left_of_an_engine_without_containers(new_engine: Make) -> None:
    """SIGTERM after the last container is gone: no link, no table, no cgroup, no process, no mount."""
    engine = new_engine()
    before = engine.leftovers()
    engine.load_busybox()
    Box.run(engine.api, "true", host={"AutoRemove": True}).wait_gone()
    assert engine.stop() == 0
    left = engine.leftovers().since(before)
    left.pop("directories", None)
    assert left == {}
