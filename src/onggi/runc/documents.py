"""The two documents that `onggi-oci` writes by itself: a config.json to begin with, and what this runtime can do.

Pure. Callers: `main`. Read next: the runtime specification's config.md and features.md.
"""

from __future__ import annotations

from typing import Any

from onggi.kernel import capability, seccomp
from onggi.oci.runtime import HOOKS, VERSION
from onggi.runtime.options import KNOWN

_KINDS = ("pid", "network", "ipc", "uts", "mount")
_KEPT = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_QUIET = ["nosuid", "noexec", "nodev"]
_MASKED = "acpi asound kcore keys latency_stats timer_list timer_stats sched_debug scsi"
_OF_LISTENERS = ("SECCOMP_FILTER_FLAG_NEW_LISTENER", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
_READONLY = "bus fs irq sys sysrq-trigger"


def example(*, private_cgroup: bool) -> dict[str, Any]:
    """A config.json that runs `sh` from `rootfs` on a terminal, with few rights; as runc has it with cgroups v2 or v1."""
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
            "namespaces": [{"type": kind} for kind in (*_KINDS, *(("cgroup",) if private_cgroup else ()))],
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED.split()), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READONLY.split()],
        },
    }


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
            "seccomp": {
                "enabled": True,
                "actions": [action for action in seccomp.ACTIONS if action != "SCMP_ACT_NOTIFY"],
                "operators": list(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": [flag for flag in seccomp.FLAGS if flag not in _OF_LISTENERS],
            },
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    }
