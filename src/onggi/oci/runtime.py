"""The OCI runtime specification's `config.json` as frozen values.

Only what Linux has, in the specification's words. `parse` is lenient towards unknown members, as the specification asks,
and strict about the shape of known ones. It imports nothing slow: the launcher reads one such document per container.
Callers: `runtime/plan`, `engine/spec` (writes the same document as a dict). Read next: `runtime/plan`.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Json: TypeAlias = Mapping[str, Any]

VERSION = "1.3.0"
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""The kinds of hooks, in the order of a container's life."""


@dataclass(frozen=True, slots=True)
class Rlimit:
    """`process.rlimits`: the name as in setrlimit(2), both limits."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`process.capabilities`: the five sets, by name."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """`process`: what to execute, as whom, with which rights."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    terminal: bool
    uid: int
    gid: int
    additional_gids: tuple[int, ...]
    umask: int | None
    capabilities: Capabilities | None
    rlimits: tuple[Rlimit, ...]
    no_new_privileges: bool
    oom_score_adj: int | None
    console_size: tuple[int, int] | None
    """Rows, columns."""
    apparmor_profile: str = ""
    selinux_label: str = ""
    scheduler: Json | None = None
    """As in the document: policy, nice, priority, flags, runtime, deadline, period."""
    io_priority: Json | None = None
    """As in the document: class, priority."""
    exec_cpu_affinity: Json | None = None
    """As in the document: initial, final; lists of processors."""


@dataclass(frozen=True, slots=True)
class Mount:
    """`mounts[]`: in the order in which they are made."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]
    uid_mappings: tuple[IdMap, ...] = ()
    """Of this mount alone (id-mapped mounts)."""
    gid_mappings: tuple[IdMap, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    """`linux.namespaces[]`: new without a path, else the one to join."""

    type: str
    path: str


@dataclass(frozen=True, slots=True)
class IdMap:
    """`linux.uidMappings[]`: `size` ids from `container_id` inside are those from `host_id` outside."""

    container_id: int
    host_id: int
    size: int


@dataclass(frozen=True, slots=True)
class Device:
    """`linux.devices[]`: a node to make."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Hook:
    """`hooks.*[]`: a program that is run at one point of the container's life."""

    path: str
    args: tuple[str, ...]
    """With the program's name; empty: only its path."""
    env: tuple[str, ...] | None
    timeout: int | None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The whole document."""

    root: str
    root_readonly: bool
    process: Process
    hostname: str
    domainname: str
    mounts: tuple[Mount, ...]
    namespaces: tuple[Namespace, ...]
    uid_mappings: tuple[IdMap, ...]
    gid_mappings: tuple[IdMap, ...]
    devices: tuple[Device, ...]
    resources: Json
    cgroups_path: str
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    sysctl: Json
    propagation: str
    time_offsets: Json
    annotations: Json
    version: str = VERSION
    hooks: Mapping[str, tuple[Hook, ...]] = field(default_factory=dict)
    """By kind, those kinds only that have some."""
    seccomp: Json | None = None
    mount_label: str = ""
    personality: Json | None = None
    memory_policy: Json | None = None
    intel_rdt: Json | None = None
    net_devices: Json = field(default_factory=dict)
    """By the link's name on the host: `{"name": name inside}`."""

    def namespace(self, kind: str) -> Namespace | None:
        """The entry of this kind, or None when the namespace is the caller's own."""
        return next((n for n in self.namespaces if n.type == kind), None)


