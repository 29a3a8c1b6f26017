"""The sentences of the glass: what each namespace means, and what was found in it, for a reader who is new to it.

Pure but for uname(2). Callers: `explain`. Read next: `facts`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from onggi.glass.facts import Fact, several, size
from onggi.glass.interfaces import Interface
from onggi.glass.namespaces import IdRange, MountPoint, Process

NAMESPACES: dict[str, tuple[str, str, str]] = {
    "user": (
        "users",
        "Its users are its own: an id inside stands for another id outside, and root inside has no power there.",
        "Its users are the host's: root inside is root outside, held back by capabilities, filter and mounts alone.",
    ),
    "pid": (
        "processes",
        "It counts processes from 1 and sees none but its own; when its first process ends, all of them end.",
        "It sees every process of the host, and can signal those that its user may signal.",
    ),
    "mnt": (
        "files",
        "It has a file tree of its own: what is mounted here is not seen outside, and the host's tree not inside.",
        "It sees the host's file tree as it is.",
    ),
    "net": (
        "network",
        "It has interfaces, addresses, routes, ports and firewall rules of its own.",
        "It uses the network of the host, or of another container: the same interfaces and the same ports.",
    ),
    "uts": (
        "names",
        "It has a host name of its own.",
        "It has the host's name, and a change inside would be one outside.",
    ),
    "ipc": (
        "shared memory",
        "System V shared memory, semaphores and message queues, and POSIX queues are its own.",
        "It shares System V and POSIX message queues, semaphores and shared memory with the host.",
    ),
    "cgroup": (
        "control groups",
        "It sees its own group as the root of all groups, and nothing of the host's tree.",
        "It sees the path of its group in the host's tree.",
    ),
    "time": (
        "clocks",
        "Its monotonic and boot clocks have their own zero; the time of day is the host's.",
        "Its clocks are the host's.",
    ),
}
"""Title, the sentence for one of its own, the sentence for a shared one."""

_PSEUDO = {"proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "tmpfs"}


def id_facts(ranges: Sequence[IdRange], *, own: bool) -> tuple[Fact, ...]:
    """The id map in words."""
    if not own or not ranges:
        return (Fact("ids", "every id inside is the same id outside"),)
    return tuple(
        Fact(
            "ids", f"{r.inside} to {r.inside + r.count - 1} inside are {r.outside} to {r.outside + r.count - 1} outside"
        )
        if r.count > 1
        else Fact("ids", f"{r.inside} inside is {r.outside} outside")
        for r in ranges
    )


def process_facts(processes: Sequence[Process]) -> tuple[Fact, ...]:
    """Every process under both numbers."""
    return tuple(Fact(p.name, f"{p.pid} inside, {p.host_pid} outside") for p in processes)


def mount_facts(mounts: Sequence[MountPoint]) -> tuple[Fact, ...]:
    """Every mount with what is behind it."""
    return tuple(Fact(m.target, _behind(m)) for m in mounts)


def _behind(mount: MountPoint) -> str:
    access = "read-only" if "ro" in mount.options.split(",") else "read-write"
    if mount.kind == "overlay":
        return f"the image's layers with a writable one on top (overlay), {access}"
    if mount.kind in _PSEUDO:
        part = f", of it {mount.root}" if mount.root != "/" else ""
        return f"a {mount.kind} made by the kernel{part}, {access}"
    return f"{mount.root} of {mount.source} ({mount.kind}), {access}"


def interface_facts(found: Sequence[Interface]) -> tuple[Fact, ...]:
    """Every interface with addresses, gateway and traffic."""
    return tuple(
        Fact(
            item.name,
            (", ".join(item.addresses) or "no address")
            + (f", out by {item.gateway}" if item.gateway else "")
            + f"; {size(item.received)} in, {size(item.sent)} out",
        )
        for item in found
    )


def hostname_facts(inside: str, *, own: bool) -> tuple[Fact, ...]:
    """Both host names."""
    outside = os.uname().nodename
    return (Fact("host name", f"`{(inside or outside) if own else outside}` inside, `{outside}` outside"),)


def cgroup_facts(groups: Mapping[str, str], *, own: bool) -> tuple[Fact, ...]:
    """The group's path as it is outside and as it is seen inside."""
    by_path: dict[str, list[str]] = {}
    for controller, path in groups.items():
        by_path.setdefault(path, []).append(controller or "v2")
    return tuple(
        Fact("group", f"`{path}` outside, `{'/' if own else path}` inside ({', '.join(controllers)})")
        for path, controllers in by_path.items()
    )


def shared_facts() -> tuple[Fact, ...]:
    """What a container always shares with its host, however it is set up."""
    host = os.uname()
    processors = several(os.cpu_count() or 1, "processor")
    return (
        Fact("kernel", f"{host.sysname} {host.release} on {host.machine}: the same one, so what breaks it breaks all"),
        Fact("time of day", "one clock for all; whoever may set it sets it for all"),
        Fact("hardware", f"the host's memory and {processors}, given out by the host's scheduler"),
        Fact("kernel modules and parameters", "loaded once; those of /proc/sys that no namespace has are the host's"),
        Fact("kernel log", "one ring buffer for all"),
    )
