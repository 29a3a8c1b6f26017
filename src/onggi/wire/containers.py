"""Containers on the wire: what create takes, what list, inspect and wait give.

Data only; `engine/containers` fills and reads them. Callers: the engine, the API. Read next: `host_config`, `networks`.
"""

# ruff: noqa: RUF012 - msgspec copies a mutable default for each new struct
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from onggi.errors import Invalid
from onggi.wire.document import Document, Int64, StrSlice, convert, parse
from onggi.wire.host_config import HostConfig
from onggi.wire.networks import EndpointSettings, NetworkingConfig, NetworkSettings, SummaryNetworks

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time: *never*."""


class Healthcheck(Document, frozen=True, kw_only=True):
    """How a container's health is asked for; times in nanoseconds, 0 means the default or the image's."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset(
        {"test", "interval", "timeout", "start_period", "start_interval", "retries"}
    )
    test: list[str] | None = None
    interval: Int64 = 0
    timeout: Int64 = 0
    start_period: Int64 = 0
    start_interval: Int64 = 0
    retries: Int64 = 0


class ContainerConfig(Document, frozen=True, kw_only=True):
    """What runs, as whom, where: the part of a container that would be the same on another host."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset(
        {
            "exposed_ports",
            "healthcheck",
            "args_escaped",
            "network_disabled",
            "mac_address",
            "stop_signal",
            "shell",
        }
    )
    OMIT_NONE: ClassVar[frozenset[str]] = frozenset({"stop_timeout"})
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: StrSlice = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    entrypoint: StrSlice = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: Int64 | None = None
    shell: StrSlice = None


class CreateRequest(Document, frozen=True, kw_only=True):
    """What lies beside the config in the body of create."""

    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()


@dataclass(frozen=True, slots=True)
class ContainerCreate:
    """The body of `POST /containers/create`: on the wire the config's fields lie flat beside the other two."""

    config: ContainerConfig
    host_config: HostConfig
    networking_config: NetworkingConfig

    @property
    def endpoints(self) -> dict[str, EndpointSettings]:
        """The networks that were asked for, by name."""
        asked = self.networking_config.endpoints_config or {}
        return {name: settings or EndpointSettings() for name, settings in asked.items()}


def decode_create(raw: bytes) -> ContainerCreate:
    """The create request in `raw`; `Invalid` in Docker's words."""
    value = parse(raw)
    if not value and not isinstance(value, list):
        raise Invalid("create", "container", "config cannot be empty in order to create a container", code="text")
    rest = convert(value, CreateRequest)
    return ContainerCreate(convert(value, ContainerConfig), rest.host_config, rest.networking_config)


class ContainerCreated(Document, frozen=True, kw_only=True):
    """The answer to create."""

    id: str
    warnings: list[str] = []


class HealthResult(Document, frozen=True, kw_only=True):
    """One answer of a health check."""

    start: str = ZERO_TIME
    end: str = ZERO_TIME
    exit_code: int = 0
    output: str = ""


class Health(Document, frozen=True, kw_only=True):
    """A container's health: `starting`, `healthy`, `unhealthy`, and the last answers."""

    status: str = "none"
    failing_streak: int = 0
    log: list[HealthResult] = []


class State(Document, frozen=True, kw_only=True):
    """Where a container is in its life. `status`: created running paused restarting removing exited dead."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"health"})
    status: str = "created"
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = False
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ZERO_TIME
    finished_at: str = ZERO_TIME
    health: Health | None = None


class MountPoint(Document, frozen=True, kw_only=True):
    """A mount as the container has it."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"type", "name", "driver"})
    type: str = ""
    name: str = ""
    source: str = ""
    destination: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""


class GraphDriver(Document, frozen=True, kw_only=True):
    """How the root file system is put together: the overlay's directories."""

    data: dict[str, str] | None = None
    name: str = "overlay2"


class ContainerInspect(Document, frozen=True, kw_only=True):
    """`GET /containers/{id}/json`."""

    OMIT_NONE: ClassVar[frozenset[str]] = frozenset({"size_rw", "size_root_fs", "image_manifest_descriptor"})
    id: str
    created: str
    path: str = ""
    args: list[str] = []
    state: State = State()
    image: str = ""
    resolv_conf_path: str = ""
    hostname_path: str = ""
    hosts_path: str = ""
    log_path: str = ""
    name: str = ""
    restart_count: int = 0
    driver: str = "overlay2"
    platform: str = "linux"
    image_manifest_descriptor: dict[str, Any] | None = None
    mount_label: str = ""
    process_label: str = ""
    app_armor_profile: str = ""
    exec_ids: list[str] | None = None
    host_config: HostConfig = HostConfig()
    graph_driver: GraphDriver = GraphDriver()
    size_rw: int | None = None
    size_root_fs: int | None = None
    mounts: list[MountPoint] = []
    config: ContainerConfig = ContainerConfig()
    network_settings: NetworkSettings = NetworkSettings()


class Port(Document, frozen=True, kw_only=True):
    """A port in the list; `type` is tcp, udp or sctp."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"ip", "public_port"})
    ip: str = ""
    private_port: int = 0
    public_port: int = 0
    type: str = "tcp"


class SummaryHostConfig(Document, frozen=True, kw_only=True):
    """The two facts of HostConfig that the list shows."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"annotations"})
    network_mode: str = ""
    annotations: dict[str, str] | None = None


class ContainerSummary(Document, frozen=True, kw_only=True):
    """An element of `GET /containers/json`; `created` in seconds, `status` made by `gotime.status`."""

    OMIT_NONE: ClassVar[frozenset[str]] = frozenset({"size_rw", "size_root_fs"})
    id: str
    names: list[str] = []
    image: str = ""
    image_id: str = ""
    command: str = ""
    created: int = 0
    ports: list[Port] = []
    size_rw: int | None = None
    size_root_fs: int | None = None
    labels: dict[str, str] = {}
    state: str = "created"
    status: str = ""
    host_config: SummaryHostConfig = SummaryHostConfig()
    network_settings: SummaryNetworks = SummaryNetworks()
    mounts: list[MountPoint] = []


class WaitError(Document, frozen=True, kw_only=True):
    """Why a wait failed though the container ended."""

    message: str


class WaitResult(Document, frozen=True, kw_only=True):
    """The answer to wait."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"error"})
    status_code: int
    error: WaitError | None = None
