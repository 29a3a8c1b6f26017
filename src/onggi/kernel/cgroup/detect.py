"""Which cgroups this host has: read from `/proc/self/mountinfo`, once.

Callers: `engine/`, `runtime/launch`, `glass/`. Read next: `layout`. See proc_pid_mountinfo(5), cgroups(7).
"""

from __future__ import annotations

from onggi.errors import Unavailable
from onggi.kernel.cgroup.layout import Layout, Mount
from onggi.kernel.cgroup.limits import read
from onggi.values import replace

_NOT_CONTROLLERS = {"rw", "ro", "noprefix", "xattr", "clone_children", "nsdelegate", "all", "none"}
_BY_ITSELF = ("devices", "freezer")
"""What v2 does without a controller of that name: an eBPF program, `cgroup.freeze`."""


def detect(root: str = "/sys/fs/cgroup", mountinfo: str = "/proc/self/mountinfo") -> Layout:
    """The hierarchies mounted at and below `root`; `Unavailable` where there is none."""
    with open(mountinfo, "rb") as file:
        return from_mountinfo(file.read().decode(errors="surrogateescape"), root)


def from_mountinfo(text: str, root: str = "/sys/fs/cgroup") -> Layout:
    """The layout that a mountinfo text tells of; v2's controllers are read from its top directory."""
    old: dict[tuple[str, ...], Mount] = {}
    unified: Mount | None = None
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _source, options) = before.split(" "), after.split(" ", 2)
        directory = _unescape(fields[4])
        if directory != root and not directory.startswith(root.rstrip("/") + "/"):
            continue
        if kind == "cgroup2":
            unified = Mount(directory, tuple(read(directory, "cgroup.controllers").split()), 2, root=fields[3])
        elif kind == "cgroup":
            mount = _hierarchy(directory, options, fields[3])
            if mount.controllers or mount.name == "systemd":
                old.setdefault(mount.controllers or (mount.name,), mount)
    if not old and unified is None:
        raise Unavailable(
            "find cgroups", root, "no cgroup file system is mounted there", hint=f"mount -t cgroup2 cgroup2 {root}"
        )
    return _layout(tuple(old.values()), unified)


def _hierarchy(directory: str, options: str, root: str) -> Mount:
    names = [option for option in options.split(",") if option not in _NOT_CONTROLLERS]
    controllers = tuple(name for name in names if "=" not in name)
    name = next((option[5:] for option in names if option.startswith("name=")), "")
    return Mount(directory, controllers, 1, name, root)


def _layout(old: tuple[Mount, ...], unified: Mount | None) -> Layout:
    if unified is None:
        return Layout("v1", old)
    taken = {controller for mount in old for controller in mount.controllers}
    extra = tuple(name for name in _BY_ITSELF if name not in taken)
    accounting = ("cpuacct",) if "cpuacct" not in taken else ()  # v2 counts processor time in every group
    controllers = tuple(c for c in unified.controllers if c not in taken) + extra + accounting
    return Layout("hybrid" if taken else "v2", (*old, replace(unified, controllers=controllers)))


def _unescape(field: str) -> str:
    """mountinfo writes blank, tab, line feed and backslash as three octal digits."""
    if "\\" not in field:
        return field
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def here(pid: int | str = "self") -> dict[str, str]:
    """The groups of a process, by controller (`name=…` for a named hierarchy, empty for v2): `/proc/PID/cgroup`."""
    found: dict[str, str] = {}
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            found.update((controller, path) for controller in controllers.split(","))
    return found
