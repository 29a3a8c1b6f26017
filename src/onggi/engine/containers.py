"""Containers: the use cases. Create, start, stop, kill, wait, attach, logs, resize, pause, rename, remove.

Here the siblings of storey 1 meet: an image's layers (`store`), an endpoint (`network`) and a request for the launcher
(`runtime`). What is decided lies in `spec`; what is kept in `records`; what others show of a container in `views`. You
come from `api/routes/containers`; the next doors are `spec` and `runtime/plan`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import msgspec

from onggi.engine import adopt, published, refusals, signals, spec, views
from onggi.engine.attach import Attachment, parse_keys
from onggi.engine.binds import requested
from onggi.engine.blocking import blocking
from onggi.engine.container import Container, Pending, settle
from onggi.engine.directory import Directory
from onggi.engine.events import Events
from onggi.engine.files import network_files
from onggi.engine.images import ContainerImage, Images
from onggi.engine.instance import Instance
from onggi.engine.keeper_link import KeeperLink
from onggi.engine.launcher import Launcher
from onggi.engine.logs import LogStream
from onggi.engine.merge import merge
from onggi.engine.networks import Networks
from onggi.engine.records import ContainerRecord, MountRecord, Records, StateRecord
from onggi.engine.security import decide
from onggi.errors import Conflict, Invalid, NotFound, OnggiError, Unchanged, Unsupported
from onggi.kernel.cgroup.layout import Layout
from onggi.network.endpoint import Endpoint, links
from onggi.runtime import plan
from onggi.runtime.request import from_json
from onggi.wire.containers import ContainerCreate, ContainerCreated, ContainerInspect, ContainerSummary, WaitResult
from onggi.wire.document import to_wire
from onggi.wire.filters import Filters
from onggi.wire.options import AttachOptions, LogOptions

Steps = list[dict[str, str]]
Endpoints = list[Endpoint]
Users = list[tuple[str, bool]]

_log = logging.getLogger("onggi.containers")
_STOP_SECONDS = 10
_KILL_SECONDS = 10
_REMEMBERED = 8
_EXIT_OF = {"exec.not-in-path": 127, "exec.no-such-file": 127, "exec.interpreter": 127}
_CANNOT_EXECUTE = 126


class Containers:
    """All containers of one engine."""

    def __init__(
        self,
        instance: Instance,
        layout: Layout,
        records: Records,
        launcher: Launcher,
        images: Images,
        networks: Networks,
        events: Events,
    ) -> None:
        self._instance = instance
        self._layout = layout
        self._records = records
        self._launcher = launcher
        self._images = images
        self._networks = networks
        self._events = events
        self.directory = Directory()
        self._gone: deque[Container] = deque(maxlen=_REMEMBERED)
        """The last that were removed: `onggi run --rm` explains what it just ran."""
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- life ----------------------------------------------------------------------------------------------------

    async def create(self, name: str | None, platform: str, body: ContainerCreate) -> ContainerCreated:
        """Make a container; its name is made up if there is none."""
        refusals.check(body)
        if not body.config.image:
            raise Invalid("create", "container", "no image was given", code="image.not-given")
        image = await self._images.for_container(body.config.image, platform)
        body = self._merged(body, image)
        container_id = secrets.token_hex(32)
        mounts = requested(body)
        published.ports(body)
        reserved = self.directory.reserve(name, container_id)
        try:
            record = await self._record(container_id, reserved, body, image, mounts)
            self._try_plan(record, body)
            await self._records.put(record)
        except BaseException:
            self.directory.release(reserved, container_id)
            await self._discard(container_id)
            raise
        container = Container(record, body)
        self.directory.add(container)
        self._tell(container, "create")
        return ContainerCreated(id=container_id, warnings=self._doubts(body, image))

    async def _record(
        self, container_id: str, name: str, body: ContainerCreate, image: ContainerImage, mounts: list[MountRecord]
    ) -> ContainerRecord:
        """The record of a new container, and its directories."""
        overlay = await self._images.prepare(container_id, image)
        directory = self._instance.container_dir(container_id)
        (directory / "rootfs").mkdir(mode=0o700)
        memory = directory / "memory"
        if overlay.in_memory:
            memory.mkdir(mode=0o700)
        return ContainerRecord(
            id=container_id,
            name=name,
            created=time.time_ns(),
            image=body.config.image,
            image_id=image.id,
            body=self._document(body),
            lowers=list(overlay.lowers),
            upper=overlay.upper or str(memory / "upper"),
            work=overlay.work or str(memory / "work"),
            in_memory=overlay.in_memory,
            mounts=mounts,
            endpoints=[],
            state=StateRecord(),
        )

    async def _discard(self, container_id: str) -> None:
        """Remove everything of a container's on disk."""
        await self._images.discard(container_id)
        await blocking(
            adopt.remove_trees, self._instance.container_dir(container_id), self._instance.run_dir(container_id)
        )

    def _merged(self, body: ContainerCreate, image: ContainerImage) -> ContainerCreate:
        config = merge(body.config, image.run)
        host = body.host_config
        if not config.hostname and host.uts_mode != "host":
            config = msgspec.structs.replace(config, hostname="")
        mode = "bridge" if host.network_mode in ("", "default") else host.network_mode
        host = msgspec.structs.replace(host, network_mode=mode, ipc_mode=host.ipc_mode or "private")
        return ContainerCreate(config, host, body.networking_config)

    @staticmethod
    def _document(body: ContainerCreate) -> dict[str, Any]:
        document: dict[str, Any] = to_wire(body.config)
        document["HostConfig"] = to_wire(body.host_config)
        document["NetworkingConfig"] = to_wire(body.networking_config)
        return document

    def _try_plan(self, record: ContainerRecord, body: ContainerCreate) -> None:
        """Build the plan once without acting: what cannot be meant is refused at create, as Docker does."""
        around = spec.Surroundings([], {}, record.id[:12], lambda *_: 1)
        document = spec.document(self._instance, record, body, around)
        plan.build(from_json(document), self._layout)

    def _doubts(self, body: ContainerCreate, image: ContainerImage) -> list[str]:
        found = []
        health = image.run.healthcheck
        if health and health.test and health.test[0] != "NONE" and body.config.healthcheck is None:
            found.append("the image's HEALTHCHECK is not run: health checks are not supported yet")
        if body.config.volumes:
            places = ", ".join(sorted(body.config.volumes))
            found.append(f"{places} is kept in the container's own layer: anonymous volumes are not supported yet")
        return found

    async def start(self, ref: str, detach_keys: str = "") -> None:
        """Start it; Unchanged if it runs, StartFailed if its process cannot be started."""
        parse_keys(detach_keys)
        container = self.directory.find(ref)
        async with container.lock:
            self._may_start(container)
            try:
                await self._start(container)
            except OnggiError as error:
                await self._start_failed(container, error)
                raise

    def _may_start(self, container: Container) -> None:
        facts = {"name": container.name, "id": container.id}
        match container.status:
            case "running":
                raise Unchanged("start", container.name, "it runs already")
            case "paused":
                raise Conflict("start", container.name, "it is paused", code="container.paused", facts=facts)
            case "removing":
                raise Conflict("start", container.name, "it is being removed", code="container.removing", facts=facts)

    async def _start(self, container: Container) -> None:
        record, body = container.record, container.body
        run_dir = self._instance.run_dir(container.id)
        os.makedirs(run_dir, mode=0o700, exist_ok=True)
        mode = body.host_config.network_mode
        endpoints = await self._networks.attach(container.id, mode, ports=published.ports(body))
        try:
            adopt.begin_run(run_dir, [endpoint.to_record() for endpoint in endpoints])
            around = self._surroundings(container, endpoints)
            document = spec.document(self._instance, record, body, around)
            pending, container.pending = container.pending, []
            document["streams"] = [{"stdin": p.stdin, "stdout": p.stdout, "stderr": p.stderr} for p in pending]
            try:
                control = await self._launcher.launch(document, [p.stream for p in pending])
            finally:
                for waiting in pending:
                    waiting.stream.close()
            container.link = KeeperLink(
                control,
                lambda exit_record: self._exited(container, exit_record),
                lambda trace: self._traced(container, trace),
            )
            message = await container.link.wait_started()
        except BaseException as error:
            container.link = None
            if isinstance(error, OnggiError) and error.code == "keeper.died":
                await blocking(adopt.clean_cgroup, self._layout, self._cgroup(container))
            await self._networks.detach(container.id)
            raise
        self._mark_running(container, message["started"], endpoints)

    def _mark_running(self, container: Container, started: Mapping[str, Any], endpoints: Sequence[Endpoint]) -> None:
        record = container.record
        record.endpoints = [endpoint.to_record() for endpoint in endpoints]
        record.state = StateRecord(
            status="running",
            pid=started["pid"],
            started_at=started["started_at"],
            finished_at=record.state.finished_at,
        )
        container.namespaces, container.warnings = started["namespaces"], started["warnings"]
        for endpoint in endpoints:
            attributes = {"container": container.id, "name": endpoint.network_name, "type": endpoint.driver}
            self._events.publish("network", "connect", endpoint.network_id, attributes)
        self._tell(container, "start")
        self._later(self._records.put(record))

    def _traced(self, container: Container, trace: list[list[Any]]) -> None:
        """Keep what the start did, also for an engine that comes after this one."""
        container.trace = trace
        self._later(blocking(adopt.keep_trace, self._instance, container.id, trace))

    def _surroundings(self, container: Container, endpoints: Sequence[Endpoint]) -> spec.Surroundings:
        body = container.body
        hostname = body.config.hostname or container.id[:12]
        shared = body.host_config.network_mode.partition("container:")[2]
        if body.host_config.network_mode == "host" and not body.config.hostname:
            hostname = os.uname().nodename
        directory = self._instance.container_dir(container.id)
        if shared:
            other = self._instance.container_dir(self.directory.find(shared).id)
            files = {f"/etc/{name}": str(other / name) for name in ("hosts", "resolv.conf", "hostname")}
        else:
            files = network_files(directory, hostname, body, endpoints)
        return spec.Surroundings(links(endpoints), files, hostname, self._pid_of)

    def _pid_of(self, ref: str, kind: str) -> int:
        """The first process of a container whose namespace of this kind another one joins."""
        other = self.directory.find(ref)
        joining = f"failed to join {kind.upper()} namespace: container {other.id}"
        if not other.is_running:
            stopped = f"cannot join network of a non running container: {other.id}"
            cause = stopped if kind == "network" else f"{joining} is not running"
            raise Conflict("join", ref, cause, code="text")
        if kind == "ipc" and other.body.host_config.ipc_mode == "private":
            cause = f"{joining}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            raise Invalid("join", ref, cause, code="text")
        return other.record.state.pid

    async def _start_failed(self, container: Container, error: OnggiError) -> None:
        """Docker's state after a failed start: `created`, with the error and an exit code; --rm removes it."""
        code = _EXIT_OF.get(error.code, _CANNOT_EXECUTE if error.code.startswith("exec.") else 128)
        container.trace = error.facts.pop("trace", [])
        state = container.record.state
        container.record.state = msgspec.structs.replace(state, status="created", error=str(error), exit_code=code)
        for waiting in container.pending:
            waiting.stream.close()
        container.pending.clear()
        settle(container.exit_waiters, code)
        self._tell(container, "die", exitCode=str(code))
        if container.body.host_config.auto_remove:
            await self._remove(container)
        else:
            await self._records.put(container.record)

    def _exited(self, container: Container, exit_record: dict[str, Any] | None) -> None:
        """The keeper told us, or died without a word."""
        container.link = None
        self._later(self._finish(container, exit_record))

    async def _finish(self, container: Container, found: dict[str, Any] | None) -> None:
        async with container.lock:
            if found is None:
                found = await blocking(adopt.exit_record, self._instance, container.id)
            if found is None:
                found = {"code": 137, "oom": False, "at": time.time_ns()}
                container.warnings.append("the keeper was killed: the exit code is not known")
                await blocking(adopt.clean_cgroup, self._layout, self._cgroup(container))
            state = container.record.state
            container.record.state = msgspec.structs.replace(
                state,
                status="exited",
                pid=0,
                exit_code=found["code"],
                oom_killed=found["oom"],
                finished_at=found["at"],
            )
            await self._networks.detach(container.id)
            container.record.endpoints = []
            if found["oom"]:
                self._tell(container, "oom")
            seconds = max(0, found["at"] - state.started_at) // 10**9
            self._tell(container, "die", exitCode=str(found["code"]), execDuration=str(seconds))
            settle(container.exit_waiters, found["code"])
            if container.body.host_config.auto_remove and not container.removing:
                await self._remove(container)
            elif not container.removing:
                await self._records.put(container.record)

    def _cgroup(self, container: Container) -> str:
        return spec.cgroup_path(self._instance, container.id, container.body.host_config.cgroup_parent)

    async def stop(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Signal, then kill after `timeout` seconds (-1: never); Unchanged if it does not run."""
        container = self.directory.find(ref)
        if not container.is_running:
            raise Unchanged("stop", container.name, "it does not run")
        config = container.body.config
        number = signals.parse(signal or config.stop_signal or "SIGTERM")
        seconds = (
            timeout
            if timeout is not None
            else (config.stop_timeout if config.stop_timeout is not None else _STOP_SECONDS)
        )
        exited = container.next_exit()
        await self._send(container, number)
        try:
            async with asyncio.timeout(seconds if seconds >= 0 else None):
                await asyncio.shield(exited)
        except TimeoutError:
            await self._send(container, signals.KILL)
            await self._wait_killed(container, exited)
        self._tell(container, "stop")

    async def _wait_killed(self, container: Container, exited: asyncio.Future[int]) -> None:
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await asyncio.shield(exited)
        except TimeoutError as error:
            hint = "a process in uninterruptible sleep dies when its I/O ends"
            raise Conflict("kill", container.name, "it did not die of SIGKILL in time", hint=hint) from error

    async def _send(self, container: Container, number: int) -> None:
        """Send a signal; a container that ends at this moment is as good as signalled."""
        link = container.link
        if link is None:
            return
        if container.record.state.status == "paused" and number == signals.KILL:
            await blocking(self._layout.thaw, self._cgroup(container))
        try:
            await link.ask("signal", signal=number)
        except OnggiError as error:
            _log.info("signal %s to %s: %s", number, container.name, error)
        self._tell(container, "kill", signal=str(number))

    async def restart(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Stop if it runs, then start."""
        container = self.directory.find(ref)
        if container.is_running:
            await self.stop(container.id, timeout=timeout, signal=signal)
        await self.start(container.id)
        self._tell(container, "restart")

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal, by name or number; Conflict if it does not run."""
        container = self.directory.find(ref)
        number = signals.parse(signal or "SIGKILL", container.name)
        if not container.is_running:
            facts = {"name": ref, "id": container.id}
            raise Conflict("kill", container.name, "it is not running", code="container.kill-not-running", facts=facts)
        exited = container.next_exit() if number == signals.KILL else None
        await self._send(container, number)
        if exited:
            await self._wait_killed(container, exited)

    async def pause(self, ref: str) -> None:
        """Freeze every process; Conflict if it does not run or is frozen."""
        container = self.directory.find(ref)
        async with container.lock:
            container.keeper("pause")
            if container.record.state.status == "paused":
                facts = {"id": container.name}
                raise Conflict("pause", container.name, "it is paused", code="container.already-paused", facts=facts)
            await blocking(self._layout.freeze, self._cgroup(container))
            container.record.state = msgspec.structs.replace(container.record.state, status="paused")
            await self._records.put(container.record)
        self._tell(container, "pause")

    async def unpause(self, ref: str) -> None:
        """Thaw; Conflict if it is not frozen."""
        container = self.directory.find(ref)
        async with container.lock:
            if container.record.state.status != "paused":
                facts = {"id": container.name}
                raise Conflict("unpause", container.name, "not paused", code="container.not-paused", facts=facts)
            await blocking(self._layout.thaw, self._cgroup(container))
            container.record.state = msgspec.structs.replace(container.record.state, status="running")
            await self._records.put(container.record)
        self._tell(container, "unpause")

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name; Conflict if that is taken."""
        container = self.directory.find(ref)
        async with container.lock:
            old = container.name
            if name.removeprefix("/") == old:
                raise Invalid("rename", old, "Renaming a container with the same name as its current name", code="text")
            container.record.name = self.directory.rename(container, name)
            await self._records.put(container.record)
        self._tell(container, "rename", oldName=f"/{old}")

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, if need be killed by `force`; Conflict if it runs or is being removed."""
        if link:
            raise Unsupported("remove", ref, "links are not supported yet")
        container = self.directory.find(ref)
        async with container.lock:  # a start under way comes to its end first
            self._may_remove(container, ref, force=force)
            container.removing = True
            exited = container.next_exit() if container.is_running else None
        if exited:
            try:
                await self._send(container, signals.KILL)
                await self._wait_killed(container, exited)
            except OnggiError:
                container.removing = False
                raise
        async with container.lock:
            await self._remove(container)

    def _may_remove(self, container: Container, ref: str, *, force: bool) -> None:
        facts = {"name": container.name, "id": container.id}
        if self.directory.get(container.id) is None:
            raise NotFound.of("container", ref)
        if container.removing:
            raise Conflict("remove", ref, "removal is in progress", code="container.removing", facts=facts)
        if container.is_running and not force:
            raise Conflict("remove", container.name, "it runs", code="container.running", facts=facts)

    async def _remove(self, container: Container) -> None:
        """Forget it; called with the lock held. The record goes first: a kill in between leaves what start-up sweeps."""
        if self.directory.get(container.id) is None:
            return
        container.removing = True
        await self._records.delete(container.id)
        await self._discard(container.id)
        for waiting in container.pending:
            waiting.stream.close()
        self.directory.remove(container)
        self._gone.append(container)
        settle(container.exit_waiters, container.record.state.exit_code)
        settle(container.removal_waiters, container.record.state.exit_code)
        self._tell(container, "destroy")

    # ---- watching ------------------------------------------------------------------------------------------------

    async def wait(self, ref: str, condition: str) -> Awaitable[WaitResult]:
        """Register for `not-running`, `next-exit` or `removed`; await what it gives for the result."""
        container = self.directory.find(ref)
        if condition == "removed":
            return _result(container.removal())
        if condition == "next-exit" or container.is_running:
            return _result(container.next_exit())
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        future.set_result(container.record.state.exit_code)
        return _result(future)

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Join its stdio; before a start, from the start on."""
        container = self.directory.find(ref)
        keys = parse_keys(options.detach_keys)
        if container.status == "paused":
            facts = {"id": container.id}
            raise Conflict("attach", container.name, "it is paused", code="container.attach-paused", facts=facts)
        ours, theirs = socket.socketpair()
        wants = {"stdin": options.stdin, "stdout": options.stdout, "stderr": options.stderr}
        past = b""
        with theirs:
            if container.link is not None and container.is_running:
                offset = 0 if options.logs else -1
                wants["stdin"] = options.stdin and container.body.config.open_stdin
                await container.link.ask("attach", [theirs.fileno()], **wants, offset=offset)
            else:
                if options.logs:
                    past = await self._past(container, options)
                if options.stream and not container.removing:
                    container.pending.append(Pending(**wants, stream=theirs.dup()))
        self._tell(container, "attach")
        tty = container.body.config.tty
        return Attachment(ours, tty=tty, keys=keys, past=past, on_detach=lambda: self._tell(container, "detach"))

    async def _past(self, container: Container, options: AttachOptions) -> bytes:
        chosen = LogOptions(stdout=options.stdout, stderr=options.stderr)
        stream = await self.logs(container.id, chosen)
        return b"".join([piece async for piece in stream])

    async def logs(self, ref: str, options: LogOptions) -> LogStream:
        """Its log; with `follow` what comes until it ends."""
        container = self.directory.find(ref)
        if container.body.host_config.log_config.type == "none":
            cause = "configured logging driver does not support reading"
            raise Unsupported("read log of", container.name, cause, code="text")
        path = self._instance.container_dir(container.id) / "log"
        end = path.stat().st_size if path.exists() else 0
        follow = None
        if options.follow and container.link is not None and container.is_running:
            follow, theirs = socket.socketpair()
            follow.setblocking(False)
            with theirs:
                await container.link.ask(
                    "attach", [theirs.fileno()], stdin=False, stdout=True, stderr=True, raw_frames=True, offset=end
                )
        details = ",".join(f"{k}={v}" for k, v in sorted((container.body.config.labels or {}).items()))
        return LogStream(path, options, tty=container.body.config.tty, details=details, follow=follow, end=end)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set its terminal's size; Conflict if it does not run."""
        container = self.directory.find(ref)
        await container.keeper("resize").ask("resize", height=height, width=width)
        self._tell(container, "resize", height=str(height), width=str(width))

    async def top(self, ref: str, ps_args: str) -> Mapping[str, Any]:
        """Its processes, as ps(1) shows them."""
        container = self.directory.find(ref)
        container.keeper("top")
        return await views.processes(self._layout.pids(self._cgroup(container)), ps_args)

    async def list(self, *, all: bool, limit: int, size: bool, filters: Filters) -> list[ContainerSummary]:
        """Containers, newest first; only running ones unless `all`, at most `limit` unless 0."""
        return await views.summaries(self.directory, all=all, limit=limit, size=size, filters=filters)

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """All about one."""
        container = self.directory.find(ref)
        endpoints = [Endpoint.from_record(e) for e in container.record.endpoints]
        return await views.inspect(self._instance, container, endpoints, size=size)

    # ---- glass ---------------------------------------------------------------------------------------------------

    async def facts(self, ref: str) -> dict[str, Any]:
        """What `explain` starts from: pid, names, limits, cgroup, the trace of the last start."""
        container = next((c for c in self._gone if c.id == ref), None) or self.directory.find(ref)
        record = container.record
        if not container.trace:
            container.trace = await blocking(adopt.read_trace, self._instance, container.id)
        around = spec.Surroundings(
            [], {}, container.body.config.hostname or container.id[:12], lambda *_: record.state.pid
        )
        security = decide(container.body.host_config, self._instance.exec_root / "seccomp")
        return {
            "id": container.id,
            "name": container.name,
            "image": record.image,
            "status": container.status,
            "pid": record.state.pid,
            "exit_code": record.state.exit_code,
            "cgroup": self._cgroup(container),
            "trace": container.trace,
            "namespaces": container.namespaces,
            "warnings": container.warnings,
            "endpoints": record.endpoints,
            "config": spec.config(self._instance, record, container.body, around, security),
        }

    async def plan(self, body: ContainerCreate) -> Steps:
        """The steps that a start of this request would take; nothing is done."""
        refusals.check(body)
        image = await self._images.for_container(body.config.image, "")
        body = self._merged(body, image)
        container_id = secrets.token_hex(32)
        try:
            record = await self._record(container_id, "planned", body, image, requested(body))
            container = Container(record, body)
            endpoints = await self._networks.preview(container_id, body.host_config.network_mode)
            document = spec.document(self._instance, record, body, self._surroundings(container, endpoints))
            built = plan.build(from_json(document), self._layout)
        finally:
            await self._discard(container_id)
        return [{"where": who, "describe": step.describe(), "why": step.why} for who, step in built.in_order()]

    # ---- the engine's own life -----------------------------------------------------------------------------------

    async def restore(self) -> Endpoints:
        """Take back what ran before this engine started; returns the endpoints of what still runs."""
        found, broken = await self._records.load()
        for error in broken:
            _log.error("%s: set aside", error)
        for record in found:
            container = Container.of(record)
            self.directory.add(container)
        await blocking(adopt.sweep, self._instance, self._layout, {c.id for c in self.directory})
        endpoints: Endpoints = []
        for container in tuple(self.directory):
            link = await adopt.reconnect(self._instance, container, self._exited)
            if link is not None:
                container.link = link
                endpoints += [Endpoint.from_record(e) for e in container.record.endpoints]
                continue
            await blocking(adopt.clean_cgroup, self._layout, self._cgroup(container))  # of a start that was cut short
            if container.record.state.status in ("running", "paused") or adopt.ran(self._instance, container.id):
                await self._finish(container, None)
        return endpoints

    def find_image_users(self, image_id: str) -> Users:
        """The containers made from an image: id, and whether it runs."""
        return [(c.id, c.is_running) for c in self.directory if c.record.image_id == image_id]

    async def close(self) -> None:
        """Hang up on every keeper; the containers stay."""
        for container in self.directory:
            if container.link:
                container.link.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        await blocking(adopt.remove_group, self._instance, self._layout)

    def _tell(self, container: Container, action: str, **attributes: str) -> None:
        self._events.publish("container", action, container.id, {**container.attributes, **attributes})

    def _later(self, work: Any) -> None:
        """Work that nobody waits for; its failure is logged."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("after the fact: %s", error, exc_info=error)


async def _result(future: asyncio.Future[int]) -> WaitResult:
    return WaitResult(status_code=await future)
