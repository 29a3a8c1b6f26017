"""A host's cgroups behind one interface, v1, hybrid or v2.

A path (`/onggi/<id>`) names one group; on v1 it is a directory in each hierarchy, on v2 one directory. What the group
needs can be asked without touching anything (`directories`, `writes`, `missing`, `joins`), so that the plan can list
it; the rest acts. Made by `detect`. Callers: `runtime/`, `engine/`, `glass/`. Read next: `tree`.

The order of a start, and why it is cheap:

    create(path)        a few mkdirs; v2: controllers switched on above
    apply(*writes(…))   the limits, before anybody is inside
    clone3 with CLONE_INTO_CGROUP on clone_target(path)   v2 and hybrid: the child is born in the group
    join(path, born_inside=True)                          by the child itself, while it has one thread

Moving a whole process (a write to `cgroup.procs`) takes a lock against every fork on the machine, and the first to take
it after a pause waits 5 to 20 ms for an RCU grace period. Neither of the two ways above takes it: a child that is born
inside is not moved, and on v1 a process with one thread may move *that thread* (write 0 to `tasks`), which is the same
move without the lock (kernel commit 9a3284fad42f).
"""

from __future__ import annotations

import errno
import os
import time

from onggi.errors import Conflict, Invalid, KernelError, Unavailable
from onggi.kernel.cgroup import tree, v1, v2
from onggi.kernel.cgroup.limits import DeviceProgram, Limits, Missing, Write, read, write
from onggi.kernel.fd import Fd
from onggi.unwinding import ExitStack
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["DeviceProgram", "Layout", "Missing", "Mount", "Usage", "Write"]

_PATIENCE = 2.0
"""Seconds that a kernel gets to let go of a dead process or to freeze a living one."""

