"""The first process, the orphans, and the memory limit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from harness.api import Api
from harness.box import Box, alive, status_of, wait_until

HUNGRY = "x=a; while :; do x=$x$x$x$x; done"


def test_killing_the_first_process_ends_all(api: Api) -> None:
    """SIGKILL to pid 1 from outside: no process of the container lives on, and it is exited with 137."""
    box = Box.run(api, "sh", "-c", "for i in 1 2 3 4; do setsid sleep 60 & done; echo up; wait").says("up")
    pids = box.processes()
    assert len(pids) >= 5
    os.kill(box.pid, signal.SIGKILL)
    assert box.wait() == 137
    assert not any(map(alive, pids))
    box.remove()


def test_the_first_processs_end_ends_all(api: Api) -> None:
    """When pid 1 exits by itself the daemons that it left die, and their end of the streams holds up nobody."""
    box = Box.run(api, "sh", "-c", "setsid sleep 60 & echo up")
    assert box.wait() == 0
    assert box.processes() == []
    box.remove()


def test_an_orphan_becomes_a_child_of_the_first_process(api: Api) -> None:
    """Its parent dies; on both levels its new parent is the container's pid 1."""
    box = Box.run(api, "sh", "-c", "sh -c 'sleep 61 & echo up'; while :; do sleep 0.05; done").says("up")

    def orphans() -> list[int]:
        return [p for p in box.processes() if b"61" in Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0")]

    (orphan,) = wait_until(orphans, "the orphan runs")
    wait_until(lambda: status_of(orphan)["PPid"] == str(box.pid), "its parent is pid 1")
    box.remove()


def test_the_engine_has_no_zombies(api: Api) -> None:
    """After twenty containers no process of theirs is waiting to be collected."""
    for _ in range(20):
        box = Box.run(api, "sh", "-c", "true & wait", host={"NetworkMode": "none"})
        box.wait()
        box.remove()

    def zombies() -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                status = status_of(int(process.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if status["State"].startswith("Z") and status["Name"].startswith("onggi"):
                found.append(process.name)
        return found

    wait_until(lambda: not zombies(), "all are collected")


def test_over_the_memory_limit_it_is_killed_and_says_so(api: Api) -> None:
    """Exit code 137, OOMKilled true, an `oom` event."""
    began = api.ok("GET", "/info")["SystemTime"]
    box = Box.run(api, "sh", "-c", HUNGRY, host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    assert box.wait() == 137
    assert box.state["OOMKilled"] is True
    events = api(
        "GET", f"/events?since={began}&until={time.time() + 0.2:.3f}&filters=%7B%22event%22:%5B%22oom%22%5D%7D"
    ).lines()
    assert [event["Actor"]["ID"] for event in events if event["Action"] == "oom"] == [box.id]
    box.remove()


def test_over_the_memory_limit_nobody_else_is_killed(api: Api) -> None:
    """A second container and the engine live on; the second one is not marked."""
    other = Box.run(api, "sleep", "60", host={"Memory": 16 << 20})
    box = Box.run(api, "sh", "-c", HUNGRY, host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    box.wait()
    assert other.state["Running"]
    other.kill()
    other.wait()
    assert other.state["OOMKilled"] is False
    other.remove()
    box.remove()


def test_a_child_over_the_limit_is_noted_though_the_first_process_ends_well(api: Api) -> None:
    """OOMKilled true with the exit code that the container's own first process gave."""
    command = f"sh -c '{HUNGRY}'; exit 3"
    box = Box.run(api, "sh", "-c", command, host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    assert box.wait() == 3
    assert box.state["OOMKilled"] is True
    box.remove()


def test_killed_by_a_signal_is_not_killed_for_memory(api: Api) -> None:
    """137 alone is no proof: OOMKilled stays false."""
    box = Box.run(api, "sleep", "60", host={"Memory": 16 << 20})
    box.kill()
    assert box.wait() == 137
    assert box.state["OOMKilled"] is False
    box.remove()


def test_oom_in_one_run_does_not_mark_the_next(api: Api) -> None:
    """A container that was killed for memory and is started again ends unmarked."""
    script = f"test -e /again && exit 0; touch /again; {HUNGRY}"
    box = Box.run(api, "sh", "-c", script, host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    assert box.wait() == 137
    box.start()
    assert box.wait() == 0
    assert box.state["OOMKilled"] is False
    box.remove()


@pytest.mark.parametrize(("name", "number"), [("HUP", 1), ("INT", 2), ("USR1", 10), ("TERM", 15), ("KILL", 9)])
def test_a_signal_arrives_as_itself(api: Api, name: str, number: int) -> None:
    """Without a handler the exit code is 128 and the signal's number; pid 1 needs a default that kills: see `exec`."""
    command = f"trap 'exit {128 + number}' {name}; echo up; while :; do sleep 0.01; done"
    box = Box.run(api, "sh", "-c", command).says("up")
    box.kill(f"SIG{name}")
    assert box.wait() == 128 + number
    box.remove()


def test_stop_waits_and_then_kills(api: Api) -> None:
    """A container that ignores SIGTERM is killed when the time is over, not before."""
    box = Box.run(api, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done").says("up")
    api.ok("POST", f"/containers/{box.id}/stop?t=1")
    state = box.state
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    box.remove()


def test_a_stop_signal_of_ones_own(api: Api) -> None:
    """`--stop-signal USR1` is what stop sends."""
    command = "trap 'exit 44' USR1; echo up; while :; do sleep 0.01; done"
    box = Box.run(api, "sh", "-c", command, StopSignal="SIGUSR1").says("up")
    api.ok("POST", f"/containers/{box.id}/stop?t=20")
    assert box.wait() == 44
    box.remove()


def test_a_fork_bomb_stays_within_its_limit(api: Api) -> None:
    """With a limit of 20 processes there are never more, and the engine goes on."""
    bomb = "b() { b | b & }; b; sleep 1; echo over"
    box = Box.run(api, "sh", "-c", bomb, host={"PidsLimit": 20})
    most = 0
    while box.state["Running"] and most < 20:
        most = max(most, len(box.processes()))
    assert most <= 20
    assert api("GET", "/_ping").status == 200
    box.remove()


def test_pausing_stops_time(api: Api) -> None:
    """While it is paused it writes nothing; unpaused it goes on; killed while paused it dies."""
    box = Box.run(api, "sh", "-c", "while :; do echo x; sleep 0.01; done").says("x")
    api.ok("POST", f"/containers/{box.id}/pause")
    first = box.output()[0]
    assert all(status_of(pid)["State"][0] in "DS" for pid in box.processes())
    assert box.output()[0] == first
    box.kill()
    assert box.wait() == 137
    box.remove()
