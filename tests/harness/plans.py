"""Requests and cgroup layouts as data, for tests of the plan and for starts of real containers.

`request_document()` is what an engine sends for a plain container; `changed()` alters it by path. Pure. Callers: the
tests of `runtime`.
"""

from __future__ import annotations

import copy
from typing import Any

from onggi.kernel.cgroup.layout import Layout, Mount

Json = dict[str, Any]

V2 = Layout("v2", (Mount("/sys/fs/cgroup", ("cpu", "io", "memory", "pids", "devices", "freezer"), 2),))
V1 = Layout(
    "v1",
    (
        Mount("/sys/fs/cgroup/memory", ("memory",), 1),
        Mount("/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct"), 1),
        Mount("/sys/fs/cgroup/pids", ("pids",), 1),
        Mount("/sys/fs/cgroup/devices", ("devices",), 1),
    ),
)
HYBRID = Layout("hybrid", (*V1.mounts, Mount("/sys/fs/cgroup/unified", ("hugetlb",), 2)))

QUIET = ["nosuid", "noexec", "nodev"]
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"]


def mount(destination: str, kind: str, options: list[str], source: str = "") -> Json:
    """One entry of `mounts`."""
    return {"destination": destination, "type": kind, "source": source or kind, "options": options}


def base_mounts() -> list[Json]:
    """What every container has."""
    return [
        mount("/proc", "proc", QUIET),
        mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/sys", "sysfs", [*QUIET, "ro"]),
        mount("/sys/fs/cgroup", "cgroup", [*QUIET, "ro"]),
        mount("/dev/mqueue", "mqueue", QUIET),
    ]


def config(*args: str) -> Json:
    """The `config.json` of a plain container."""
    return {
        "ociVersion": "1.2.0",
        "process": {
            "args": list(args) or ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
                "inheritable": [],
                "ambient": [],
            },
        },
        "root": {"path": "/var/lib/onggi/rootfs"},
        "hostname": "jar",
        "mounts": base_mounts(),
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup")],
            "cgroupsPath": "/onggi/c1",
            "resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}},
            "maskedPaths": ["/proc/kcore", "/sys/firmware"],
            "readonlyPaths": ["/proc/sys"],
            "sysctl": {"kernel.shmmax": "65536", "net.ipv4.ip_forward": "1"},
        },
    }


def request_document(*args: str) -> Json:
    """What the engine sends for a plain container."""
    return {
        "id": "c1",
        "config": config(*args),
        "run_dir": "/run/onggi/c1",
        "rootfs": "/var/lib/onggi/rootfs",
        "overlay": {"lowers": ["/l/2", "/l/1"], "upper": "/c/upper", "work": "/c/work"},
        "user": "",
        "seccomp": "/run/onggi/filter.bpf",
        "seccomp_flags": 0,
    }


def changed(document: Json, changes: dict[str, Any]) -> Json:
    """A copy with each `a.b.c` set; a value of None removes it."""
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = document
        for name in parents:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return document


def namespaces(*kinds: str, **joined: str) -> list[Json]:
    """`linux.namespaces`: new ones by kind, joined ones by kind=path."""
    return [{"type": kind} for kind in kinds] + [{"type": kind, "path": path} for kind, path in joined.items()]
