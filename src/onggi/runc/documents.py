"""The two documents that `onggi-oci` writes by itself: a config.json to begin with, and what this runtime can do.

Pure, but for what it asks of the kernel's and libseccomp's age. Callers: `show`. Read next: the runtime specification's
config.md and features.md.
"""

from __future__ import annotations

from typing import Any

from onggi.errors import Unavailable
from onggi.kernel import attributes, capability, seccomp, seccomp_compiler
from onggi.oci.runtime import HOOKS, VERSION
from onggi.runc import filter
from onggi.runtime.options import KNOWN
from onggi.wire.versions import ONGGI

_KEPT = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_QUIET = ["nosuid", "noexec", "nodev"]
_MASKED = "acpi asound kcore keys latency_stats timer_list timer_stats sched_debug scsi"
_READONLY = "bus fs irq sys sysrq-trigger"


def example(*, v2: bool = True) -> dict[str, Any]:
    """A config.json that runs `sh` from `rootfs` on a terminal, with few rights.

    A cgroup namespace is part of it on cgroup v2 only, as runc has it.
    """
    kinds = ("pid", "network", "ipc", "uts", "mount", *(("cgroup",) if v2 else ()))
    return {
        "ociVersion": VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": _KEPT, "effective": _KEPT, "permitted": _KEPT},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "onggi",
        "mounts": [
            _mount("/proc", "proc", []),
            _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            _mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            _mount("/dev/shm", "tmpfs", [*_QUIET, "mode=1777", "size=65536k"]),
            _mount("/dev/mqueue", "mqueue", _QUIET),
            _mount("/sys", "sysfs", [*_QUIET, "ro"]),
            _mount("/sys/fs/cgroup", "cgroup", [*_QUIET, "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED.split()), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READONLY.split()],
        },
    }


def rootless(document: dict[str, Any], uid: int, gid: int) -> dict[str, Any]:
    """The example for a user who is not root: root inside is this user, and nothing is asked that only root may do."""
    linux = document["linux"]
    kinds = [entry["type"] for entry in linux["namespaces"] if entry["type"] != "network"]
    linux["namespaces"] = [{"type": kind} for kind in (*kinds, "user")]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    del linux["resources"]
    for mount in document["mounts"]:
        if mount["destination"] == "/sys":
            mount |= {"type": "none", "source": "/sys", "options": ["rbind", *_QUIET, "ro"]}
        mount["options"] = [option for option in mount["options"] if not option.startswith(("uid=", "gid="))]
    return document


def _mount(destination: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": options}


def features() -> dict[str, Any]:
    """What this runtime can do (features.md)."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted(KNOWN),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": list(capability.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": _seccomp(),
            "memoryPolicy": {"modes": sorted(attributes.MEMORY_MODES), "flags": sorted(attributes.MEMORY_FLAGS)},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"org.onggi.version": ONGGI, **_libseccomp()},
        "potentiallyUnsafeConfigAnnotations": [filter.STRICT],
    }


def _seccomp() -> dict[str, Any]:
    try:
        architectures = sorted(seccomp_compiler.architectures())
    except Unavailable:  # without libseccomp no filter can be made
        return {"enabled": False}
    return {
        "enabled": True,
        "actions": sorted(seccomp.ACTIONS),
        "operators": sorted(seccomp_compiler.OPERATORS),
        "archs": architectures,
        "knownFlags": list(seccomp.FLAGS),
        "supportedFlags": [flag for flag in seccomp.FLAGS if seccomp.has_flag(flag)],
    }


def _libseccomp() -> dict[str, str]:
    try:
        return {"io.github.seccomp.libseccomp.version": ".".join(map(str, seccomp_compiler.version()))}
    except Unavailable:
        return {}
