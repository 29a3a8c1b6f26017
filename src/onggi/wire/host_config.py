"""HostConfig: what of the host a container gets. Data only; `engine/spec` turns it into a runtime spec.

Field for field as API 1.51 has it, in Docker's order. Callers: `containers`. Read next: `networks`.
"""

# ruff: noqa: RUF012 - msgspec copies a mutable default for each new struct
from __future__ import annotations

from typing import ClassVar

from onggi.wire.document import Document, Int64, StrSlice
from onggi.wire.networks import PortBinding


class LogConfig(Document, frozen=True, kw_only=True):
    """The log driver and its options."""

    type: str = ""
    config: dict[str, str] = {}


class RestartPolicy(Document, frozen=True, kw_only=True):
    """When the engine starts a container again: `no`, `always`, `unless-stopped`, `on-failure`."""

    name: str = ""
    maximum_retry_count: Int64 = 0


class WeightDevice(Document, frozen=True, kw_only=True):
    """A block device's share."""

    path: str = ""
    weight: Int64 = 0


class ThrottleDevice(Document, frozen=True, kw_only=True):
    """A block device's limit, in bytes or operations a second."""

    path: str = ""
    rate: Int64 = 0


class DeviceMapping(Document, frozen=True, kw_only=True):
    """A device of the host and where the container sees it."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Document, frozen=True, kw_only=True):
    """A request for devices by capability (`--gpus`)."""

    driver: str = ""
    count: Int64 = 0
    device_ids: list[str] | None = None
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Document, frozen=True, kw_only=True):
    """A resource limit of setrlimit(2), by its lower-case name."""

    name: str = ""
    hard: Int64 = 0
    soft: Int64 = 0


class BindOptions(Document, frozen=True, kw_only=True):
    """Options of a bind mount."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset(
        {
            "propagation",
            "non_recursive",
            "create_mountpoint",
            "read_only_non_recursive",
            "read_only_force_recursive",
        }
    )
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeDriver(Document, frozen=True, kw_only=True):
    """The driver that makes a volume, and its options."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"name", "options"})
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Document, frozen=True, kw_only=True):
    """Options of a volume mount."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"no_copy", "labels", "subpath", "driver_config"})
    no_copy: bool = False
    labels: dict[str, str] | None = None
    subpath: str = ""
    driver_config: VolumeDriver | None = None


class ImageOptions(Document, frozen=True, kw_only=True):
    """Options of an image mount."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"subpath"})
    subpath: str = ""


class TmpfsOptions(Document, frozen=True, kw_only=True):
    """Options of a tmpfs mount; `mode` is a number of chmod(2)."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"size_bytes", "mode", "options"})
    size_bytes: Int64 = 0
    mode: Int64 = 0
    options: list[list[str]] | None = None


class Mount(Document, frozen=True, kw_only=True):
    """A mount as asked for with `--mount`: `type` is bind, volume, tmpfs, image, npipe or cluster."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset(
        {
            "type",
            "source",
            "target",
            "read_only",
            "consistency",
            "bind_options",
            "volume_options",
            "image_options",
            "tmpfs_options",
        }
    )
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class HostConfig(Document, frozen=True, kw_only=True):
    """What of the host a container gets. Zero, empty and None mean *the default*, as in Docker."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset(
        {
            "annotations",
            "storage_opt",
            "tmpfs",
            "sysctls",
            "runtime",
            "kernel_memory",
            "kernel_memory_tcp",
            "mounts",
        }
    )
    OMIT_NONE: ClassVar[frozenset[str]] = frozenset({"init"})
    binds: list[str] | None = None
    container_id_file: str = ""
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: tuple[Int64, Int64] = (0, 0)
    annotations: dict[str, str] | None = None
    cap_add: StrSlice = None
    cap_drop: StrSlice = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: Int64 = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = ""
    userns_mode: str = ""
    shm_size: Int64 = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    cpu_shares: Int64 = 0
    memory: Int64 = 0
    nano_cpus: Int64 = 0
    cgroup_parent: str = ""
    blkio_weight: Int64 = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = None
    blkio_device_write_iops: list[ThrottleDevice] | None = None
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_realtime_period: Int64 = 0
    cpu_realtime_runtime: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: Int64 = 0
    kernel_memory_tcp: Int64 = 0
    memory_reservation: Int64 = 0
    memory_swap: Int64 = 0
    memory_swappiness: Int64 | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Int64 | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: Int64 = 0
    cpu_percent: Int64 = 0
    io_maximum_iops: Int64 = 0
    io_maximum_bandwidth: Int64 = 0
    mounts: list[Mount] | None = None
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = None
