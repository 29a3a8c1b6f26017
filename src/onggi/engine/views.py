"""What others see of a container: an element of the list, the inspect document, its processes.

Reading only. Callers: `containers`. Read next: `wire/containers`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from onggi.engine.container import Container
from onggi.engine.directory import Directory
from onggi.engine.instance import Instance
from onggi.engine.network_views import endpoint_settings, network_settings, port_map
from onggi.engine.records import MountRecord
from onggi.errors import Invalid, Unavailable
from onggi.network.endpoint import Endpoint
from onggi.wire import gotime
from onggi.wire.containers import (
    ContainerConfig,
    ContainerInspect,
    ContainerSummary,
    GraphDriver,
    MountPoint,
    Port,
    State,
    SummaryHostConfig,
)
from onggi.wire.filters import Filters, refused
from onggi.wire.networks import EndpointSettings, NetworkSettings, SummaryNetworks

_STATUSES = frozenset({"created", "restarting", "running", "removing", "paused", "exited", "dead"})


async def summaries(
    directory: Directory, *, all: bool, limit: int, size: bool, filters: Filters
) -> list[ContainerSummary]:
    """The list: newest first; `limit` and a filter on status imply `all`, as in Docker."""
    for status in filters.values("status"):
        if status not in _STATUSES:
            raise refused("status", status)
    for ref in (*filters.values("before"), *filters.values("since")):
        directory.find(ref)
    everything = all or limit > 0 or "status" in filters or "exited" in filters
    newest = sorted(directory, key=lambda c: c.record.created, reverse=True)
    found = [c for c in newest if (everything or c.is_running) and _matches(c, filters, directory)]
    found = found[:limit] if limit > 0 else found
    now = time.time_ns()
    return [_summary(c, now, _size(c) if size else None) for c in found]


def _matches(container: Container, filters: Filters, directory: Directory) -> bool:
    record, config = container.record, container.body.config
    exited = {str(record.state.exit_code)} if record.state.status == "exited" else set()
    networks = [value for e in record.endpoints for value in (e["network_name"], e["network_id"])]
    networks.append(container.body.host_config.network_mode)
    mounts = [value for m in record.mounts for value in (m.source, m.destination)]
    return (
        filters.match_prefix("id", container.id)
        and filters.match_pattern("name", container.name, f"/{container.name}")
        and filters.match("status", container.status)
        and filters.match_labels(config.labels)
        and ("exited" not in filters or filters.match("exited", *exited))
        and filters.match("network", *networks)
        and filters.match("volume", *mounts)
        and filters.match("ancestor", record.image, f"{record.image}:latest", record.image_id, record.image_id[7:19])
        and filters.match("health", "none")
        and filters.match("is-task", "false")
        and _in_time(container, filters, directory)
    )


def _in_time(container: Container, filters: Filters, directory: Directory) -> bool:
    """`before` and `since` name containers."""
    created = container.record.created
    return all(created < directory.find(ref).record.created for ref in filters.values("before")) and all(
        created > directory.find(ref).record.created for ref in filters.values("since")
    )


def _summary(container: Container, now: int, size: int | None) -> ContainerSummary:
    record, config = container.record, container.body.config
    state = record.state
    return ContainerSummary(
        id=container.id,
        names=[f"/{container.name}"],
        image=record.image,
        image_id=record.image_id,
        command=_command([*(config.entrypoint or []), *(config.cmd or [])]),
        created=record.created // gotime.SECOND,
        ports=_ports(container),
        size_rw=size,
        size_root_fs=size,
        labels=config.labels or {},
        state=container.status,
        status=gotime.status(
            container.status,
            now=now,
            started=state.started_at,
            finished=state.finished_at,
            exit_code=state.exit_code,
        ),
        host_config=SummaryHostConfig(network_mode=container.body.host_config.network_mode),
        network_settings=SummaryNetworks(networks=_networks(container, _endpoints(container))),
        mounts=[_mount_point(mount) for mount in record.mounts],
    )


def _command(words: Sequence[str]) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in words)


def _ports(container: Container) -> list[Port]:
    """What is exposed, and where it is published."""
    if not container.is_running:
        return []
    found = []
    for text, places in port_map(_endpoints(container), container.body.config.exposed_ports or {}).items():
        number, _, kind = text.partition("/")
        port = Port(private_port=int(number), type=kind or "tcp")
        published = [
            msgspec.structs.replace(port, ip=place.host_ip, public_port=int(place.host_port)) for place in places or ()
        ]
        found += published or [port]
    return found


def _endpoints(container: Container) -> list[Endpoint]:
    return [Endpoint.from_record(e) for e in container.record.endpoints]


def _networks(container: Container, endpoints: Sequence[Endpoint]) -> dict[str, EndpointSettings]:
    if endpoints:
        return {e.network_name: endpoint_settings(e) for e in endpoints}
    mode = container.body.host_config.network_mode
    return {} if mode.startswith("container:") else {mode: EndpointSettings()}


async def inspect(
    instance: Instance, container: Container, endpoints: Sequence[Endpoint], *, size: bool
) -> ContainerInspect:
    """The whole document."""
    record, config = container.record, container.body.config
    directory = instance.container_dir(container.id)
    words = [*(config.entrypoint or []), *(config.cmd or [])]
    host = container.body.host_config
    used = _size(container) if size else None
    return ContainerInspect(
        id=container.id,
        created=gotime.rfc3339(record.created),
        path=words[0],
        args=words[1:],
        state=_state(container),
        image=record.image_id,
        resolv_conf_path=str(directory / "resolv.conf"),
        hostname_path=str(directory / "hostname"),
        hosts_path=str(directory / "hosts"),
        log_path="" if host.log_config.type == "none" else str(directory / "log"),
        name=f"/{container.name}",
        exec_ids=list(container.exec_ids) or None,
        host_config=host,
        graph_driver=_graph_driver(container),
        size_rw=used,
        size_root_fs=used,
        mounts=[_mount_point(mount) for mount in record.mounts],
        config=_shown_config(container),
        network_settings=_network_settings(container, endpoints),
    )


def _shown_config(container: Container) -> ContainerConfig:
    config = container.body.config
    return config if config.hostname else msgspec.structs.replace(config, hostname=container.id[:12])


def _state(container: Container) -> State:
    state = container.record.state
    return State(
        status=container.status,
        running=container.is_running,
        paused=state.status == "paused",
        oom_killed=state.oom_killed,
        pid=state.pid,
        exit_code=state.exit_code,
        error=state.error,
        started_at=gotime.rfc3339(state.started_at),
        finished_at=gotime.rfc3339(state.finished_at),
    )


def _graph_driver(container: Container) -> GraphDriver:
    record = container.record
    return GraphDriver(
        name="overlay2",
        data={"LowerDir": ":".join(record.lowers), "UpperDir": record.upper, "WorkDir": record.work},
    )


def _mount_point(mount: MountRecord) -> MountPoint:
    return MountPoint(
        type=mount.type,
        source=mount.source,
        destination=mount.destination,
        mode=mount.mode,
        rw=mount.rw,
        propagation=mount.propagation,
    )


def _network_settings(container: Container, endpoints: Sequence[Endpoint]) -> NetworkSettings:
    pid = container.record.state.pid
    exposed = (container.body.config.exposed_ports or {}) if pid else ()
    key = f"/proc/{pid}/ns/net" if pid else ""
    settings = network_settings(endpoints, sandbox_key=key, exposed=exposed)
    return msgspec.structs.replace(settings, networks=_networks(container, endpoints))


def _size(container: Container) -> int:
    """Bytes that the container's own layer takes."""
    total = 0
    for parent, _, names in os.walk(container.record.upper):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:  # the container removed it meanwhile
                continue
    return total


async def processes(pids: Sequence[int], ps_args: str) -> dict[str, Any]:
    """`ps` with these arguments, narrowed to the pids; Invalid when its output has no PID column."""
    words = ps_args.split() or ["-ef"]
    try:
        ps = await asyncio.create_subprocess_exec(
            "ps", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError as error:
        raise Unavailable("list", "processes", "ps is not installed", hint="apt-get install procps") from error
    out, err = await ps.communicate()
    if ps.returncode:
        raise Invalid("list", "processes", f"ps: {err.decode(errors='replace').strip()}", code="text")
    titles, *lines = [line.split() for line in out.decode(errors="replace").splitlines()]
    if "PID" not in titles:
        raise Invalid("list", "processes", "Couldn't find PID field in ps output", code="text")
    place, wanted = titles.index("PID"), {str(pid) for pid in pids}
    found = []
    for line in lines:
        if len(line) > place and line[place] in wanted:
            found.append([*line[: len(titles) - 1], " ".join(line[len(titles) - 1 :])])
    return {"Titles": titles, "Processes": found}
