"""How a container's process is scheduled, limited and named: what the kernel says of it afterwards."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from harness.oci import Oci
from harness.probes import needs
from onggi.kernel import attributes, procfs
from onggi.kernel.cgroup.detect import detect

FIRST = 3_000_000
NAMESPACES = ("mount", "pid", "ipc", "uts", "network", "cgroup")
STAT = "cat /proc/self/stat"


def said(oci: Oci, script: str, changes: dict[str, Any]) -> list[str]:
    """What a shell in the container prints, by words; nothing went wrong, and nothing is left."""
    done = oci.run("/bin/sh", "-c", script, changes=changes)
    assert (done.returncode, done.stderr) == (0, "")
    assert oci.left() == []
    return done.stdout.split()


def refused(oci: Oci, changes: dict[str, Any]) -> str:
    """What is said of a configuration that is not run; nothing is left."""
    done = oci.run("/bin/true", changes=changes)
    assert (done.returncode, done.stdout) == (1, "")
    assert oci.left() == []
    return done.stderr


def can_schedule(policy: str, **numbers: int) -> bool:
    """Whether this machine lets us have a policy at all."""
    pid = os.fork()
    if pid == 0:
        try:
            attributes.set_scheduler(attributes.POLICIES[policy], 0, **numbers)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [("SCHED_BATCH", {}), ("SCHED_IDLE", {}), ("SCHED_FIFO", {"priority": 5}), ("SCHED_RR", {"priority": 7})],
)
def test_the_policy_is_in_force(oci: Oci, policy: str, numbers: dict[str, int]) -> None:
    """Policy and real-time priority of the program, as /proc/PID/stat has them (proc(5): fields 41 and 40)."""
    needs(can_schedule(policy, **numbers), f"{policy} for us")
    shared_out = any(os.path.exists(f"{mount.directory}/cpu.rt_runtime_us") for mount in detect().mounts)
    needs(not (numbers and shared_out), "real-time policies in a new group (CONFIG_RT_GROUP_SCHED)")
    fields = said(oci, STAT, {"process.scheduler": {"policy": policy, **numbers}})
    assert (int(fields[40]), int(fields[39])) == (attributes.POLICIES[policy], numbers.get("priority", 0))


def test_nice_comes_with_the_policy(oci: Oci) -> None:
    """sched_setattr(2) sets it; /proc/PID/stat has it as field 19."""
    assert said(oci, STAT, {"process.scheduler": {"policy": "SCHED_OTHER", "nice": 11}})[18] == "11"


def test_a_deadline_may_not_fork_and_is_gone_in_children(oci: Oci) -> None:
    """SCHED_DEADLINE with reset-on-fork: the program has it, its child is an ordinary process."""
    times = {"runtime": 5_000_000, "deadline": 50_000_000, "period": 100_000_000}
    needs(can_schedule("SCHED_DEADLINE", **times), "SCHED_DEADLINE for us")
    scheduler = {"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"], **times}
    program, child = (
        line.split()[40]
        for line in _lines(oci, "read x < /proc/self/stat; echo $x; cat /proc/self/stat; true", scheduler)
    )
    assert (program, child) == ("6", "0")


def _lines(oci: Oci, script: str, scheduler: dict[str, Any]) -> list[str]:
    done = oci.run("/bin/sh", "-c", script, changes={"process.scheduler": scheduler})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_deadline_on_some_processors_only_is_explained(oci: Oci) -> None:
    """The kernel says EPERM and no more; we know why."""
    times = {"runtime": 5_000_000, "deadline": 50_000_000}
    needs(can_schedule("SCHED_DEADLINE", **times) and (os.cpu_count() or 1) > 1, "SCHED_DEADLINE on several processors")
    cpus = {"linux.resources.cpu": {"cpus": "0"}, "process.scheduler": {"policy": "SCHED_DEADLINE", **times}}
    assert "process scheduler can't be used together with AllowedCPUs" in refused(oci, cpus)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"class": "IOPRIO_CLASS_BE", "priority": 4}, "best-effort: prio 4"),
        ({"class": "IOPRIO_CLASS_RT", "priority": 0}, "realtime: prio 0"),
        ({"class": "IOPRIO_CLASS_IDLE"}, "idle"),
    ],
)
def test_the_io_priority_is_in_force(oci: Oci, given: dict[str, Any], shown: str) -> None:
    """busybox's ionice asks the kernel."""
    assert " ".join(said(oci, "ionice", {"process.ioPriority": given})) == shown


