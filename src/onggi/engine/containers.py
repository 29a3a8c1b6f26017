"""Containers: the use cases, as the API asks for them.

Here the siblings of storey 1 meet: an image's layers (`store`), an endpoint (`network`) and a request for the launcher
(`runtime`). Creating is in `creation`, living and dying in `lifecycle`, stdio in `streams`; what others see of a container
in `views`. You come from `api/routes/containers`; the next doors are `creation`, `spec` and `runtime/plan`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from onggi.engine import adopt, spec, views
from onggi.engine.attach import Attachment
from onggi.engine.blocking import blocking
from onggi.engine.creation import Creation
from onggi.engine.directory import Directory
from onggi.engine.lifecycle import Lifecycle
from onggi.engine.logs import LogStream
from onggi.engine.parts import Parts
from onggi.engine.security import decide
from onggi.engine.streams import Streams
from onggi.errors import Invalid
from onggi.network.endpoint import Endpoint
from onggi.wire.containers import ContainerCreate, ContainerCreated, ContainerInspect, ContainerSummary, WaitResult
from onggi.wire.filters import Filters
from onggi.wire.options import AttachOptions, LogOptions

Steps = list[dict[str, str]]
Endpoints = list[Endpoint]
Users = list[tuple[str, bool]]

_TRACE_SECONDS = 1.0
"""How long the trace may take to come after a start."""


class Containers:
    """All containers of one engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._creation = Creation(parts)
        self._life = Lifecycle(parts)
        self._streams = Streams(parts)

    @property
    def directory(self) -> Directory:
        """Which containers there are."""
        return self._parts.directory

    async def create(self, name: str | None, platform: str, body: ContainerCreate) -> ContainerCreated:
        """Make a container; its name is made up if there is none."""
        return await self._creation.create(name, platform, body)

    async def plan(self, body: ContainerCreate) -> Steps:
        """The steps that a start of this request would take; nothing is done."""
        return await self._creation.plan(body)

    async def start(self, ref: str, detach_keys: str = "") -> None:
        """Start it; Unchanged if it runs, StartFailed if its process cannot be started."""
        await self._life.start(ref, detach_keys)

    async def stop(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Signal, then kill after `timeout` seconds (-1: never); Unchanged if it does not run."""
        await self._life.stop(ref, timeout=timeout, signal=signal)

    async def restart(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Stop if it runs, then start."""
        await self._life.restart(ref, timeout=timeout, signal=signal)

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal, by name or number; Conflict if it does not run."""
        await self._life.kill(ref, signal)

    async def pause(self, ref: str) -> None:
        """Freeze every process; Conflict if it does not run or is frozen."""
        await self._life.pause(ref)

    async def unpause(self, ref: str) -> None:
        """Thaw; Conflict if it is not frozen."""
        await self._life.unpause(ref)

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, if need be killed by `force`; Conflict if it runs or is being removed."""
        await self._life.remove(ref, force=force, volumes=volumes, link=link)

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Join its stdio; before a start, from the start on."""
        return await self._streams.attach(ref, options)

    async def logs(self, ref: str, options: LogOptions) -> LogStream:
        """Its log; with `follow` what comes until it ends."""
        return await self._streams.logs(ref, options)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set its terminal's size; Conflict if it does not run."""
        await self._streams.resize(ref, height, width)

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name; Conflict if that is taken."""
        container = self._parts.directory.find(ref)
        async with container.lock:
            old = container.name
            if name.removeprefix("/") == old:
                raise Invalid("rename", old, "Renaming a container with the same name as its current name", code="text")
            container.record.name = self._parts.directory.rename(container, name)
            await self._parts.records.put(container.record)
        self._parts.tell(container, "rename", oldName=f"/{old}")

    async def wait(self, ref: str, condition: str) -> Awaitable[WaitResult]:
        """Register for `not-running`, `next-exit` or `removed`; await what it gives for the result."""
        container = self._parts.directory.find(ref)
        if condition == "removed":
            return _result(container.removal())
        if condition == "next-exit" or container.is_running:
            return _result(container.next_exit())
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(container.record.state.exit_code)
        return _result(future)

    async def top(self, ref: str, ps_args: str) -> Mapping[str, Any]:
        """Its processes, as ps(1) shows them."""
        container = self._parts.directory.find(ref)
        container.keeper("top")
        return await views.processes(self._parts.layout.pids(self._parts.cgroup(container)), ps_args)

    async def list(self, *, all: bool, limit: int, size: bool, filters: Filters) -> list[ContainerSummary]:
        """Containers, newest first; only running ones unless `all`, at most `limit` unless 0."""
        return await views.summaries(self._parts.directory, all=all, limit=limit, size=size, filters=filters)

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """All about one."""
        container = self._parts.directory.find(ref)
        endpoints = [Endpoint.from_record(e) for e in container.record.endpoints]
        return await views.inspect(self._parts.instance, container, endpoints, size=size)

    async def facts(self, ref: str) -> dict[str, Any]:
        """What `explain` starts from: pid, names, limits, cgroup, the trace of the last start."""
        container = next((c for c in self._parts.gone if c.id == ref), None) or self._parts.directory.find(ref)
        record = container.record
        if container.awaits_trace:
            with contextlib.suppress(TimeoutError):  # then it is shown without
                async with asyncio.timeout(_TRACE_SECONDS):
                    await container.traced.wait()
        trace = container.trace or await blocking(adopt.read_trace, self._parts.instance, container.id)
        around = spec.Surroundings(
            [], {}, container.body.config.hostname or container.id[:12], lambda *_: record.state.pid
        )
        security = decide(container.body.host_config, self._parts.instance.exec_root / "seccomp")
        return {
            "id": container.id,
            "name": container.name,
            "image": record.image,
            "status": container.status,
            "pid": record.state.pid,
            "exit_code": record.state.exit_code,
            "cgroup": self._parts.cgroup(container),
            "trace": msgspec.json.decode(trace),
            "namespaces": container.namespaces,
            "warnings": container.warnings,
            "endpoints": record.endpoints,
            "config": spec.config(self._parts.instance, record, container.body, around, security),
        }

    # ---- the engine's own life -----------------------------------------------------------------------------------

    async def restore(self) -> Endpoints:
        """Take back what ran before this engine started; returns the endpoints of what still runs."""
        return await self._life.restore()

    def find_image_users(self, image_id: str) -> Users:
        """The containers made from an image: id, and whether it runs."""
        return [(c.id, c.is_running) for c in self._parts.directory if c.record.image_id == image_id]

    async def close(self) -> None:
        """Hang up on every keeper; the containers stay."""
        for container in self._parts.directory:
            if container.link:
                container.link.close()
        await self._parts.settle()
        await blocking(adopt.remove_group, self._parts.instance, self._parts.layout)


async def _result(future: asyncio.Future[int]) -> WaitResult:
    return WaitResult(status_code=await future)