def parse(document: Json) -> Spec:
    """The values of a decoded `config.json`; Invalid names the member that is missing or of the wrong type."""
    try:
        return _spec(document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid("read", "config.json", f"{type(error).__name__}: {error}") from error


def _spec(document: Json) -> Spec:
    root, linux = document.get("root") or {}, document.get("linux") or {}
    return Spec(
        root=root.get("path", "rootfs"),
        root_readonly=bool(root.get("readonly")),
        process=_process(document["process"]),
        hostname=document.get("hostname", ""),
        domainname=document.get("domainname", ""),
        mounts=tuple(_mount(m) for m in document.get("mounts") or ()),
        namespaces=tuple(Namespace(n["type"], n.get("path", "")) for n in linux.get("namespaces") or ()),
        uid_mappings=_id_maps(linux.get("uidMappings")),
        gid_mappings=_id_maps(linux.get("gidMappings")),
        devices=tuple(_device(d) for d in linux.get("devices") or ()),
        resources=linux.get("resources") or {},
        cgroups_path=linux.get("cgroupsPath", ""),
        masked_paths=tuple(linux.get("maskedPaths") or ()),
        readonly_paths=tuple(linux.get("readonlyPaths") or ()),
        sysctl=linux.get("sysctl") or {},
        propagation=linux.get("rootfsPropagation", ""),
        time_offsets=linux.get("timeOffsets") or {},
        annotations=document.get("annotations") or {},
        version=document.get("ociVersion", VERSION),
        hooks=_hooks(document.get("hooks") or {}),
        seccomp=linux.get("seccomp"),
        mount_label=linux.get("mountLabel") or "",
        personality=linux.get("personality"),
        memory_policy=linux.get("memoryPolicy"),
        intel_rdt=linux.get("intelRdt"),
        net_devices=linux.get("netDevices") or {},
    )


def _hooks(given: Json) -> dict[str, tuple[Hook, ...]]:
    return {kind: tuple(map(_hook, given[kind])) for kind in HOOKS if given.get(kind)}


def _hook(hook: Json) -> Hook:
    env = hook.get("env")
    return Hook(hook["path"], tuple(hook.get("args") or ()), None if env is None else tuple(env), hook.get("timeout"))


def parse_process(process: Json) -> Process:
    """The values of a decoded `process` by itself, as `exec` is given one; Invalid as in `parse`."""
    try:
        return _process(process)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid("read", "process.json", f"{type(error).__name__}: {error}") from error


def _process(process: Json) -> Process:
    user = process.get("user") or {}
    size = process.get("consoleSize")
    args = tuple(process.get("args") or ())
    if not args:
        raise Invalid("read", "config.json", "process.args is empty")
    return Process(
        args=args,
        env=tuple(process.get("env") or ()),
        cwd=process.get("cwd") or "/",
        terminal=bool(process.get("terminal")),
        uid=user.get("uid", 0),
        gid=user.get("gid", 0),
        additional_gids=tuple(user.get("additionalGids") or ()),
        umask=user.get("umask"),
        capabilities=_capabilities(process.get("capabilities")),
        rlimits=tuple(Rlimit(r["type"], r["soft"], r["hard"]) for r in process.get("rlimits") or ()),
        no_new_privileges=bool(process.get("noNewPrivileges")),
        oom_score_adj=process.get("oomScoreAdj"),
        console_size=(size["height"], size["width"]) if size else None,
        apparmor_profile=process.get("apparmorProfile") or "",
        selinux_label=process.get("selinuxLabel") or "",
        scheduler=process.get("scheduler"),
        io_priority=process.get("ioPriority"),
        exec_cpu_affinity=process.get("execCPUAffinity"),
    )


def _capabilities(sets: Json | None) -> Capabilities | None:
    if sets is None:
        return None
    names = ("bounding", "effective", "permitted", "inheritable", "ambient")
    return Capabilities(*(tuple(sets.get(name) or ()) for name in names))


def _mount(mount: Json) -> Mount:
    return Mount(
        mount["destination"],
        mount.get("type") or "",
        mount.get("source") or "",
        tuple(mount.get("options") or ()),
        _id_maps(mount.get("uidMappings")),
        _id_maps(mount.get("gidMappings")),
    )


def _id_maps(maps: list[Json] | None) -> tuple[IdMap, ...]:
    return tuple(IdMap(m["containerID"], m["hostID"], m["size"]) for m in maps or ())


def _device(device: Json) -> Device:
    return Device(
        device["path"],
        device["type"],
        device.get("major", 0),
        device.get("minor", 0),
        device.get("fileMode", 0o666),
        device.get("uid", 0),
        device.get("gid", 0),
    )
