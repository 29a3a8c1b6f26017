"""HostConfig and image make a runtime specification: the one place where policy is decided.

`document` gives the `config.json` and what lies beside it (`runtime/request`). What is refused, merged and checked
before lives in `refusals`, `merge`, `resources`, `binds` and `security`. You come from `engine/containers`; the next
door is `runtime/plan`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onggi.engine import user_ids
from onggi.engine.instance import Instance
from onggi.engine.merge import process_environment
from onggi.engine.records import ContainerRecord, MountRecord
from onggi.engine.resources import resources, shm_size, stat_device, ulimits
from onggi.engine.security import Security, decide
from onggi.errors import Conflict, Invalid, Unsupported
from onggi.oci.runtime import VERSION
from onggi.runtime.plan_mounts import SHARED
from onggi.wire.containers import ContainerCreate

Json = dict[str, Any]
PidOf = Callable[[str, str], int]
"""The pid of a container that runs, for the kind of namespace that is to be joined."""
"""The pid of a running container; NotFound or Conflict when there is none."""

_KERNEL_SYSCTLS = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax")
_IPC_SYSCTLS = frozenset({*_KERNEL_SYSCTLS, "kernel.shmmni", "kernel.shm_rmid_forced"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine found out about the start: links to make, files to show, whose namespaces to join."""

    links: list[Json]
    files: Mapping[str, str]
    """Destination -> source of hosts, resolv.conf, hostname."""
    hostname: str
    pid_of: PidOf


def document(instance: Instance, record: ContainerRecord, body: ContainerCreate, around: Surroundings) -> Json:
    """The launcher's request for this container."""
    security = decide(body.host_config, instance.exec_root / "seccomp")
    directory = instance.container_dir(record.id)
    log = "" if body.host_config.log_config.type == "none" else str(directory / "log")
    return {
        "id": record.id,
        "config": config(instance, record, body, around, security),
        "run_dir": str(instance.run_dir(record.id)),
        "rootfs": str(directory / "rootfs"),
        "log": log,
        "overlay": {
            "lowers": record.lowers,
            "upper": record.upper,
            "work": record.work,
            "in_memory": record.in_memory,
        },
        "links": around.links,
        "user": body.config.user,
        "extra_groups": body.host_config.group_add or [],
        "seccomp": security.filter,
        "seccomp_flags": security.filter_flags,
        "listener": security.listener,
        "open_stdin": body.config.open_stdin,
        "stdin_once": body.config.stdin_once,
        "private_cgroup": _cgroup_mode(body) == "private",
    }


def config(
    instance: Instance, record: ContainerRecord, body: ContainerCreate, around: Surroundings, security: Security
) -> Json:
    """The container's `config.json`."""
    host = body.host_config
    return {
        "ociVersion": VERSION,
        "process": _process(body, around, security),
        "root": {"path": str(instance.container_dir(record.id) / "rootfs"), "readonly": host.readonly_rootfs},
        "hostname": "" if host.uts_mode == "host" else around.hostname,
        "domainname": "" if host.uts_mode == "host" else body.config.domainname,
        "mounts": _mounts(record, body, around),
        "annotations": host.annotations or {},
        "linux": {
            "namespaces": namespaces(body, around.pid_of),
            "resources": resources(host),
            "cgroupsPath": cgroup_path(instance, record.id, host.cgroup_parent),
            "devices": _devices(body),
            "sysctl": _sysctls(body),
            "maskedPaths": list(security.masked),
            "readonlyPaths": list(security.readonly),
            **_id_maps(instance, record, body),
        },
    }


def cgroup_path(instance: Instance, container_id: str, parent: str) -> str:
    """The container's group: below the engine's own, or below `--cgroup-parent`."""
    if ".." in parent.split("/"):
        raise Invalid("create container with", "HostConfig.CgroupParent", f"{parent!r} leads out of the hierarchy")
    return f"/{parent.strip('/') or instance.name}/{container_id}"


