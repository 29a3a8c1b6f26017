"""The engine about itself and its machine: the documents of `GET /version` and `GET /info`.

Every fact is read from the machine when asked; what Docker shows and Onggi has not is empty, never made up.
Callers: `api/routes/system`. Read next: `events`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onggi.engine.blocking import blocking
from onggi.engine.events import Events
from onggi.engine.instance import Instance
from onggi.kernel.cgroup import detect
from onggi.kernel.cgroup.layout import Layout
from onggi.wire import gotime, versions

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_FILE_SYSTEMS = {"ext2": "extfs", "ext3": "extfs", "ext4": "extfs"}
"""Docker names file systems by their magic number, which the three share."""
_HUB = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many containers and images there are."""

    running: int = 0
    paused: int = 0
    stopped: int = 0
    images: int = 0


class System:
    """One engine's facts; `count` asks the other use cases."""

    def __init__(
        self, instance: Instance, layout: Layout, events: Events, count: Callable[[], Awaitable[Counts]]
    ) -> None:
        self._instance, self._layout, self._events, self._count = instance, layout, events, count

    async def version(self) -> Mapping[str, Any]:
        """The version document: the Docker release whose API this is, and Onggi's own version as a component."""
        host = os.uname()
        arch = _ARCHITECTURES.get(host.machine, host.machine)
        details = {
            "ApiVersion": versions.API,
            "Arch": arch,
            "BuildTime": "",
            "Experimental": "false",
            "GitCommit": "",
            "GoVersion": "",
            "KernelVersion": host.release,
            "MinAPIVersion": versions.API_MINIMUM,
            "Os": "linux",
        }
        return {
            "Platform": {"Name": f"Onggi {versions.ONGGI}"},
            "Components": [
                {"Name": "Engine", "Version": versions.DOCKER, "Details": details},
                {"Name": "onggi", "Version": versions.ONGGI, "Details": {"Python": sys.version.split()[0]}},
            ],
            "Version": versions.DOCKER,
            "ApiVersion": versions.API,
            "MinAPIVersion": versions.API_MINIMUM,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": arch,
            "KernelVersion": host.release,
            "BuildTime": "",
        }

    async def info(self) -> Mapping[str, Any]:
        """The info document, key for key as Docker's."""
        counts = await self._count()
        containers = {
            "Containers": counts.running + counts.paused + counts.stopped,
            "ContainersRunning": counts.running,
            "ContainersPaused": counts.paused,
            "ContainersStopped": counts.stopped,
            "Images": counts.images,
        }
        tasks = {"NGoroutines": len(asyncio.all_tasks()), "NEventsListener": self._events.listeners}
        limits = await blocking(_limits, self._layout)
        machine = await blocking(_machine, self._instance)
        return {**machine, **containers, **tasks, **limits, **_SELF, "Warnings": _warnings(limits)}


_NO_COMMIT = {"ID": "", "Expected": ""}
_SELF: dict[str, Any] = {
    "Driver": "overlay2",
    "Plugins": {
        "Volume": ["local"],
        "Network": ["bridge", "host", "null"],
        "Authorization": None,
        "Log": ["json-file"],
    },
    "Debug": False,
    "LoggingDriver": "json-file",
    "CgroupDriver": "cgroupfs",
    "OSType": "linux",
    "IndexServerAddress": _HUB,
    "RegistryConfig": {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        "InsecureRegistryCIDRs": [],
        "IndexConfigs": {},
        "Mirrors": None,
    },
    "GenericResources": None,
    "Labels": [],
    "ExperimentalBuild": False,
    "ServerVersion": versions.DOCKER,
    "Runtimes": {"onggi": {"path": "onggi-oci"}},
    "DefaultRuntime": "onggi",
    "Swarm": {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    },
    "LiveRestoreEnabled": True,  # containers always outlive the engine
    "Isolation": "",
    "InitBinary": "",
    "ContainerdCommit": _NO_COMMIT,
    "RuncCommit": _NO_COMMIT,
    "InitCommit": _NO_COMMIT,
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
    "CDISpecDirs": [],
}
"""What is the same on every machine."""