@pytest.mark.parametrize(("domain", "machine"), [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_the_personality_names_the_machine(oci: Oci, domain: str, machine: str) -> None:
    """personality(2): what uname(2) says."""
    needs(os.uname().machine == "x86_64", "two personalities with these names")
    assert said(oci, "uname -m", {"linux.personality": {"domain": domain}}) == [machine]


def test_flags_of_a_personality_are_not_passed_over_in_silence(oci: Oci) -> None:
    """The specification knows none; runc goes on with a warning."""
    given = {"linux.personality": {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}}
    done = oci.run("/bin/true", changes=given)
    assert done.returncode == 0
    assert "ignoring unsupported personality flags: [ADDR_NO_RANDOMIZE]" in done.stderr


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "prefer=relative:0"),
        ({"mode": "MPOL_PREFERRED"}, "local"),
    ],
)
def test_the_memory_policy_is_in_force(oci: Oci, policy: dict[str, Any], shown: str) -> None:
    """/proc/PID/numa_maps has the policy of each mapping."""
    needs(Path("/proc/self/numa_maps").exists(), "memory policies")
    script = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2"
    assert said(oci, script, {"linux.memoryPolicy": policy}) == [shown]


def test_what_the_kernel_makes_of_a_policy_is_told(oci: Oci) -> None:
    """A node that this machine has not: the call, what for, and the errno."""
    needs(Path("/proc/self/numa_maps").exists(), "memory policies")
    text = refused(oci, {"linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": "900"}})
    assert "numactl --bind=900" in text
    assert "set_mempolicy" in text
    assert "EINVAL" in text


def test_limits_are_set_to_the_bit(oci: Oci) -> None:
    """Names that the standard library has not, values that it cannot hold."""
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 20, "hard": 30},
        {"type": "RLIMIT_LOCKS", "soft": 7, "hard": 8},
        {"type": "RLIMIT_SIGPENDING", "soft": 100, "hard": 200},
        {"type": "RLIMIT_FSIZE", "soft": 2**63 + 1, "hard": 2**64 - 1},
    ]
    words = " ".join(said(oci, "cat /proc/self/limits", {"process.rlimits": limits}))
    assert "Max open files 20 30" in words
    assert "Max file locks 7 8" in words
    assert "Max pending signals 100 200" in words
    assert f"Max file size {2**63 + 1} unlimited" in words


def test_with_ids_of_its_own_limits_are_set_as_well(oci: Oci) -> None:
    """In a user namespace."""
    oci.give_to(FIRST)
    maps = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": hard}]
    changes = {"linux.namespaces": plans.namespaces("user", *NAMESPACES), "process.rlimits": limits}
    changes |= {"linux.uidMappings": maps, "linux.gidMappings": maps}
    assert said(oci, "ulimit -Sn; ulimit -Hn", changes) == ["20", str(hard)]


def may_raise_limits() -> bool:
    """Whether we have CAP_SYS_RESOURCE."""
    words = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return bool(int(words["CapEff"], 16) >> 24 & 1)