def _process(body: ContainerCreate, around: Surroundings, security: Security) -> Json:
    config = body.config
    names = list(security.capabilities)
    height, width = body.host_config.console_size
    return {
        "args": [*(config.entrypoint or []), *(config.cmd or [])],
        "env": process_environment(config, around.hostname),
        "cwd": config.working_dir or "/",
        "terminal": config.tty,
        "consoleSize": {"height": height, "width": width} if config.tty and height and width else None,
        "capabilities": {"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []},
        "noNewPrivileges": security.no_new_privileges,
        "rlimits": ulimits(body.host_config),
        "oomScoreAdj": oom_score(body),
    }


def oom_score(body: ContainerCreate) -> int:
    """How readily the kernel kills its processes; Invalid out of range."""
    score = body.host_config.oom_score_adj
    if not -1000 <= score <= 1000:
        raise Invalid(
            "read", "OomScoreAdj", f"Invalid value {score}, range for oom score adj is [-1000, 1000]", code="text"
        )
    return score


def namespaces(body: ContainerCreate, pid_of: PidOf) -> list[Json]:
    """The container's own namespaces, and those that it joins; the others are the host's."""
    host = body.host_config
    found: list[Json] = [{"type": "mount"}, {"type": "time"}]
    for kind, file, mode in (
        ("pid", "pid", host.pid_mode),
        ("ipc", "ipc", host.ipc_mode),
        ("uts", "uts", host.uts_mode),
        ("network", "net", host.network_mode),
        ("cgroup", "cgroup", _cgroup_mode(body)),
    ):
        if mode.startswith("container:"):
            found.append({"type": kind, "path": f"/proc/{pid_of(mode.partition(':')[2], kind)}/ns/{file}"})
        elif mode != "host":
            _check_mode(kind, mode)
            found.append({"type": kind})
    if user_ids.has_own(host):
        found.append({"type": "user"})
        shared = next((namespace["type"] for namespace in found if "path" in namespace), None)
        if shared:
            cause = f"it cannot share another container's {shared} namespace"
            raise Unsupported("create container with", "HostConfig.UsernsMode", cause)
    return found


def _id_maps(instance: Instance, record: ContainerRecord, body: ContainerCreate) -> Json:
    if not user_ids.has_own(body.host_config):
        return {}
    maps = user_ids.mappings(user_ids.first_id(instance, record.id))
    return {"uidMappings": maps, "gidMappings": maps}


_MODES = {
    "pid": {"", "private"},
    "ipc": {"", "private", "shareable", "none"},
    "uts": {""},
    "network": {"", "default", "bridge", "none"},
    "cgroup": {"private"},
}


def _check_mode(kind: str, mode: str) -> None:
    if mode not in _MODES[kind]:
        if kind == "network":
            raise Conflict("use network", mode, f"network {mode} not found", code="text")
        name = {"ipc": "IPC", "pid": "PID", "uts": "UTS", "cgroup": "cgroup namespace"}[kind]
        raise Invalid("read", f"{kind} mode", f"invalid {name} mode: {mode}", code="text")


def _cgroup_mode(body: ContainerCreate) -> str:
    """Private unless asked otherwise; a privileged container on Docker sees the host's groups on v1 only: here never."""
    return body.host_config.cgroupns_mode or "private"


def _mounts(record: ContainerRecord, body: ContainerCreate, around: Surroundings) -> list[Json]:
    host = body.host_config
    writable = "rw" if host.privileged else "ro"
    quiet = ["nosuid", "noexec", "nodev"]
    own_ids = ["idmap"] if user_ids.has_own(host) else []
    base = [
        _entry("/proc", "proc", "proc", quiet),
        _entry("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _entry("/dev/pts", "devpts", "devpts", _DEVPTS),
        _entry("/sys", "sysfs", "sysfs", [*quiet, writable]),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", [*quiet, writable]),
    ]
    base += _ipc_mounts(body, around.pid_of)
    asked = {entry.destination for entry in record.mounts}
    base = [entry for entry in base if entry["destination"] not in asked]
    base += [
        _entry(place, "bind", source, ["rbind", "rprivate", *own_ids])
        for place, source in around.files.items()
        if place not in asked
    ]
    return base + [_requested(mount) for mount in record.mounts]


_DEVPTS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]


def _ipc_mounts(body: ContainerCreate, pid_of: PidOf) -> list[Json]:
    """/dev/mqueue and /dev/shm: of the IPC namespace's owner, the host's, or new."""
    mode, quiet = body.host_config.ipc_mode, ["nosuid", "noexec", "nodev"]
    found = [_entry("/dev/mqueue", "mqueue", "mqueue", quiet)]  # the IPC namespace's, whosever that is
    if mode == "host":
        return [*found, _entry("/dev/shm", "bind", "/dev/shm", ["rbind", "rprivate", *quiet])]
    if mode.startswith("container:"):
        owner = f"/proc/{pid_of(mode.partition(':')[2], 'ipc')}/ns/mnt"
        return [*found, _entry("/dev/shm", SHARED, owner, ["private", *quiet])]
    if mode != "none":
        options = [*quiet, "mode=1777", f"size={shm_size(body.host_config)}"]
        found.append(_entry("/dev/shm", "tmpfs", "shm", options))
    return found


def _entry(destination: str, kind: str, source: str, options: list[str]) -> Json:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _requested(mount: MountRecord) -> Json:
    return _entry(mount.destination, mount.type, mount.source or mount.type, mount.options)


def _devices(body: ContainerCreate) -> list[Json]:
    found = [_device(d.path_on_host, d.path_in_container or d.path_on_host) for d in body.host_config.devices or ()]
    if body.host_config.privileged:
        found += [_device(path, path) for path in _host_devices("/dev")]
    return found


def _device(source: str, destination: str) -> Json:
    found = stat_device(source)
    kind = found.st_mode & 0o170000
    return {
        "path": destination,
        "type": "b" if kind == 0o060000 else "c",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": found.st_mode & 0o7777,
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


_OWN_DEVICES = frozenset(
    {"pts", "shm", "mqueue", "fd", "console", "ptmx", "null", "zero", "full", "random", "urandom", "tty"}
)


def _host_devices(top: str) -> list[str]:
    found: list[str] = []
    for entry in os.scandir(top):
        if entry.name in _OWN_DEVICES or entry.is_symlink():
            continue
        if entry.is_dir():
            found += _host_devices(entry.path)
        elif entry.stat().st_mode & 0o170000 in (0o020000, 0o060000):
            found.append(entry.path)
    return found


def _sysctls(body: ContainerCreate) -> dict[str, str]:
    """Docker's own two for a network namespace, and what was asked for: namespaced parameters only."""
    host = body.host_config
    own_network = host.network_mode != "host" and not host.network_mode.startswith("container:")
    found: dict[str, str] = {}
    if own_network:
        last = user_ids.SIZE - 1 if user_ids.has_own(host) else 2147483647  # groups that the container knows
        found = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {last}"}
    for key, value in (host.sysctls or {}).items():
        _check_sysctl(key, host.network_mode, host.ipc_mode)
        found[key] = value
    return found


def _check_sysctl(key: str, network_mode: str, ipc_mode: str) -> None:
    if key.startswith("net."):
        if network_mode == "host":
            raise Invalid("set", key, f"sysctl '{key}' not allowed in host network namespace", code="text")
    elif key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
        if ipc_mode == "host":
            raise Invalid("set", key, f"sysctl '{key}' not allowed in host ipc namespace", code="text")
    else:
        raise Invalid("set", key, f'sysctl "{key}" is not in a separate kernel namespace', code="text")
