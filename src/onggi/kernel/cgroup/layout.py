"""A host's cgroups behind one interface, v1, hybrid or v2.

A path (`/onggi/<id>`) names one group; on v1 it is a directory in each hierarchy, on v2 one directory. What the group
needs can be asked without touching anything (`directories`, `writes`, `missing`, `joins`), so that the plan can list
it; the rest acts. Made by `detect`. Callers: `runtime/`, `engine/`, `runc/`, `glass/`. Read next: `tree`.

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
from onggi.kernel.cgroup import freezer, tree
from onggi.kernel.cgroup.devices import fold
from onggi.kernel.cgroup.hierarchy import Mount, Place, checked
from onggi.kernel.cgroup.limits import DeviceChange, DeviceProgram, Limits, Missing, Write, write
from onggi.kernel.cgroup.resources import limits_of
from onggi.kernel.fd import Fd
from onggi.unwinding import ExitStack
from onggi.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["DeviceProgram", "Layout", "Missing", "Mount", "Place", "Write"]

_PATIENCE = 2.0
"""Seconds that a kernel gets to let go of a dead process."""


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
        return tuple(mount.at(path) for mount in self.mounts)

    def directory(self, controller: str, path: str) -> str | None:
        """The group's directory in the hierarchy that has the controller; None where the host has none."""
        mount = self._mount(controller)
        return mount.at(path) if mount else None

    def place(self, controller: str, path: str) -> Place | None:
        """`directory`, with the version that its files are of."""
        mount = self._mount(controller)
        return Place(mount.at(path), mount.version) if mount else None

    def paths(self, path: str) -> dict[str, str]:
        """The group's directories by controller, as runc's state.json has them (`cgroup_paths`)."""
        found: dict[str, str] = {}
        for mount in self.mounts:
            keys = mount.controllers if mount.version == 1 and mount.controllers else (mount.key,)
            found.update(dict.fromkeys(keys, mount.at(path)))
        return found

    def below_own(self, groups: Mapping[str, str]) -> Layout:
        """The layout whose paths start at a process's own groups (`detect.here`), in each hierarchy at another.

        On v2 alone they start at the group around the process's own: a group with processes in it can have no limited
        children (cgroups(7), "no internal processes").
        """
        mounts = []
        for mount in self.mounts:
            own = groups.get(mount.key, "/")
            if self.mode == "v2":
                own = os.path.dirname(own)
            seen = own[len(mount.root) :] if mount.root != "/" and (own + "/").startswith(mount.root + "/") else own
            mounts.append(replace(mount, below="/" + seen.strip("/") if seen.strip("/") else ""))
        return Layout(self.mode, tuple(mounts))

    def of_paths(self, path: str, paths: Mapping[str, str]) -> Layout:
        """The layout in which `path` is the group whose directories were kept (`paths`); without hierarchies it is not in."""
        mounts = []
        for mount in self.mounts:
            kept = paths.get(mount.key, "")
            if kept.startswith(mount.directory + "/") and kept.endswith(path):
                mounts.append(replace(mount, below=kept[len(mount.directory) : len(kept) - len(path)]))
        return Layout(self.mode, tuple(mounts))

    def writes(self, path: str, resources: Mapping[str, Any]) -> tuple[Write | DeviceProgram, ...]:
        """The runtime spec's `linux.resources` as writes in the order in which a new group takes them."""
        return tuple(self.limits(path, resources).writes)

    def missing(self, resources: Mapping[str, Any]) -> tuple[Missing, ...]:
        """What of `linux.resources` this host cannot do, as far as can be told before a group exists."""
        return tuple(self.limits("/", resources).missing)

    def limits(self, path: str, resources: Mapping[str, Any]) -> Limits:
        """Both of these."""
        return limits_of(self.mounts, path, resources, mode=self.mode)

    def warnings(self, resources: Mapping[str, Any]) -> tuple[str, ...]:
        """`missing` in words."""
        return tuple(item.text() for item in self.missing(resources))

    def name_of(self, directory: str) -> str:
        """The name below `/sys/fs/cgroup` of the hierarchy that a group's directory is in: `memory`, `unified`."""
        for mount in self.mounts:
            if directory == mount.directory or directory.startswith(mount.directory + "/"):
                return os.path.basename(mount.directory)
        raise Invalid("name cgroup hierarchy", directory, "it is in none")

    def device_change(self, path: str, rules: list[Any]) -> DeviceProgram | DeviceChange:
        """What brings a group that has device rules to these ones; at no moment is there none."""
        place = self.place("devices", path)
        if place is None:
            raise Unavailable("change device rules of", path, "the host has no devices controller")
        return (
            DeviceChange(place.directory, fold(rules))
            if place.version == 1
            else DeviceProgram(place.directory, fold(rules))
        )

    def joins(self, path: str, *, born_inside: bool = False) -> tuple[Write, ...]:
        """The writes by which a process with one thread joins the group; without v2's when it was born there."""
        return tuple(
            Write(mount.at(path), "tasks" if mount.version == 1 else "cgroup.procs", "0", must=True)
            for mount in self.mounts
            if not (born_inside and mount.version == 2)
        )

    # -- acts ----------------------------------------------------------------------------------------------------------

    def create(self, path: str, *, take_empty: bool = False) -> tuple[str, ...]:
        """Make the group, and what is missing above it; returns its directories that were not there before.

        `Conflict` when it is there already; with `take_empty`, when somebody is in it or it stands frozen. Nothing that was
        made is left behind on failure. A v2 controller that cannot be switched on is missed by who writes its files.
        """
        made: list[str] = []
        with ExitStack() as undo:
            for mount in self.mounts:
                directory = mount.at(_below_top(path))
                if _make(mount, directory):
                    made.append(directory)
                    undo.callback(tree.remove, directory, time.monotonic() + _PATIENCE)
                elif take_empty:
                    _check_free(mount, directory)
                else:
                    raise Conflict("create cgroup", path, f"{directory} exists already", code="cgroup.exists")
                if mount.version == 2:
                    tree.enable(os.path.dirname(directory), mount.directory)
            undo.pop_all()
        return tuple(made)

    def discard(self, made: tuple[str, ...]) -> None:
        """Undo `create`: remove what it made, and leave what was there before."""
        deadline = time.monotonic() + _PATIENCE
        for directory in reversed(made):
            tree.remove(directory, deadline)

    def apply(self, *writes: Write | DeviceProgram | DeviceChange) -> tuple[Missing, ...]:
        """Do the writes in their order; returns what the kernel turned out not to have.

        One that the kernel calls invalid is tried once more after the others: limits that are bound to each other
        (memory with swap, quota with period) may only fit together in the other order when a group already has some.
        """
        missing: list[Missing | None] = []
        later: list[Write | DeviceProgram | DeviceChange] = []
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
        last = self.mounts[-1] if self.mounts else None
        if last is None or last.version != 2:
            return None
        return Fd(os.open(last.at(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

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
        place = self.place("freezer", _below_top(path) or "/")
        if place is None:
            raise Unavailable("freeze", path, "the host has no freezer controller")
        freezer.freeze(place.directory, place.version)

    def thaw(self, path: str) -> None:
        """Let the processes of the group go on; not being frozen is fine."""
        place = self.place("freezer", path)
        if place is None:
            raise Unavailable("thaw", path, "the host has no freezer controller")
        freezer.thaw(place.directory, place.version)

    def is_frozen(self, path: str) -> bool:
        """Whether the group itself was asked to stand still."""
        place = self.place("freezer", path)
        return place is not None and freezer.is_frozen(place.directory, place.version)

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _mount(self, controller: str) -> Mount | None:
        return next((mount for mount in self.mounts if controller in mount.controllers), None)

    def _main(self, path: str) -> str:
        """The directory in the hierarchy that says who is in the group: one that every member has joined."""
        mount = self._mount("freezer") or self._mount("pids") or self.mounts[0]
        return mount.at(path)

    def _try_freeze(self, path: str) -> bool:
        try:
            self.freeze(path)
        except (Unavailable, KernelError):
            return False  # without a freezer the caller goes round until nobody is left
        return True


NONE = Layout("v1", ())
"""For a container without any group."""


def _make(mount: Mount, directory: str) -> bool:
    """mkdir(2) and what it needs; False when the directory was there already."""
    try:
        return tree.make(directory, mount.directory, cpuset=mount.version == 1 and "cpuset" in mount.controllers)
    except OSError as error:
        raise KernelError("mkdir", directory, error.errno or 0, hint=_mkdir_hint(error)) from error


def _check_free(mount: Mount, directory: str) -> None:
    """Conflict when the directory's group is not ours to take."""
    there = tree.pids(directory)
    if there:
        cause = f"container's cgroup is not empty: {len(there)} process(es) found"
        raise Conflict("take cgroup", directory, cause, code="cgroup.not-empty")
    if (mount.version == 2 or "freezer" in mount.controllers) and freezer.is_frozen(directory, mount.version):
        raise Conflict("take cgroup", directory, "container's cgroup unexpectedly frozen", code="cgroup.frozen")


def _below_top(path: str) -> str:
    """The path, unless it is the top: nobody kills, freezes or removes the whole machine."""
    if path == "/":
        raise Invalid("change cgroup", path, "the top of the hierarchy is not ours")
    return checked(path)


def _has_one_thread() -> bool:
    try:
        return os.stat("/proc/self/task").st_nlink == 3  # two for the directory, one for each thread
    except OSError:
        return False  # no /proc: take the way that is right for any number of threads


def _mkdir_hint(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "the cgroup file system is mounted read-only; in a container, give the engine its own writable one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "making cgroups needs root, or a subtree that was delegated to this user"
    return ""
