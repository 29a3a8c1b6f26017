"""`onggi-oci update`: what the kernel has afterwards, on the running kernel's cgroup version."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.oci import SECONDS, Oci
from harness.probes import needs
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.limits import number, read
from onggi.runc import state

MIB = 1 << 20
KMSG = {"type": "c", "major": 1, "minor": 11}


class Updated:
    """A container that runs, and its group's files."""

    def __init__(self, oci: Oci) -> None:
        self.oci = oci
        self.layout = detect()
        self.path = f"{oci.group}/c"

    def start(self, script: str = "exec sleep 1000", changes: dict[str, Any] | None = None) -> None:
        """Run it in the background."""
        self.oci.configure("/bin/sh", "-c", script, changes=changes)
        words = [*self.oci.words, "run", "-d", "-b", str(self.oci.bundle), "c"]
        subprocess.run(words, timeout=SECONDS, check=True, stdout=(self.oci.place / "out").open("wb"))

    def __call__(self, *words: str, document: object = None) -> subprocess.CompletedProcess[str]:
        """`update` with these flags, or with a document on standard input."""
        if document is not None:
            words = ("-r", "-", *words)
        text = json.dumps(document) if document is not None else ""
        command = [*self.oci.words, "update", *words, "c"]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=SECONDS, check=False)

    def file(self, controller: str, v1: str, v2: str) -> str:
        """What the group's file says."""
        place = self.layout.place(controller, self.path)
        assert place is not None
        return read(place.directory, v1 if place.version == 1 else v2)

    def memory(self) -> int | None:
        return number(self.file("memory", "memory.limit_in_bytes", "memory.max"))

    def pids(self) -> str:
        return self.file("pids", "pids.max", "pids.max")

    def kept(self) -> Any:
        """The resources in the container's state."""
        return state.read(str(self.oci.place / "state"), "c")["config"]["linux"]["resources"]


@pytest.fixture
def updated(oci: Oci) -> Iterator[Updated]:
    """A container to be updated."""
    made = Updated(oci)
    yield made
    oci("delete", "--force", "c")


