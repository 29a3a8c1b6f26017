"""Steps around the process: cgroups, namespaces, id maps, names.

Those with `keeper` in their docstring run in the keeper, on the host's side; the rest in the init. You come from
`steps`.
"""

from __future__ import annotations

import os

from onggi.kernel import process, sockets
from onggi.kernel.cgroup.limits import DeviceProgram, Write
from onggi.kernel.flags import Clone
from onggi.oci.runtime import IdMap
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class MakeFifo:
    """In the keeper: where the init will wait. Open for reading and writing, so that to open it blocks nobody, and a
    `start` without an init is told so (ENXIO)."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mkfifo {self.path}"

    def apply(self, context: Context) -> None:
        os.mkfifo(self.path, 0o600)
        context.fifo = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True)
class WaitForStart:
    """Until `start` writes into the fifo; whoever asked for the container is gone by then."""

    why: str

    def describe(self) -> str:
        return "read -n 1 < exec.fifo"

    def apply(self, context: Context) -> None:
        os.read(context.fifo, 1)
        os.close(context.fifo)


@dataclass(frozen=True, slots=True)
class CloseInherited:
    """Descriptors that whoever called the runtime left open."""

    descriptors: tuple[int, ...]
    why: str

    def describe(self) -> str:
        return "exec " + " ".join(f"{descriptor}<&-" for descriptor in self.descriptors)

    def apply(self, context: Context) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class CreateCgroup:
    """In the keeper: the container's group in every hierarchy."""

    path: str
    directories: tuple[str, ...]
    take_empty: bool
    """Whether one that is there is taken, if nobody is in it."""
    why: str

    def describe(self) -> str:
        return "mkdir -p " + " ".join(self.directories)

    def apply(self, context: Context) -> None:
        context.group = context.layout.create(self.path, take_empty=self.take_empty)


@dataclass(frozen=True, slots=True)
class LimitCgroup:
    """In the keeper: one value in one file of the group."""

    write: Write | DeviceProgram
    why: str

    def describe(self) -> str:
        return self.write.describe()

    def apply(self, context: Context) -> None:
        missing = self.write.apply()
        if missing:
            context.warnings.append(missing.text())


@dataclass(frozen=True, slots=True)
class JoinCgroup:
    """Enter the group: in the v2 tree the init was born there (CLONE_INTO_CGROUP); the v1 hierarchies it joins itself.

    A process with one thread may move that thread without the lock that a move from outside waits for.
    """

    path: str
    directories: tuple[str, ...]
    why: str

    def describe(self) -> str:
        return "; ".join(f"echo $$ > {directory}/cgroup.procs" for directory in self.directories)

    def apply(self, context: Context) -> None:
        context.layout.join(self.path, born_inside=context.born_inside)


@dataclass(frozen=True, slots=True)
class NewNamespaces:
    """In the keeper: the init is born in namespaces of its own. `container` carries it out with clone3(2)."""

    flags: Clone
    why: str

    def describe(self) -> str:
        words = {
            Clone.NEWNS: "--mount",
            Clone.NEWUTS: "--uts",
            Clone.NEWIPC: "--ipc",
            Clone.NEWNET: "--net",
            Clone.NEWPID: "--pid --fork",
            Clone.NEWUSER: "--user",
            Clone.NEWTIME: "--time",
            Clone.NEWCGROUP: "--cgroup",
        }
        return "unshare " + " ".join(word for flag, word in words.items() if self.flags & flag)

    def apply(self, context: Context) -> None:
        process.unshare(self.flags)


@dataclass(frozen=True, slots=True)
class UnshareCgroup:
    """A cgroup namespace whose root is the group that the init has just joined."""

    why: str

    def describe(self) -> str:
        return "unshare --cgroup"

    def apply(self, context: Context) -> None:
        process.unshare(Clone.NEWCGROUP)


@dataclass(frozen=True, slots=True)
class SetTimeOffsets:
    """A time namespace whose clocks are off by so much (time_namespaces(7)).

    The offsets can be written until somebody is inside, and a process that was cloned into a new time namespace is. So
    the init unshares it, which holds for its children only, and the execve at the end takes itself in.
    """

    offsets: tuple[tuple[str, int, int], ...]
    """Clock (monotonic, boottime), seconds, nanoseconds."""
    why: str

    def describe(self) -> str:
        return "unshare --time " + " ".join(f"--{clock} {seconds}" for clock, seconds, _ in self.offsets)

    def apply(self, context: Context) -> None:
        process.unshare(Clone.NEWTIME)
        text = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in self.offsets)
        descriptor = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class JoinNamespace:
    """Enter a namespace that exists: setns(2)."""

    kind: str
    path: str
    flag: Clone
    why: str

    def describe(self) -> str:
        return f"nsenter --{self.kind}={self.path}"

    def apply(self, context: Context) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            process.setns(descriptor, self.flag)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class EnterNetwork:
    """Enter the network namespace that the starter made, with its loopback up, while it waited."""

    why: str

    def describe(self) -> str:
        return "unshare --net; ip link set lo up"

    def apply(self, context: Context) -> None:
        process.setns(context.network, Clone.NEWNET)


@dataclass(frozen=True, slots=True)
class BearInPidNamespace:
    """In the keeper: its next child is born in a pid namespace that exists.

    setns(2) with a pid namespace moves nobody, it only chooses where children are born: the init itself would stay where
    it is and see every process of the host. `container` lets the keeper's later children be its own again.
    """

    path: str
    why: str

    def describe(self) -> str:
        return f"nsenter --pid={self.path}"

    def apply(self, context: Context) -> None:
        context.own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        JoinNamespace("pid", self.path, Clone.NEWPID, self.why).apply(context)


@dataclass(frozen=True, slots=True)
class MapIds:
    """In the keeper: which ids outside stand for those inside (user_namespaces(7))."""

    file: str
    maps: tuple[IdMap, ...]
    why: str

    def describe(self) -> str:
        return f"echo '{self._text()}' > /proc/$INIT/{self.file}"

    def _text(self) -> str:
        return "\\n".join(f"{m.container_id} {m.host_id} {m.size}" for m in self.maps)

    def apply(self, context: Context) -> None:
        descriptor = os.open(f"/proc/{context.child}/{self.file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, self._text().replace("\\n", "\n").encode())
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class LoopbackUp:
    """127.0.0.1 works in the new network namespace."""

    why: str

    def describe(self) -> str:
        return "ip link set lo up"

    def apply(self, context: Context) -> None:
        sockets.loopback_up()


@dataclass(frozen=True, slots=True)
class SetHostname:
    """The names of this UTS namespace."""

    hostname: str
    domainname: str
    why: str

    def describe(self) -> str:
        return f"hostname {self.hostname}" + (f"; domainname {self.domainname}" if self.domainname else "")

    def apply(self, context: Context) -> None:
        if self.hostname:
            process.set_hostname(self.hostname)
        if self.domainname:
            process.set_domainname(self.domainname)
