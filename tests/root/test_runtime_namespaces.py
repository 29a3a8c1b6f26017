"""Namespaces and processes of a running container, as the kernel shows them."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from harness import plans
from harness.jar import Jar

KINDS = {"mount": "mnt", "pid": "pid", "ipc": "ipc", "uts": "uts", "network": "net", "cgroup": "cgroup", "time": "time"}


def inode(pid: int | str, kind: str) -> int:
    """The number of a process's namespace."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def gone(pidfd: int) -> bool:
    """Whether the process of a pidfd ends within the harness's patience."""
    return bool(select.select([pidfd], [], [], 20)[0])


@pytest.mark.parametrize("shared", ["", "pid", "ipc", "uts", "network", "cgroup"])
def test_each_namespace_is_its_own_or_the_hosts(jar: Jar, shared: str) -> None:
    """Those that were unshared differ from the host's, the one that was not is the host's."""
    own = [kind for kind in KINDS if kind not in (shared, "time")]
    changes = {"config.linux.namespaces": plans.namespaces(*own), "config.hostname": "" if shared == "uts" else "jar"}
    running = jar.start(jar.document("/bin/sleep", "1000", changes=changes))
    different = {kind for kind, file in KINDS.items() if inode(running.pid, file) != inode("self", file)}
    running.close()
    assert different == set(own)


def test_the_time_namespace_is_entered_by_the_container(jar: Jar) -> None:
    """A time namespace holds for children; the exec is what takes the first process in."""
    changes = {"config.linux.namespaces": plans.namespaces("mount", "pid", "time")}
    assert int(jar.shell("stat -L -c %i /proc/1/ns/time", changes)) != inode("self", "time")


def test_a_namespace_of_another_container_is_joined(jar: Jar) -> None:
    """`--network container:`, `--pid container:`: the same numbers, and its processes are seen."""
    first = jar.start(jar.document("/bin/sleep", "1000"))
    joined = {kind: f"/proc/{first.pid}/ns/{KINDS[kind]}" for kind in ("network", "ipc", "uts")}
    changes = {"config.linux.namespaces": plans.namespaces("mount", "pid", **joined), "config.hostname": ""}
    second = jar.start(jar.document("/bin/sleep", "1000", changes=changes))
    same = {kind for kind, file in KINDS.items() if inode(first.pid, file) == inode(second.pid, file)}
    second.close()
    first.close()
    assert same == {"network", "ipc", "uts", "time"}


def test_joining_a_pid_namespace_puts_the_first_process_there(jar: Jar) -> None:
    """`--pid container:`: what runs first sees the other container's processes as its own neighbours."""
    first = jar.start(jar.document("/bin/sleep", "1000"))
    found = plans.namespaces("mount", "ipc", "uts", "network", pid=f"/proc/{first.pid}/ns/pid")
    out = jar.shell(
        "cat /proc/1/cmdline | tr '\\0' ' '; readlink /proc/self/ns/pid", {"config.linux.namespaces": found}
    )
    expected = f"/bin/sleep 1000 pid:[{inode(first.pid, 'pid')}]\n"
    first.close()
    assert out == expected


def test_a_process_has_a_pid_on_each_level(jar: Jar) -> None:
    """NSpid: its number on the host, and 1 inside."""
    running = jar.start(jar.document("/bin/sleep", "1000"))
    (line,) = [x for x in Path(f"/proc/{running.pid}/status").read_text().splitlines() if x.startswith("NSpid:")]
    running.close()
    assert line.split()[1:][-1] == "1"
    assert line.split()[1:][-2] == str(running.pid)


def test_an_orphan_belongs_to_the_containers_first_process(jar: Jar) -> None:
    """Whose parent dies is given to pid 1 inside."""
    script = "sh -c 'sleep 1000 & echo $! > /p'; read p < /p; grep PPid /proc/$p/status"
    assert jar.shell(script).split() == ["PPid:", "1"]


def test_an_orphan_in_the_hosts_pid_namespace_goes_with_the_container(jar: Jar) -> None:
    """With the host's pids the group is what ends everybody."""
    found = plans.namespaces("mount", "ipc", "uts", "network")
    running = jar.start(
        jar.document("/bin/sh", "-c", "sleep 1000 & exec sleep 1000", changes={"config.linux.namespaces": found})
    )
    path = running.document["config"]["linux"]["cgroupsPath"]
    others = [os.pidfd_open(pid) for pid in jar.layout.pids(path)]
    running.close()
    assert all(gone(pidfd) for pidfd in others)
    assert not jar.layout.exists(path)


def test_the_end_of_the_first_process_ends_all(jar: Jar) -> None:
    """Killing pid 1 kills every process of its namespace; the record tells by which signal."""
    running = jar.start(jar.document("/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait"))
    pidfd = os.pidfd_open(running.pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert running.wait()["code"] == 137
    path = running.document["config"]["linux"]["cgroupsPath"]
    assert not jar.layout.exists(path)


def test_a_keeper_that_is_killed_takes_its_container_with_it(jar: Jar) -> None:
    """No container without a keeper: nobody would keep its log and its status."""
    running = jar.start(jar.document("/bin/sh", "-c", "sleep 1000 & sleep 1000"))
    pidfd = os.pidfd_open(running.pid)
    os.kill(running.facts["keeper"], signal.SIGKILL)
    assert gone(pidfd)
    jar.layout.remove(running.document["config"]["linux"]["cgroupsPath"])


def test_the_launcher_may_go_and_containers_stay(jar: Jar) -> None:
    """Containers outlive whoever started them, exit codes included."""
    other = Jar()
    try:
        running = other.start(other.document("/bin/sh", "-c", "cat /f; while [ ! -e /go ]; do :; done; exit 7"))
        assert other.launcher is not None
        other.launcher.kill()
        other.launcher.wait()
        Path(running.document["overlay"]["upper"], "go").touch()
        Path(f"/proc/{running.pid}/root/go").touch()
        assert running.wait()["code"] == 7
    finally:
        other.close()


def test_nothing_of_a_container_shows_on_the_host(jar: Jar) -> None:
    """While it runs the host has no mount of it; afterwards nothing at all."""
    running = jar.start(jar.document("/bin/sleep", "1000"))
    mounts = Path("/proc/self/mounts").read_text()
    running.close()
    assert str(jar.root) not in mounts
    assert jar.traces() == set()
