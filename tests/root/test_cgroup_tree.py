"""Groups on the running kernel, whatever cgroup version it has. Every group here is made and removed by the test."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from forked import errno_of
from onggi.engine import default_devices
from onggi.errors import Conflict, KernelError
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.layout import Layout, Write
from onggi.kernel.cgroup.usage import oom_kills, usage
from onggi.kernel.flags import Clone
from onggi.kernel.process import clone

PARENT = f"/onggi-test-{os.getpid()}"
MIB = 1 << 20


@pytest.fixture
def layout() -> Iterator[Layout]:
    """The host's layout; every group below the test's own parent is removed afterwards."""
    found = detect()
    yield found
    found.kill(PARENT)
    found.remove(PARENT)


@pytest.fixture
def group(layout: Layout) -> str:
    """A new group."""
    path = f"{PARENT}/group"
    layout.create(path)
    return path


@contextlib.contextmanager
def member(layout: Layout, path: str, act: Callable[[], int] | None = None) -> Iterator[int]:
    """A process that joins the group by itself, as a container's init does; it ends with what `act` returns."""
    reader, writer = os.pipe()
    target = layout.clone_target(path)
    pid, pidfd = clone(Clone(0), target.fileno() if target else -1)
    if pid == 0:
        code = 99
        with contextlib.suppress(BaseException):  # nothing of the child may return into pytest
            layout.join(path, born_inside=target is not None)
            os.write(writer, b"in")
            code = act() if act else signal.sigwait({signal.SIGUSR1})
        os._exit(code)
    os.close(writer)
    try:
        assert os.read(reader, 2) == b"in"
        yield pid
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # the test may have reaped it
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(pidfd)


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_create_and_remove(layout: Layout, group: str) -> None:
    """A group is there in every hierarchy after create, and in none after remove."""
    assert all(os.path.isdir(directory) for directory in layout.directories(group))
    layout.remove(group)
    assert not layout.exists(group)
    layout.remove(group)  # and removing what is not there is fine


def test_create_twice_is_a_conflict(layout: Layout, group: str) -> None:
    """A group that exists is not taken over."""
    with pytest.raises(Conflict):
        layout.create(group)


def test_a_group_just_below_the_top_can_be_joined(layout: Layout) -> None:
    """A first-level group gets the processors and memory that v1 does not give it by itself."""
    layout.create(PARENT)
    with member(layout, PARENT) as pid:
        assert layout.pids(PARENT) == (pid,)


def test_a_failed_create_leaves_nothing(layout: Layout) -> None:
    """When a later hierarchy already has the group, the directories made before it are removed again."""
    path = f"{PARENT}/half"
    last = layout.directories(path)[-1]
    layout.create(f"{PARENT}/other")
    os.mkdir(last)
    with pytest.raises(Conflict):
        layout.create(path)
    assert [d for d in layout.directories(path) if os.path.isdir(d)] == [last]


def test_a_member_is_in_every_hierarchy(layout: Layout, group: str) -> None:
    """After joining, /proc/PID/cgroup shows the group for each hierarchy, and `pids` lists the process."""
    with member(layout, group) as pid:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            paths = {line.rstrip("\n").split(":", 2)[2] for line in file}
        assert paths == {group}
        assert layout.pids(group) == (pid,)


def test_another_process_can_be_put_in(layout: Layout, group: str) -> None:
    """join with a pid moves that process whole."""
    pid = os.fork()
    if pid == 0:
        signal.sigwait({signal.SIGUSR1})
        os._exit(0)
    try:
        layout.join(group, pid)
        assert layout.pids(group) == (pid,)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_children_and_groups_below_are_killed_too(layout: Layout, group: str) -> None:
    """kill reaches a process that forks on and on, and one in a group below."""

    def breed() -> int:
        for _ in range(50):
            if os.fork() == 0:
                signal.sigwait({signal.SIGUSR1})
        signal.sigwait({signal.SIGUSR1})
        return 0

    for directory in layout.directories(f"{group}/below"):
        os.mkdir(directory)
    with member(layout, group, breed) as pid:
        layout.kill(group)
        assert _exit_code(pid) == -signal.SIGKILL
    layout.remove(group)
    assert not layout.exists(group)


def test_removing_an_occupied_group_names_who_is_in_it(layout: Layout, group: str) -> None:
    """remove gives up after its patience and says which processes are still there."""
    with member(layout, group) as pid, pytest.raises(KernelError, match=str(pid)) as caught:
        layout.remove(group)
    assert caught.value.errno == errno.EBUSY


def test_freeze_and_thaw(layout: Layout, group: str) -> None:
    """A frozen process stands still and dies only when it thaws (v1) or at once (v2); thawing twice is fine."""
    with member(layout, group):
        layout.freeze(group)
        assert layout.is_frozen(group)
        layout.thaw(group)
        layout.thaw(group)
        assert not layout.is_frozen(group)


def test_a_frozen_group_can_be_killed(layout: Layout, group: str) -> None:
    """kill needs no thaw before it."""
    with member(layout, group) as pid:
        layout.freeze(group)
        layout.kill(group)
        assert _exit_code(pid) == -signal.SIGKILL


