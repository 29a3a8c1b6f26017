"""What /proc tells of one process's view: its namespaces, its pids, its ids, its mounts, its rights. As frozen values.

Reads and changes nothing, enters no namespace. `proc` is where the proc file system is mounted. A process that ends
while it is read raises `NotFound`. Callers: `explain`. Read next: `interfaces`. See namespaces(7), proc(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from onggi.errors import NotFound

KINDS = ("user", "pid", "mnt", "net", "uts", "ipc", "cgroup", "time")
"""The eight kinds, in the order in which they are best explained."""

_MOST_MOUNTS = 2000


@dataclass(frozen=True, slots=True)
class Namespace:
    """One kind: which one the process is in and which one we are in, by number; None where the kernel has none."""

    kind: str
    inside: int | None
    host: int | None

    @property
    def own(self) -> bool:
        """Whether the process has one of its own."""
        return self.inside != self.host


@dataclass(frozen=True, slots=True)
class IdRange:
    """A run of ids: from `inside` on they are, outside, those from `outside` on."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True)
class Process:
    """One process under both of its numbers."""

    host_pid: int
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One mount in the process's tree; `root` is the part of the source that is shown, `/` for all of it."""

    target: str
    kind: str
    source: str
    root: str
    options: str


@dataclass(frozen=True, slots=True)
class Status:
    """What `/proc/PID/status` says of rights."""

    name: str
    pids: tuple[int, ...]
    """From the outermost pid namespace that we can see to the process's own."""
    bounding: int
    effective: int
    seccomp: int
    """0 off, 1 strict, 2 by filter."""
    filters: int
    no_new_privs: bool


def namespaces(pid: int, proc: str = "/proc") -> tuple[Namespace, ...]:
    """The eight namespaces of the process beside ours."""
    _must_live(pid, proc)
    return tuple(Namespace(kind, _inode(f"{proc}/{pid}", kind), _inode(f"{proc}/self", kind)) for kind in KINDS)


def _inode(process: str, kind: str) -> int | None:
    try:
        text = os.readlink(f"{process}/ns/{kind}")  # `net:[4026531840]`
    except FileNotFoundError:
        return None
    return int(text.partition("[")[2].rstrip("]"))


def status(pid: int, proc: str = "/proc") -> Status:
    """Names, numbers and rights of the process."""
    found: dict[str, str] = {}
    for line in _lines(pid, "status", proc):
        key, _, value = line.partition(":")
        found[key] = value.strip()
    return Status(
        name=found.get("Name", ""),
        pids=tuple(int(number) for number in found.get("NSpid", str(pid)).split()),
        bounding=int(found.get("CapBnd", "0"), 16),
        effective=int(found.get("CapEff", "0"), 16),
        seccomp=int(found.get("Seccomp", "0")),
        filters=int(found.get("Seccomp_filters", "0")),
        no_new_privs=found.get("NoNewPrivs", "0") == "1",
    )


def processes(pids: Iterable[int], proc: str = "/proc") -> tuple[Process, ...]:
    """Those of the pids that are alive, under both numbers."""
    found = []
    for pid in pids:
        try:
            seen = status(pid, proc)
        except NotFound:
            continue  # it ended meanwhile
        found.append(Process(pid, seen.pids[-1], seen.name))
    return tuple(found)


def id_map(pid: int, proc: str = "/proc") -> tuple[IdRange, ...]:
    """How user ids inside become ids outside (`uid_map`)."""
    return tuple(IdRange(*(int(number) for number in line.split())) for line in _lines(pid, "uid_map", proc))


def mounts(pid: int, proc: str = "/proc") -> tuple[MountPoint, ...]:
    """The process's tree of mounts, in the order in which they were made."""
    found = []
    for line in _lines(pid, "mountinfo", proc)[:_MOST_MOUNTS]:
        before, _, after = line.partition(" - ")
        fields, (kind, source, *_) = before.split(" "), after.split(" ")
        found.append(MountPoint(_unescape(fields[4]), kind, _unescape(source), _unescape(fields[3]), fields[5]))
    return tuple(found)


def cgroups(pid: int, proc: str = "/proc") -> dict[str, str]:
    """The process's groups as we see them: by controller, `name=…` for a named hierarchy, empty for v2."""
    found: dict[str, str] = {}
    for line in _lines(pid, "cgroup", proc):
        _, controllers, path = line.split(":", 2)
        found.update((controller, path) for controller in controllers.split(","))
    return found


def _must_live(pid: int, proc: str) -> None:
    if not os.path.isdir(f"{proc}/{pid}"):
        raise NotFound.of("process", str(pid))


def _lines(pid: int, name: str, proc: str) -> list[str]:
    try:
        with open(f"{proc}/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise NotFound.of("process", str(pid)) from error


def _unescape(field: str) -> str:
    """Blank, tab, line feed and backslash are written as three octal digits."""
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