def test_flags_change_limits_and_are_kept(updated: Updated) -> None:
    """The kernel has them, the state too, and what was not named is as before."""
    updated.start(changes={"linux.resources": {"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}}})
    done = updated("--memory", "48m", "--cpu-share", "512")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (updated.memory(), updated.pids()) == (48 * MIB, "50")
    assert updated.file("cpu", "cpu.shares", "cpu.weight") in ("512", "59")
    assert updated.kept()["memory"] == {"limit": 48 * MIB}
    assert updated.kept()["cpu"] == {"shares": 512}
    assert updated("--memory", "-1").returncode == 0
    assert updated.memory() is None


def test_resources_from_a_file_or_standard_input(updated: Updated) -> None:
    """Then flags do not count; a file that is not there or no JSON is an error."""
    updated.start()
    assert updated("--pids-limit", "9", document={"pids": {"limit": 21}}).returncode == 0
    assert updated.pids() == "21"
    path = updated.oci.place / "resources.json"
    path.write_text('{"pids": {"limit": -1}}')
    assert updated("--resources", str(path)).returncode == 0
    assert updated.pids() == "max"
    path.write_text("{")
    assert updated("-r", str(path)).returncode == 1
    assert "no such file or directory" in updated("-r", "/nowhere").stderr


def test_a_period_alone_keeps_its_quota(updated: Updated) -> None:
    """And a quota its period, whatever the version writes."""
    updated.start(changes={"linux.resources": {"cpu": {"quota": 50000, "period": 100000}}})
    assert updated("--cpu-period", "200000").returncode == 0
    assert updated("--cpu-quota", "60000").returncode == 0
    if updated.layout.mode == "v2":
        assert updated.file("cpu", "", "cpu.max") == "60000 200000"
    else:
        assert updated.file("cpu", "cpu.cfs_quota_us", "") == "60000"
        assert updated.file("cpu", "cpu.cfs_period_us", "") == "200000"


def test_memory_and_swap_change_together_both_ways(updated: Updated) -> None:
    """Up and down, although v1's kernel wants another order each time."""
    updated.start(changes={"linux.resources": {"memory": {"limit": 30 * MIB, "swap": 50 * MIB}}})
    for limit, swap in ((60, 80), (20, 40), (40, 40)):
        done = updated("--memory", f"{limit}m", "--memory-swap", f"{swap}m")
        assert (done.returncode, done.stderr) == (0, "")
        expected = swap if updated.layout.mode != "v2" else swap - limit
        assert updated.memory() == limit * MIB
        swap_now = updated.file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
        assert swap_now in (str(expected * MIB), "")


def test_one_refused_value_leaves_all_as_it_was(updated: Updated) -> None:
    """Those written before it are set back, and the state keeps what holds."""
    updated.start(
        changes={"linux.resources": {"pids": {"limit": 50}, "memory": {"limit": 64 * MIB}, "cpu": {"cpus": "0"}}}
    )
    done = updated("--pids-limit", "20", "--memory", "32m", "--cpuset-cpus", "4000")
    assert done.returncode == 1
    assert "cpuset.cpus" in done.stderr
    assert (updated.memory(), updated.pids()) == (64 * MIB, "50")
    assert updated.kept()["pids"] == {"limit": 50}


@pytest.mark.parametrize(
    "words", [("--memory", "lots"), ("--cpu-share", "x"), ("--l3-cache-schema", "L3:0=f"), ("--nonsense",)]
)
def test_a_bad_word_changes_nothing(updated: Updated, words: tuple[str, ...]) -> None:
    """By its name, with exit status 1."""
    updated.start()
    before = updated.kept()
    done = updated("--pids-limit", "7", *words)
    assert done.returncode == 1
    assert words[0].lstrip("-")[:6] in done.stderr
    assert updated.kept() == before
    assert updated.pids() == "50"


def test_a_container_that_does_not_run_is_not_updated(updated: Updated) -> None:
    """In runc's words; one that is paused or only created is."""
    updated.start()
    updated.oci("pause", "c")
    assert updated("--pids-limit", "30").returncode == 0
    assert json.loads(updated.oci("state", "c").stdout)["status"] == "paused"
    updated.oci("resume", "c")
    pidfd = os.pidfd_open(json.loads(updated.oci("state", "c").stdout)["pid"])
    updated.oci("kill", "c", "KILL")
    import select

    assert select.select([pidfd], [], [], SECONDS)[0]
    os.close(pidfd)
    assert "container not running" in updated("--pids-limit", "31").stderr


def test_two_updates_at_once_both_hold(updated: Updated) -> None:
    """The state of the later one knows of the earlier one."""
    updated.start()
    words = [*updated.oci.words, "update"]
    running = [
        subprocess.Popen([*words, *flags, "c"])
        for flags in (("--pids-limit", "33"), ("--memory", "40m"), ("--cpu-share", "300"), ("--cpuset-cpus", "0"))
    ]
    assert [each.wait(SECONDS) for each in running] == [0, 0, 0, 0]
    kept = updated.kept()
    assert (kept["pids"], kept["memory"], kept["cpu"]) == (
        {"limit": 33}, {"limit": 40 * MIB}, {"shares": 300, "cpus": "0"},
    )  # fmt: skip


def can_read_kernel_log() -> bool:
    """Whether this machine lets root read /dev/kmsg at all."""
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY))
    except OSError:
        return False
    return True


def test_device_rules_change_while_it_runs(updated: Updated) -> None:
    """Allowed, and taken away again; /dev/null works at every moment, which a loop inside sees."""
    needs(can_read_kernel_log(), "readable /dev/kmsg")
    deny: dict[str, Any] = {"allow": False, "access": "rwm"}
    updated.start(
        "while :; do echo x > /dev/null || echo broken; (: < /dev/kmsg) && echo yes || echo no; done > /tmp/now 2>&1",
        {
            "linux.resources": {"devices": [deny]},
            "linux.devices": [{"path": "/dev/kmsg", **KMSG}],
            "process.capabilities": {kind: ["CAP_SYSLOG"] for kind in ("bounding", "permitted", "effective")},
        },
    )
    now = updated.oci.bundle / "rootfs/tmp/now"
    assert wait_for(now, "no\n")
    for _ in range(20):
        assert updated(document={"devices": [deny, {"allow": True, **KMSG, "access": "r"}]}).returncode == 0
        assert updated(document={"devices": [deny]}).returncode == 0
    assert updated(document={"devices": [deny, {"allow": True, **KMSG, "access": "r"}]}).returncode == 0
    now.write_text("")
    assert wait_for(now, "yes\n")
    assert "broken" not in now.read_text()


def wait_for(file: Path, text: str) -> bool:
    """Until the file has the text."""
    import time

    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if file.exists() and text in file.read_text(errors="replace"):
            return True
        os.sched_yield()
    return False


def test_a_limit_below_what_is_used_is_refused_if_asked(updated: Updated) -> None:
    """v2 would kill at once; `checkBeforeUpdate` says no. v1 says no by itself, or makes room."""
    needs(updated.layout.mode == "v2", "cgroup v2 alone")
    updated.start()
    for given, words in (({"limit": 1024}, "memory limit"), ({"limit": 1024, "swap": 2048}, "memory+swap limit")):
        done = updated(document={"memory": {**given, "checkBeforeUpdate": True}})
        assert done.returncode == 1
        assert f"rejecting {words}" in done.stderr
    assert json.loads(updated.oci("state", "c").stdout)["status"] == "running"