def test_limits_are_what_the_kernel_shows(layout: Layout, group: str) -> None:
    """Memory and process limits are in force after apply, and usage reads them back."""
    missing = layout.apply(*layout.writes(group, {"memory": {"limit": 64 * MIB}, "pids": {"limit": 33}}))
    assert missing == ()
    with member(layout, group):
        used = usage(layout, group)
    assert (used.memory_limit, used.pids_limit, used.pids) == (64 * MIB, 33, 1)
    assert used.memory is not None
    assert used.cpu_ns is not None


def test_limits_can_be_changed_both_ways(layout: Layout, group: str) -> None:
    """Memory with swap goes down and up again although the kernel wants another order each time."""
    for limit in (64 * MIB, 16 * MIB, 256 * MIB, 32 * MIB):
        layout.apply(*layout.writes(group, {"memory": {"limit": limit, "swap": 2 * limit}}))
        assert usage(layout, group).memory_limit == limit


def test_too_many_processes(layout: Layout, group: str) -> None:
    """The process limit stops a fork bomb: fork fails with EAGAIN."""
    layout.apply(*layout.writes(group, {"pids": {"limit": 3}}))

    def bomb() -> int:
        for number in range(10):
            try:
                if os.fork() == 0:
                    signal.sigwait({signal.SIGUSR1})
            except OSError as error:
                return number if error.errno == errno.EAGAIN else 98
        return 97

    with member(layout, group, bomb) as pid:
        assert _exit_code(pid) == 2
        layout.kill(group)


def test_too_much_memory(layout: Layout, group: str) -> None:
    """Who takes more memory than the limit is killed, and the kill is counted."""
    layout.apply(*layout.writes(group, {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}))
    assert oom_kills(layout, group) == 0

    def eat() -> int:
        return len(bytearray(b"x") * (64 * MIB)) and 0

    with member(layout, group, eat) as pid:
        assert _exit_code(pid) == -signal.SIGKILL
    assert oom_kills(layout, group) == 1


def test_device_rules(layout: Layout, group: str) -> None:
    """Under the default rules /dev/null opens and /dev/kmsg does not, although the process is root."""
    assert errno_of(lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY))) == 0
    layout.apply(*layout.writes(group, {"devices": default_devices.default_rules()}))

    def try_devices() -> int:
        os.close(os.open("/dev/null", os.O_RDWR))
        return errno_of(lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY)))

    with member(layout, group, try_devices) as pid:
        assert _exit_code(pid) == errno.EPERM


def test_device_rules_can_be_changed(layout: Layout, group: str) -> None:
    """A second list takes the place of the first one, also when it allows more."""
    rules = default_devices.default_rules()
    layout.apply(*layout.writes(group, {"devices": rules}))
    layout.apply(*layout.writes(group, {"devices": [*rules, default_devices.device_rule("c", 1, 11, "r")]}))

    def try_devices() -> int:
        return errno_of(lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY)))

    with member(layout, group, try_devices) as pid:
        assert _exit_code(pid) == 0


def test_privileged_rules_allow_all(layout: Layout, group: str) -> None:
    """The privileged list opens what the default one shuts."""
    layout.apply(*layout.writes(group, {"devices": default_devices.privileged_rules()}))

    def try_devices() -> int:
        return errno_of(lambda: os.close(os.open("/dev/kmsg", os.O_RDONLY)))

    with member(layout, group, try_devices) as pid:
        assert _exit_code(pid) == 0


def test_processor_limits_are_taken(layout: Layout, group: str) -> None:
    """Shares, quota, period and processors are accepted by this kernel, or named as missing."""
    given = {"cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"}}
    fields = {item.field for item in layout.apply(*layout.writes(group, given))}
    assert fields <= {"cpu.shares", "cpu.quota", "cpu.period", "cpu.cpus"}
    with member(layout, group) as pid:
        assert os.sched_getaffinity(pid) == {0} or "cpu.cpus" in fields


def test_a_refused_value_says_what_and_where(layout: Layout, group: str) -> None:
    """A value that the kernel calls invalid is an error with file and value, not a warning."""
    with pytest.raises(KernelError) as caught:
        layout.apply(*layout.writes(group, {"cpu": {"cpus": "4000-5000"}}))
    assert "cpuset.cpus" in str(caught.value)
    assert "4000-5000" in str(caught.value)


def test_a_missing_file_is_a_named_warning(layout: Layout, group: str) -> None:
    """A limit for which this kernel has no file is returned by name; one that must be kept is an error."""
    directory = layout.directories(group)[0]
    (missing,) = layout.apply(Write(directory, "no.such_file", "1", "memory.swap"))
    assert missing.field == "memory.swap"
    with pytest.raises(KernelError):
        layout.apply(Write(directory, "no.such_file", "1", "devices", must=True))


def test_two_threads_are_moved_together(layout: Layout, group: str) -> None:
    """A process with a second thread still moves whole."""
    import threading

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        threading.Thread(target=signal.pause, daemon=True).start()
        layout.join(group)
        os.write(writer, str(len(os.listdir("/proc/self/task"))).encode())
        signal.sigwait({signal.SIGUSR1})
        os._exit(0)
    try:
        assert os.read(reader, 5) == b"2"
        for directory in layout.directories(group):
            with open(f"{directory}/cgroup.threads" if layout.mode == "v2" else f"{directory}/cgroup.procs") as file:
                assert len(file.read().split()) == (2 if layout.mode == "v2" else 1), directory
            tasks = f"{directory}/tasks"
            if os.path.exists(tasks):
                with open(tasks) as file:
                    assert len(file.read().split()) == 2, directory
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
