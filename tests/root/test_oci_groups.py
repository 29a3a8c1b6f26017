"""Where containers of `onggi-oci` have their cgroups, who is in them, and what is left: on the running kernel's version."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from harness.oci import SECONDS, Oci
from onggi.kernel.cgroup.detect import detect, here
from onggi.kernel.cgroup.layout import Layout
from onggi.runc import state

WITHOUT_PIDS = plans.namespaces("mount", "ipc", "uts", "network", "cgroup")


@pytest.fixture
def layout() -> Layout:
    """The host's."""
    return detect()


@pytest.fixture
def running(oci: Oci) -> Iterator[Callable[..., dict[str, Any]]]:
    """Starts a container that waits; its state. `changes` as for the bundle."""
    names: list[str] = []

    def start(
        name: str = "c", script: str = "exec sleep 1000", changes: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        oci.configure("/bin/sh", "-c", f"{script}", changes=changes)
        names.append(name)
        subprocess.run([*oci.words, "run", "-d", "-b", str(oci.bundle), name], timeout=SECONDS, check=True)
        found: dict[str, Any] = json.loads(oci("state", name).stdout)
        return found

    yield start
    for name in names:
        oci("delete", "--force", name)


def status(oci: Oci, name: str = "c") -> str:
    found: str = json.loads(oci("state", name).stdout)["status"]
    return found


def enter(layout: Layout, path: str) -> int:
    """A process of the test's own in this group, which is made; it sleeps."""
    layout.create(path)
    pid = os.fork()
    if pid == 0:
        signal.sigwait({signal.SIGUSR1})
        os._exit(0)
    layout.join(path, pid)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def wait_gone(pid: int) -> None:
    """Until the process is no more: it is nobody's child that we could wait for."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], SECONDS)[0], f"{pid} lives on"
    finally:
        os.close(pidfd)


def test_pause_and_resume(oci: Oci, running: Callable[..., Any]) -> None:
    """Paused, and going on again; each is refused when it is so already, and for a container that is not there."""
    running()
    assert oci("resume", "c").returncode == 1
    assert oci("pause", "c").returncode == 0
    assert status(oci) == "paused"
    assert "already paused" in oci("pause", "c").stderr
    assert oci("resume", "c").returncode == 0
    assert status(oci) == "running"
    assert oci("pause", "nobody").returncode == 1


def test_a_pause_of_the_group_around_it_is_not_the_containers_own(
    oci: Oci, running: Callable[..., Any], layout: Layout
) -> None:
    """A pod that stands still does not make its containers paused: nobody could resume them."""
    running()
    layout.freeze(oci.group)
    try:
        assert status(oci) == "running"
    finally:
        layout.thaw(oci.group)


def test_a_paused_container_can_be_deleted_by_force(oci: Oci, running: Callable[..., Any]) -> None:
    """What is frozen dies all the same, and nothing is left."""
    running()
    assert oci("pause", "c").returncode == 0
    assert oci("delete", "c").returncode == 1
    assert oci("delete", "--force", "c").returncode == 0
    assert oci.left() == []


def test_a_paused_container_can_be_killed(oci: Oci, running: Callable[..., Any]) -> None:
    """KILL thaws it, where that is needed to die."""
    pid = running()["pid"]
    oci("pause", "c")
    assert oci("kill", "c", "KILL").returncode == 0
    wait_gone(pid)
    assert status(oci) == "stopped"


def test_a_group_with_somebody_in_it_is_refused_and_nobody_in_it_is_harmed(oci: Oci, layout: Layout) -> None:
    """In runc's words; a failed start does not take with it what was there before."""
    pid = enter(layout, f"{oci.group}/c")
    try:
        for command in ("run", "create"):
            oci.configure("/bin/true")
            done = oci(command, "-b", str(oci.bundle), "c")
            assert (done.returncode, done.stdout) == (1, "")
            assert "container's cgroup is not empty: 1 process(es) found" in done.stderr
        assert layout.pids(f"{oci.group}/c") == (pid,)
    finally:
        end(pid)


def test_a_frozen_group_is_refused(oci: Oci, layout: Layout) -> None:
    """In it nothing would ever run."""
    layout.create(f"{oci.group}/c")
    layout.freeze(f"{oci.group}/c")
    done = oci.run("/bin/true")
    assert "container's cgroup unexpectedly frozen" in done.stderr
    assert layout.is_frozen(f"{oci.group}/c")
    layout.thaw(f"{oci.group}/c")


def test_an_empty_group_is_taken_with_what_it_has(oci: Oci, layout: Layout) -> None:
    """Managers make the group before the container, with limits of their own; it is gone with the container."""
    layout.create(f"{oci.group}/c")
    layout.apply(*layout.writes(f"{oci.group}/c", {"pids": {"limit": 41}}))
    oci.configure("/bin/sh", "-c", "exec cat $(find /sys/fs/cgroup -name pids.max)", changes={"linux.resources": {}})
    done = oci("run", "-b", str(oci.bundle), "c")
    assert (done.stdout, done.stderr) == ("41\n", "")
    assert oci.left() == []


def test_a_group_that_was_there_survives_a_failed_start(oci: Oci, layout: Layout) -> None:
    """What we did not make is not ours to remove before it is a container's."""
    layout.create(f"{oci.group}/c")
    assert oci.run("/nowhere").returncode == 1
    assert layout.exists(f"{oci.group}/c")


def test_only_one_hierarchy_s_group_is_there(oci: Oci, layout: Layout) -> None:
    """The others are made; after a failed start they are gone again, and it is not."""
    first = layout.directories(f"{oci.group}/c")[0]
    os.makedirs(first)
    oci.run("/nowhere")
    assert [d for d in layout.directories(f"{oci.group}/c") if os.path.isdir(d)] == [first]
    assert oci.run("/bin/true").returncode == 0
    assert oci.left() == []


@pytest.mark.parametrize(("given", "name"), [(None, "mine"), ("sub/group", "sub/group"), ("../../up", "up")])
def test_a_group_without_an_absolute_path_is_below_our_own(
    oci: Oci, layout: Layout, given: str | None, name: str
) -> None:
    """In each hierarchy below the caller's own group; on v2 beside it, for one with processes has no limited children."""
    own, code = f"{oci.group}/own", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    layout.create(own)
    oci.configure("/bin/sleep", "1000", changes={"linux.cgroupsPath": given})
    pid = os.fork()
    if pid == 0:
        layout.join(own)
        os.execvp("python3", ["python3", "-c", code, *oci.words, "run", "-d", "-b", str(oci.bundle), "mine"])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    try:
        first = json.loads(oci("state", "mine").stdout)["pid"]
        expected = f"{own}/{name}" if layout.mode != "v2" else f"{oci.group}/{name}"
        assert {path for key, path in here(first).items()} == {expected}
        kept = state.read(str(oci.place / "state"), "mine")["cgroup_paths"]
        assert set(kept.values()) == set(layout.directories(expected))
    finally:
        assert oci("delete", "--force", "mine").returncode == 0
    assert not layout.exists(expected)
    assert layout.exists(own) or layout.mode == "v2"


def test_kill_reaches_all_that_a_container_without_pids_of_its_own_left(
    oci: Oci, running: Callable[..., Any], layout: Layout
) -> None:
    """Its first process is no more special than the others: when it is gone they live on, and KILL and `delete` find them."""
    first = running(script="sleep 1000 & sleep 1000 & exec sleep 1000", changes={"linux.namespaces": WITHOUT_PIDS})[
        "pid"
    ]
    os.kill(first, signal.SIGKILL)
    wait_gone(first)
    left = layout.pids(f"{oci.group}/c")
    assert len(left) == 2
    assert status(oci) == "stopped"
    assert oci("kill", "c", "TERM").returncode == 1
    assert oci("kill", "c", "KILL").returncode == 0
    for pid in left:
        wait_gone(pid)
    assert oci("delete", "c").returncode == 0
    assert oci.left() == []


def test_delete_ends_what_a_container_without_pids_of_its_own_left(
    oci: Oci, running: Callable[..., Any], layout: Layout
) -> None:
    """`delete` of what counts as stopped."""
    first = running(script="sleep 1000 & exec sleep 1000", changes={"linux.namespaces": WITHOUT_PIDS})["pid"]
    os.kill(first, signal.SIGKILL)
    wait_gone(first)
    (pid,) = layout.pids(f"{oci.group}/c")
    assert oci("delete", "c").returncode == 0
    wait_gone(pid)
    assert oci.left() == []


def test_a_signal_to_all(oci: Oci, running: Callable[..., Any], layout: Layout) -> None:
    """`--all`: every process of the group; of a container that has ended it is none, and no error."""
    running(script="trap '' TERM; sleep 1000 & wait; wait")
    oci("kill", "c", "TERM")
    before = set(layout.pids(f"{oci.group}/c"))
    assert len(before) == 2
    assert oci("kill", "--all", "c", "TERM").returncode == 0
    assert oci("kill", "-a", "c", "KILL").returncode == 0
    for pid in before:
        wait_gone(pid)
    assert "container not running" in oci("kill", "c", "0").stderr
    assert oci("kill", "--all", "c", "0").returncode == 0


def test_groups_that_the_container_made_are_removed_with_it(
    oci: Oci, running: Callable[..., Any], layout: Layout
) -> None:
    """With who is in them."""
    mounts = [*plans.base_mounts()[:4], plans.mount("/sys/fs/cgroup", "cgroup", plans.QUIET)]
    script = """
        for each in $(find /sys/fs/cgroup -name cgroup.procs -maxdepth 2); do
            mkdir -p ${each%/*}/foo/bar
            for set in cpuset.cpus cpuset.mems; do
                [ -e ${each%/*}/$set ] && [ ! -e ${each%/*}/cgroup.controllers ] || continue
                cat ${each%/*}/$set > ${each%/*}/foo/$set; cat ${each%/*}/$set > ${each%/*}/foo/bar/$set
            done
            echo 0 > ${each%/*}/foo/bar/cgroup.procs
        done
        exec sleep 1000"""
    running(script=script, changes={"mounts": mounts})
    directory = Path(layout.directories(f"{oci.group}/c")[-1])
    assert wait_for(
        lambda: (directory / "foo/bar/cgroup.procs").exists() and (directory / "foo/bar/cgroup.procs").read_text()
    )
    assert oci("delete", "--force", "c").returncode == 0
    assert oci.left() == []


def wait_for(condition: Callable[[], object]) -> bool:
    """Until it holds; False when it does not in time."""
    end_of_patience = time.monotonic() + SECONDS
    while time.monotonic() < end_of_patience:
        if condition():
            return True
        os.sched_yield()
    return False


def test_delete_of_many_by_a_pattern(oci: Oci, running: Callable[..., Any]) -> None:
    """crun's `--regex`: those whose id has it, whatever the others are; a pattern that is none is refused."""
    for name in ("one-a", "one-b", "two"):
        running(name, changes={"linux.cgroupsPath": f"{oci.group}/{name}"})
    assert "one-a" in oci("delete", "--regex", "one-.").stderr
    assert oci("delete", "-f", "--regex", "^one-.$").returncode == 0
    assert oci("list", "-q").stdout == "two\n"
    assert "invalid regular expression" in oci("delete", "--regex", "(").stderr


def test_delete_clears_what_a_killed_create_left(oci: Oci) -> None:
    """A directory without a state is no container, but in the way of one."""
    (oci.place / "state/c").mkdir(parents=True)
    assert oci("delete", "--force", "c").returncode == 0
    assert not (oci.place / "state/c").exists()
    assert oci("delete", "c").returncode == 1


def test_without_cgroups(oci: Oci, layout: Layout) -> None:
    """crun's `--cgroup-manager=disabled`: it stays in the caller's groups, and can be killed and deleted."""
    mounts = [entry for entry in plans.base_mounts() if entry["type"] != "cgroup"]
    oci.configure("/bin/sleep", "1000", changes={"mounts": mounts, "linux.resources": {}})
    words = [oci.words[0], "--cgroup-manager", "disabled", *oci.words[1:]]
    subprocess.run([*words, "run", "-d", "-b", str(oci.bundle), "c"], timeout=SECONDS, check=True)
    try:
        pid = json.loads(oci("state", "c").stdout)["pid"]
        assert here(pid) == here()
        assert not layout.exists(f"{oci.group}/c")
        assert "no cgroup" in oci("pause", "c").stderr
        assert oci("kill", "c", "KILL").returncode == 0
        wait_gone(pid)
        assert oci("delete", "c").returncode == 0
    finally:
        oci("delete", "--force", "c")


def test_a_limit_that_cannot_be_kept_is_an_error(oci: Oci) -> None:
    """By name, and nothing is left."""
    done = oci.run("/bin/true", changes={"linux.resources": {"cpu": {"cpus": "4000"}}})
    assert done.returncode == 1
    assert "cpuset.cpus" in done.stderr
    assert oci.left() == []


def test_device_rules_with_a_hole_are_refused(oci: Oci) -> None:
    """What v1 would pass over in silence does not start."""
    rules = [{"allow": True, "type": "c", "major": 1}, {"allow": False, "type": "c", "major": 1, "minor": 11}]
    done = oci.run("/bin/true", changes={"linux.resources": {"devices": rules}})
    assert "cannot punch hole in existing wildcard rule" in done.stderr
    assert oci.left() == []


def test_devices_are_denied_without_a_word(oci: Oci) -> None:
    """No rule at all leaves what every container has, as in runc: /dev/null, and not the kernel's log."""
    device = {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}
    done = oci.run(
        "/bin/sh", "-c", "echo > /dev/null && echo null; cat < /dev/kmsg",
        changes={"linux.resources": {}, "linux.devices": [device]},
    )  # fmt: skip
    assert done.stdout == "null\n"
    assert "Operation not permitted" in done.stderr