def _machine(instance: Instance) -> dict[str, Any]:
    host, release = os.uname(), _os_release()
    return {
        "ID": _engine_id(instance.data_root / "engine-id"),
        "DriverStatus": [
            ["Backing Filesystem", _file_system(instance.data_root)],
            ["Supports d_type", "true"],  # overlay refuses to mount on a file system without
            ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
        ],
        "NFd": len(os.listdir("/proc/self/fd")),
        "SystemTime": gotime.rfc3339(time.time_ns()),
        "KernelVersion": host.release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "Architecture": host.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "DockerRootDir": str(instance.data_root),
        "HttpProxy": _proxy("http_proxy"),
        "HttpsProxy": _proxy("https_proxy"),
        "NoProxy": _proxy("no_proxy"),
        "Name": host.nodename,
        "IPv4Forwarding": _switch("/proc/sys/net/ipv4/ip_forward"),
        "BridgeNfIptables": _switch("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        "BridgeNfIp6tables": _switch("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    }


# The key, the controller, and the file that shows it on v1 (in any group) and on v2 (in any group but the top).
_FILES = (
    ("MemoryLimit", "memory", "memory.limit_in_bytes", "memory.max"),
    ("SwapLimit", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("KernelMemoryTCP", "memory", "memory.kmem.tcp.limit_in_bytes", ""),
    ("OomKillDisable", "memory", "memory.oom_control", ""),
    ("CpuCfsPeriod", "cpu", "cpu.cfs_period_us", "cpu.max"),
    ("CpuCfsQuota", "cpu", "cpu.cfs_quota_us", "cpu.max"),
    ("CPUShares", "cpu", "cpu.shares", "cpu.weight"),
    ("CPUSet", "cpuset", "cpuset.cpus", "cpuset.cpus"),
    ("PidsLimit", "pids", "", "pids.max"),
)


def _limits(layout: Layout) -> dict[str, Any]:
    found: dict[str, Any] = {"CgroupVersion": "2" if layout.mode == "v2" else "1"}
    own = detect.here()
    for key, controller, old, new in _FILES:
        version = next((m.version for m in layout.mounts if controller in m.controllers), 0)
        directory = layout.directory(controller, own.get(controller if version == 1 else "", "/"))
        file = old if version == 1 else new
        # the pids controller of v1 has no file in its top group to look for
        found[key] = directory is not None and (
            os.path.exists(f"{directory}/{file}") if file else version == 1 and key == "PidsLimit"
        )
    return found


def _warnings(limits: Mapping[str, Any]) -> list[str] | None:
    words = {
        "MemoryLimit": "memory limit",
        "SwapLimit": "swap limit",
        "CpuCfsQuota": "cpu cfs quota",
        "CPUShares": "cpu shares",
        "CPUSet": "cpuset",
        "PidsLimit": "pids limit",
    }
    return [f"WARNING: No {text} support" for key, text in words.items() if not limits[key]] or None


def _engine_id(file: Path) -> str:
    """The engine's id for life: made once, kept in its data root; linked into place whole, so it is never half there."""
    if not file.exists():
        new = file.with_name(f"{file.name}.{uuid.uuid4()}")
        new.write_text(str(uuid.uuid4()), encoding="ascii")
        with contextlib.suppress(FileExistsError):  # somebody else made it meanwhile: theirs counts
            os.link(new, file)
        new.unlink()
    return file.read_text(encoding="ascii")


def _os_release() -> dict[str, str]:
    """os-release(5)."""
    with contextlib.suppress(FileNotFoundError):  # a minimal host has none
        lines = Path("/etc/os-release").read_text(encoding="utf-8", errors="replace").splitlines()
        return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    return {}


def _file_system(directory: Path) -> str:
    """The type of the file system that holds `directory`, in Docker's words; see proc_pid_mountinfo(5)."""
    device = directory.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if before.split(" ")[2] == wanted:
                kind = after.split(" ")[0]
                return _FILE_SYSTEMS.get(kind, kind)
    return "<unknown>"


def _switch(file: str) -> bool:
    try:
        return Path(file).read_text(encoding="ascii").strip() == "1"
    except FileNotFoundError:  # the module is not loaded, or the protocol is not there
        return False


def _proxy(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.upper(), "")