def test_a_limit_that_cannot_be_set_is_an_error(oci: Oci) -> None:
    """The specification: the values MUST match. What the engine makes a warning of, `onggi-oci` does not."""
    needs(not may_raise_limits(), "lack of CAP_SYS_RESOURCE")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    text = refused(oci, {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": hard + 1}]})
    assert "error setting rlimit" in text
    assert "CAP_SYS_RESOURCE" in text


def test_a_soft_limit_above_the_hard_one_is_an_error(oci: Oci) -> None:
    """The kernel's EINVAL, with the values."""
    text = refused(oci, {"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}]})
    assert "RLIMIT_NOFILE=9:8" in text


def test_the_oom_score_is_set_or_the_start_fails(oci: Oci) -> None:
    """To raise it anybody may; to lower it takes CAP_SYS_RESOURCE."""
    assert said(oci, "cat /proc/self/oom_score_adj", {"process.oomScoreAdj": 700}) == ["700"]
    now = int(Path("/proc/self/oom_score_adj").read_text())
    assert said(oci, "cat /proc/self/oom_score_adj", {"process.oomScoreAdj": now}) == [str(now)]
    needs(not may_raise_limits(), "lack of CAP_SYS_RESOURCE")
    assert "choom -n -900" in refused(oci, {"process.oomScoreAdj": -900})


def test_the_groups_are_those_that_are_named(oci: Oci) -> None:
    """`additionalGids`: exactly these, as runc has it; and the umask."""
    user = {"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o077}
    words = said(oci, "grep -E '^(Groups|Umask):' /proc/self/status", {"process.user": user})
    assert words == ["Umask:", "0077", "Groups:", "7", "8"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("kernel.msgmax", "4321"), ("net/ipv4/ip_local_port_range", "5000\t6000"), ("kernel.domainname", "d")],
)
def test_a_parameter_of_its_own_is_set(oci: Oci, key: str, value: str) -> None:
    """In the container, and in none of the host's namespaces."""
    file = f"/proc/sys/{key.replace('.', '/')}"
    before = Path(file).read_text()
    assert said(oci, f"cat {file}", {"linux.sysctl": {key: value}}) == value.split()
    assert Path(file).read_text() == before


def test_a_parameter_is_set_without_a_proc_of_its_own(oci: Oci) -> None:
    """The container need not see the /proc that it is written through."""
    script = "mount -t proc proc /tmp && cat /tmp/sys/kernel/msgmax"
    mounts = [entry for entry in plans.base_mounts() if entry["destination"] != "/proc"]
    changes: dict[str, Any] = {"mounts": mounts, "linux.maskedPaths": [], "linux.readonlyPaths": []}
    changes["process.capabilities"] = {kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")}
    assert said(oci, script, {**changes, "linux.sysctl": {"kernel.msgmax": "4321"}}) == ["4321"]


def test_a_parameter_is_written_past_what_lies_on_top_of_it(oci: Oci) -> None:
    """CVE-2025-52881: a file mounted over /proc/sys/… would take the write in the kernel's place."""
    trap = oci.place / "trap"
    trap.write_text("untouched")
    lxcfs = plans.mount("/proc/sys/kernel/ns_last_pid", "bind", ["bind"], str(trap))
    covered = {"mounts": [*plans.base_mounts(), lxcfs], "linux.sysctl": {"net.ipv4.ip_forward": "1"}}
    assert said(oci, "cat /proc/sys/net/ipv4/ip_forward", covered) == ["1"]
    assert trap.read_text() == "untouched"


def test_what_is_no_procfs_is_not_written_to(tmp_path: Path) -> None:
    """The file at the right place of another file system stays as it is; the kernel's own gets the write."""
    needs(os.geteuid() == 0, "root")
    fake = tmp_path / "sys/kernel/ns_last_pid"
    fake.parent.mkdir(parents=True)
    fake.write_text("untouched")
    place = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert not procfs.is_procfs(place)
        procfs.write(place, f"{os.getpid()}/comm", b"renamed")
    finally:
        os.close(place)
    assert fake.read_text() == "untouched"
    assert Path("/proc/self/comm").read_text() == "renamed\n"


def test_clocks_of_its_own(oci: Oci) -> None:
    """`linux.timeOffsets`, and none in a time namespace without."""
    kinds = plans.namespaces("time", *NAMESPACES)
    offsets = {"monotonic": {"secs": 7881, "nanosecs": 2718281}, "boottime": {"secs": 1337}}
    script = "cat /proc/self/timens_offsets"
    words = said(oci, script, {"linux.namespaces": kinds, "linux.timeOffsets": offsets})
    assert words == ["monotonic", "7881", "2718281", "boottime", "1337", "0"]
    assert said(oci, script, {"linux.namespaces": kinds}) == ["monotonic", "0", "0", "boottime", "0", "0"]