# A section of linux.resources, the controller that decides whether it is done the v1 or the v2 way, and both ways: where
# v2 kept v1's files they are one.
_SECTIONS = (
    ("devices", "devices", v1.devices, v2.devices),
    ("memory", "memory", v1.memory, v2.memory),
    ("cpu", "cpu", v1.cpu, v2.cpu),
    ("cpu", "cpuset", v1.cpuset, v1.cpuset),
    ("pids", "pids", v1.pids, v1.pids),
    ("blockIO", "io", v1.block_io, v2.block_io),
    ("hugepageLimits", "hugetlb", v1.huge_pages, v2.huge_pages),
    ("rdma", "rdma", v1.rdma, v1.rdma),
    ("network", "net_cls", v1.network, v2.network),
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One hierarchy: where it is mounted, which controllers it has, v1 or v2; `name` for one without controllers."""

    directory: str
    controllers: tuple[str, ...]
    version: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group uses now; None where its controller is not there."""

    memory: int | None = None
    memory_peak: int | None = None
    memory_limit: int | None = None
    """None also for no limit."""
    cpu_ns: int | None = None
    pids: int | None = None
    pids_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How this host has its cgroups."""

    mode: str
    """`v1`, `hybrid` (v1 controllers, and a v2 tree beside them) or `v2`."""
    mounts: tuple[Mount, ...]
    """v1 hierarchies first, the v2 tree last."""

    # -- answers, without touching anything ----------------------------------------------------------------------------

    def directories(self, path: str) -> tuple[str, ...]:
        """The group's directory in each hierarchy; `/` is the top of each."""
        checked = _checked(path)
        return tuple(mount.directory + checked for mount in self.mounts)

    def directory(self, controller: str, path: str) -> str | None:
        """The group's directory in the hierarchy that has the controller; None where the host has none."""
        mount = self._mount(controller)
        return mount.directory + _checked(path) if mount else None

    def writes(self, path: str, resources: Mapping[str, Any]) -> tuple[Write | DeviceProgram, ...]:
        """The runtime spec's `linux.resources` as writes in the order in which a new group takes them."""
        return tuple(self._limits(path, resources).writes)

    def missing(self, resources: Mapping[str, Any]) -> tuple[Missing, ...]:
        """What of `linux.resources` this host cannot do, as far as can be told before a group exists."""
        return tuple(self._limits("/", resources).missing)

    def warnings(self, resources: Mapping[str, Any]) -> tuple[str, ...]:
        """`missing` in words."""
        return tuple(item.text() for item in self.missing(resources))

    def name_of(self, directory: str) -> str:
        """The name below `/sys/fs/cgroup` of the hierarchy that a group's directory is in: `memory`, `unified`."""
        for mount in self.mounts:
            if directory == mount.directory or directory.startswith(mount.directory + "/"):
                return os.path.basename(mount.directory)
        raise Invalid("name cgroup hierarchy", directory, "it is in none")

    def joins(self, path: str, *, born_inside: bool = False) -> tuple[Write, ...]:
        """The writes by which a process with one thread joins the group; without v2's when it was born there."""
        checked = _checked(path)
        return tuple(
            Write(mount.directory + checked, "tasks" if mount.version == 1 else "cgroup.procs", "0", must=True)
            for mount in self.mounts
            if not (born_inside and mount.version == 2)
        )

    # -- acts ----------------------------------------------------------------------------------------------------------

    def create(self, path: str) -> tuple[Missing, ...]:
        """Make the group, and what is missing above it; returns the v2 controllers that could not be switched on.

        `Conflict` when it is there already; nothing is left behind on failure.
        """
        off: tuple[str, ...] = ()
        with ExitStack() as undo:
            for mount in self.mounts:
                directory = mount.directory + _below_top(path)
                try:
                    made = tree.make(
                        directory, mount.directory, cpuset=mount.version == 1 and "cpuset" in mount.controllers
                    )
                except OSError as error:
                    raise KernelError("mkdir", directory, error.errno or 0, hint=_mkdir_hint(error)) from error
                if not made:
                    raise Conflict("create cgroup", path, f"{directory} exists already", code="cgroup.exists")
                undo.callback(tree.remove, directory, time.monotonic() + _PATIENCE)
                if mount.version == 2:
                    off = tree.enable(os.path.dirname(directory), mount.directory)
            undo.pop_all()
        return tuple(
            Missing(controller, f"the {controller} controller cannot be switched on here") for controller in off
        )

    def apply(self, *writes: Write | DeviceProgram) -> tuple[Missing, ...]:
        """Do the writes in their order; returns what the kernel turned out not to have.

        One that the kernel calls invalid is tried once more after the others: limits that are bound to each other
        (memory with swap, quota with period) may only fit together in the other order when a group already has some.
        """
        missing: list[Missing | None] = []
        later: list[Write | DeviceProgram] = []
        for item in writes:
            try:
                missing.append(item.apply())
            except KernelError as error:
                if error.errno != errno.EINVAL:
                    raise
                later.append(item)
        missing += [item.apply() for item in later]
        return tuple(item for item in missing if item)

    def clone_target(self, path: str) -> Fd | None:
        """The group's v2 directory, for clone3(2) with CLONE_INTO_CGROUP; None where there is no v2 tree."""
        last = self.mounts[-1]
        if last.version != 2:
            return None
        return Fd(os.open(last.directory + _checked(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def join(self, path: str, pid: int = 0, *, born_inside: bool = False) -> None:
        """Move a process into the group: the caller itself (0), which is fast while it has one thread, or another.

        `born_inside`: it was cloned into the group's v2 directory already.
        """
        alone = pid == 0 and _has_one_thread()
        for item in self.joins(path, born_inside=born_inside):
            file = item.file if alone else "cgroup.procs"
            write(item.directory, file, str(pid))

    def pids(self, path: str) -> tuple[int, ...]:
        """Every process in the group and the groups below it."""
        return tree.pids(self._main(path))

    def exists(self, path: str) -> bool:
        """Whether the group is there in any hierarchy."""
        return any(os.path.isdir(directory) for directory in self.directories(path))

    def kill(self, path: str) -> None:
        """SIGKILL to every process in the group and below, so that none escapes by forking; bounded."""
        main = self._main(_below_top(path))
        if self.mode == "v2":
            try:
                return write(main, "cgroup.kill", "1")
            except KernelError as error:
                if error.errno != errno.ENOENT:  # a kernel before 5.14 has no such file
                    raise
        if not tree.pids(main):
            return None  # who is not there cannot fork: the usual end of a container, whose first process has died
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            frozen = self._try_freeze(path)
            signalled = tree.signal_all(main)
            if frozen:
                self.thaw(path)
            if frozen or not signalled:
                return None  # what is frozen cannot fork, so one round reached all
        return None

    def remove(self, path: str) -> None:
        """Remove the group and those below it, wherever they are there; KernelError EBUSY after two seconds."""
        deadline = time.monotonic() + _PATIENCE
        for directory in reversed(self.directories(_below_top(path))):
            tree.remove(directory, deadline)

    def freeze(self, path: str) -> None:
        """Stop every process in the group and wait until they stand still; `Unavailable` where the kernel cannot."""
        mount = self._mount("freezer")
        if mount is None:
            raise Unavailable("freeze", path, "the host has no freezer controller")
        directory = mount.directory + _below_top(path)
        file, value = ("freezer.state", "FROZEN") if mount.version == 1 else ("cgroup.freeze", "1")
        deadline = time.monotonic() + _PATIENCE
        write(directory, file, value)
        while not _is_frozen(mount, directory):
            if time.monotonic() >= deadline:
                self.thaw(path)
                raise Unavailable("freeze", path, f"its processes did not stop within {_PATIENCE:.0f} s")
            time.sleep(0.001)
            if mount.version == 1:
                write(directory, file, value)  # v1 gives up on a task that was in the middle of something: ask again

    def thaw(self, path: str) -> None:
        """Let the processes of the group go on; not being frozen is fine."""
        mount = self._mount("freezer")
        if mount is None:
            raise Unavailable("thaw", path, "the host has no freezer controller")
        directory = mount.directory + _checked(path)
        write(directory, *(("freezer.state", "THAWED") if mount.version == 1 else ("cgroup.freeze", "0")))

    def is_frozen(self, path: str) -> bool:
        """Whether the group's processes stand still."""
        mount = self._mount("freezer")
        return mount is not None and _is_frozen(mount, mount.directory + _checked(path))

    def oom_kills(self, path: str) -> int:
        """How many processes of the group the kernel killed for want of memory."""
        mount = self._mount("memory")
        if mount is None:
            return 0
        file = "memory.oom_control" if mount.version == 1 else "memory.events"
        return _keyed(read(mount.directory + _checked(path), file)).get("oom_kill", 0)

    def usage(self, path: str) -> Usage:
        """Memory, processor time and processes of the group, now."""
        memory, cpu, pids = (self._mount(name) for name in ("memory", "cpuacct", "pids"))
        found: dict[str, int | None] = {}
        checked = _checked(path)
        if memory:
            for key, names in _MEMORY_FILES.items():
                found[key] = _number(read(memory.directory + checked, names[memory.version - 1]))
        if cpu and cpu.version == 1:
            found["cpu_ns"] = _number(read(cpu.directory + checked, "cpuacct.usage"))
        elif cpu:
            found["cpu_ns"] = _keyed(read(cpu.directory + checked, "cpu.stat")).get("usage_usec", 0) * 1000
        if pids:
            found["pids"] = _number(read(pids.directory + checked, "pids.current"))
            found["pids_limit"] = _number(read(pids.directory + checked, "pids.max"))
        return Usage(**found)

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _mount(self, controller: str) -> Mount | None:
        return next((mount for mount in self.mounts if controller in mount.controllers), None)

    def _main(self, path: str) -> str:
        """The directory in the hierarchy that says who is in the group: one that every member has joined."""
        mount = self._mount("freezer") or self._mount("pids") or self.mounts[0]
        return mount.directory + _checked(path)

    def _limits(self, path: str, resources: Mapping[str, Any]) -> Limits:
        checked = _checked(path)
        versions = {c: mount.version for mount in self.mounts for c in mount.controllers}
        limits = Limits({c: mount.directory + checked for mount in self.mounts for c in mount.controllers})
        default = 2 if self.mode == "v2" else 1
        for section, controller, old, new in _SECTIONS:
            given = resources.get(section)
            if given:
                way: Any = old if versions.get(controller, default) == 1 else new
                way(limits, given)
        self._unified(limits, checked, resources.get("unified") or {})
        return limits

    def _unified(self, limits: Limits, checked: str, given: Mapping[str, str]) -> None:
        """`linux.resources.unified`: v2 files by their own names, so the v2 tree must have the controller."""
        tops = {c: mount.directory for mount in self.mounts if mount.version == 2 for c in mount.controllers}
        for file, value in given.items():
            controller = file.partition(".")[0]
            if "/" in file or "." not in file:
                raise Invalid("read cgroup limits", file, "not a file name of cgroup v2")
            if controller in tops or (controller == "cgroup" and tops):
                top = tops.get(controller) or next(iter(tops.values()))
                limits.writes.append(Write(top + checked, file, value, f"unified.{file}"))
            else:
                limits.lack(f"unified.{file}", f"the host has no {controller} controller in a cgroup v2 tree")

    def _try_freeze(self, path: str) -> bool:
        try:
            self.freeze(path)
        except (Unavailable, KernelError):
            return False  # without a freezer the caller goes round until nobody is left
        return True


_MEMORY_FILES = {
    "memory": ("memory.usage_in_bytes", "memory.current"),
    "memory_peak": ("memory.max_usage_in_bytes", "memory.peak"),
    "memory_limit": ("memory.limit_in_bytes", "memory.max"),
}
_NO_LIMIT = 1 << 62  # v1 shows the largest number of whole pages for no limit


def _checked(path: str) -> str:
    """The path, if it names a group; empty for `/`, so that it can follow a directory."""
    if path == "/":
        return ""
    parts = path.split("/")
    if not path.startswith("/") or any(part in ("", ".", "..") for part in parts[1:]) or "\0" in path:
        raise Invalid("read cgroup path", path, "must be absolute, without empty, `.` or `..` parts")
    return path


def _below_top(path: str) -> str:
    """The path, unless it is the top: nobody kills, freezes or removes the whole machine."""
    if path == "/":
        raise Invalid("change cgroup", path, "the top of the hierarchy is not ours")
    return _checked(path)


def _has_one_thread() -> bool:
    try:
        return os.stat("/proc/self/task").st_nlink == 3  # two for the directory, one for each thread
    except OSError:
        return False  # no /proc: take the way that is right for any number of threads


def _is_frozen(mount: Mount, directory: str) -> bool:
    if mount.version == 1:
        return read(directory, "freezer.state") == "FROZEN"
    return _keyed(read(directory, "cgroup.events")).get("frozen") == 1


def _keyed(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(text: str) -> int | None:
    if not text.isdigit() or int(text) >= _NO_LIMIT:
        return None
    return int(text)


def _mkdir_hint(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "the cgroup file system is mounted read-only; in a container, give the engine its own writable one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "making cgroups needs root, or a subtree that was delegated to this user"
    return ""
