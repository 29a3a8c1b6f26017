"""The life of containers: start, end, signals, pause, removal, and taking back what ran before this engine.

What changes a state holds the container's lock. You come from `containers`; the next doors are `launcher` and
`runtime/plan`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from onggi.engine import adopt, network_requests, published, signals, spec
from onggi.engine.attach import parse_keys
from onggi.engine.blocking import blocking
from onggi.engine.container import Container, settle
from onggi.engine.keeper_link import KeeperLink
from onggi.engine.parts import Parts
from onggi.engine.records import StateRecord
from onggi.engine.surroundings import surroundings
from onggi.errors import Conflict, NotFound, OnggiError, Unavailable, Unchanged, Unsupported
from onggi.network.endpoint import Endpoint

_log = logging.getLogger("onggi.containers")
_STOP_SECONDS = 10
_KILL_SECONDS = 10
_EXIT_OF = {"exec.not-in-path": 127, "exec.no-such-file": 127, "exec.interpreter": 127}
_CANNOT_EXECUTE = 126


class Lifecycle:
    """The use cases."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self, ref: str, detach_keys: str = "") -> None:
        """Start it; Unchanged if it runs, StartFailed if its process cannot be started."""
        parse_keys(detach_keys)
        container = self._parts.directory.find(ref)
        async with container.lock:
            self._may_start(container)
            try:
                await self._start(container)
            except OnggiError as error:
                await self._start_failed(container, error)
                raise

    async def stop(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Signal, then kill after `timeout` seconds (-1: never); Unchanged if it does not run."""
        container = self._parts.directory.find(ref)
        if not await self._runs(container):
            raise Unchanged("stop", container.name, "it does not run")
        config = container.body.config
        number = signals.parse(signal or config.stop_signal or "SIGTERM")
        seconds = next(s for s in (timeout, config.stop_timeout, _STOP_SECONDS) if s is not None)
        exited = container.next_exit()
        await self._send(container, number)
        if container.status == "paused":  # the signal waits for it
            with contextlib.suppress(Conflict):  # somebody else was faster
                await self.unpause(container.id)
        try:
            async with asyncio.timeout(seconds if seconds >= 0 else None):
                await asyncio.shield(exited)
        except TimeoutError:
            await self._send(container, signals.KILL)
            await self._wait_killed(container, exited)
        self._parts.tell(container, "stop")

    async def restart(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Stop if it runs, then start."""
        container = self._parts.directory.find(ref)
        with contextlib.suppress(Unchanged):
            await self.stop(container.id, timeout=timeout, signal=signal)
        with contextlib.suppress(Unchanged):  # another restart was faster
            await self.start(container.id)
        self._parts.tell(container, "restart")

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal, by name or number; Conflict if it does not run."""
        container = self._parts.directory.find(ref)
        number = signals.parse(signal or "SIGKILL", container.name)
        if not await self._runs(container):
            facts = {"name": ref, "id": container.id}
            raise Conflict("kill", container.name, "it is not running", code="container.kill-not-running", facts=facts)
        exited = container.next_exit() if number == signals.KILL else None
        await self._send(container, number)
        if exited:
            await self._wait_killed(container, exited)

    @staticmethod
    async def _runs(container: Container) -> bool:
        """Whether it runs, once a start or an end that is under way is over."""
        async with container.lock:
            return container.is_running

    async def pause(self, ref: str) -> None:
        """Freeze every process; Conflict if it does not run or is frozen."""
        container = self._parts.directory.find(ref)
        async with container.lock:
            container.keeper("pause")
            if container.record.state.status == "paused":
                facts = {"id": container.id}
                raise Conflict("pause", container.name, "it is paused", code="container.already-paused", facts=facts)
            await blocking(self._parts.layout.freeze, self._parts.cgroup(container))
            container.record.state = msgspec.structs.replace(container.record.state, status="paused")
            await self._keep(container)
        self._parts.tell(container, "pause")

    async def unpause(self, ref: str) -> None:
        """Thaw; Conflict if it is not frozen."""
        container = self._parts.directory.find(ref)
        async with container.lock:
            if container.record.state.status != "paused":
                facts = {"id": container.id}
                raise Conflict("unpause", container.name, "not paused", code="container.not-paused", facts=facts)
            await blocking(self._parts.layout.thaw, self._parts.cgroup(container))
            container.record.state = msgspec.structs.replace(container.record.state, status="running")
            await self._keep(container)
        self._parts.tell(container, "unpause")

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, if need be killed by `force`; Conflict if it runs or is being removed."""
        if link:
            raise Unsupported("remove", ref, "links are not supported yet")
        container = self._parts.directory.find(ref)
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

    async def restore(self) -> list[Endpoint]:
        """Take back what ran before this engine started; returns the endpoints of what still runs."""
        found, broken = await self._parts.records.load()
        for error in broken:
            _log.error("%s: set aside", error)
        for record in found:
            container = Container.of(record)
            self._parts.directory.add(container)
        await blocking(adopt.sweep, self._parts.instance, self._parts.layout, {c.id for c in self._parts.directory})
        endpoints: list[Endpoint] = []
        for container in tuple(self._parts.directory):
            link = await adopt.reconnect(self._parts.instance, container, self._exited)
            if link is not None:
                container.link = link
                endpoints += [Endpoint.from_record(e) for e in container.record.endpoints]
                continue
            # What a start that was cut short has left:
            await blocking(adopt.clean_cgroup, self._parts.layout, self._parts.cgroup(container))
            if container.record.state.status in ("running", "paused") or adopt.ran(self._parts.instance, container.id):
                try:
                    await self._finish(container, None)
                except OnggiError as error:  # of one container: the others come back
                    _log.error("%s: %s", container.name, error)
        return endpoints

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
        run_dir = self._parts.instance.run_dir(container.id)
        container.traced.clear()
        os.makedirs(run_dir, mode=0o700, exist_ok=True)
        mode = body.host_config.network_mode
        mac = network_requests.mac(body)
        endpoints = await self._parts.networks.attach(container.id, mode, mac=mac, ports=published.ports(body))
        try:
            adopt.begin_run(run_dir, [endpoint.to_record() for endpoint in endpoints])
            around = surroundings(self._parts, container, endpoints)
            document = spec.document(self._parts.instance, record, body, around)
            pending, container.pending = container.pending, []
            document["streams"] = [{"stdin": p.stdin, "stdout": p.stdout, "stderr": p.stderr} for p in pending]
            try:
                control = await self._parts.launcher.launch(document, [p.stream for p in pending])
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
                await blocking(adopt.clean_cgroup, self._parts.layout, self._parts.cgroup(container))
            await self._parts.networks.detach(container.id)
            raise
        self._mark_running(container, message["started"], endpoints)
        await self._join_late(container)

    async def _join_late(self, container: Container) -> None:
        """Those who attached while the start was under way hear everything from its beginning."""
        pending, container.pending = container.pending, []
        for waiting in pending:
            with waiting.stream as stream, contextlib.suppress(Unavailable):  # it has ended: so do their streams
                if container.link is not None:
                    wants = {"stdin": waiting.stdin, "stdout": waiting.stdout, "stderr": waiting.stderr}
                    await container.link.ask("attach", [stream.fileno()], **wants, from_start=True)

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
            self._tell_network("connect", container, endpoint)
        self._parts.tell(container, "start")
        self._parts.later(self._parts.records.put(record))

    def _traced(self, container: Container, trace: bytes) -> None:
        """Keep what the start did, also for an engine that comes after this one."""
        container.trace = trace
        container.traced.set()
        self._parts.later(blocking(adopt.keep_trace, self._parts.instance, container.id, trace))

    async def _start_failed(self, container: Container, error: OnggiError) -> None:
        """Docker's state after a failed start: `created`, with the error and an exit code; --rm removes it."""
        code = _EXIT_OF.get(error.code, _CANNOT_EXECUTE if error.code.startswith("exec.") else 128)
        container.trace = msgspec.json.encode(error.facts.pop("trace", []))
        container.traced.set()
        state = container.record.state
        container.record.state = msgspec.structs.replace(state, status="created", error=str(error), exit_code=code)
        for waiting in container.pending:
            waiting.stream.close()
        container.pending.clear()
        settle(container.exit_waiters, code)
        self._parts.tell(container, "die", exitCode=str(code))
        if container.body.host_config.auto_remove:
            await self._remove(container)
        else:
            await self._keep(container)

    def _exited(self, container: Container, exit_record: dict[str, Any] | None) -> None:
        """The keeper told us, or died without a word."""
        container.link = None
        self._parts.later(self._finish(container, exit_record))

    async def _finish(self, container: Container, found: dict[str, Any] | None) -> None:
        async with container.lock:
            if found is None:
                found = await blocking(adopt.exit_record, self._parts.instance, container.id)
            if found is None:
                found = {"code": 137, "oom": False, "at": time.time_ns()}
                container.warnings.append("the keeper was killed: the exit code is not known")
                await blocking(adopt.clean_cgroup, self._parts.layout, self._parts.cgroup(container))
            state = container.record.state
            container.record.state = msgspec.structs.replace(
                state,
                status="exited",
                pid=0,
                exit_code=found["code"],
                oom_killed=found["oom"],
                finished_at=found["at"],
            )
            await self._leave_networks(container)
            if found["oom"]:
                self._parts.tell(container, "oom")
            seconds = max(0, found["at"] - state.started_at) // 10**9
            self._parts.tell(container, "die", exitCode=str(found["code"]), execDuration=str(seconds))
            settle(container.exit_waiters, found["code"])
            if container.body.host_config.auto_remove and not container.removing:
                await self._remove(container)
            elif not container.removing:
                await self._keep(container)

    async def _keep(self, container: Container) -> None:
        """Write the record; that it cannot be written does not change what has happened, and is logged."""
        try:
            await self._parts.records.put(container.record)
        except Unavailable as error:
            _log.error("%s: %s", container.name, error)

    async def _leave_networks(self, container: Container) -> None:
        """Give the addresses back; whatever resists is logged, for who waits for the end must hear of it."""
        try:
            await self._parts.networks.detach(container.id)
        except OnggiError as error:
            _log.error("%s", error)
        for endpoint in map(Endpoint.from_record, container.record.endpoints):
            self._tell_network("disconnect", container, endpoint)
        container.record.endpoints = []

    def _tell_network(self, action: str, container: Container, endpoint: Endpoint) -> None:
        attributes = {"container": container.id, "name": endpoint.network_name, "type": endpoint.driver}
        self._parts.events.publish("network", action, endpoint.network_id, attributes)

    async def _send(self, container: Container, number: int) -> None:
        """Send a signal; a container that ends at this moment is as good as signalled."""
        link = container.link
        if link is None:
            return
        if container.record.state.status == "paused" and number == signals.KILL:
            await blocking(self._parts.layout.thaw, self._parts.cgroup(container))
        try:
            await link.ask("signal", signal=number)
        except OnggiError as error:
            _log.info("signal %s to %s: %s", number, container.name, error)
        self._parts.tell(container, "kill", signal=str(number))

    async def _wait_killed(self, container: Container, exited: asyncio.Future[int]) -> None:
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await asyncio.shield(exited)
        except TimeoutError as error:
            hint = "a process in uninterruptible sleep dies when its I/O ends"
            raise Conflict("kill", container.name, "it did not die of SIGKILL in time", hint=hint) from error

    def _may_remove(self, container: Container, ref: str, *, force: bool) -> None:
        facts = {"name": container.name, "id": container.id}
        if self._parts.directory.get(container.id) is None:
            raise NotFound.of("container", ref)
        if container.removing:
            raise Conflict("remove", ref, "removal is in progress", code="container.removing", facts=facts)
        if container.is_running and not force:
            raise Conflict("remove", container.name, "it runs", code="container.running", facts=facts)

    async def _remove(self, container: Container) -> None:
        """Forget it; called with the lock held. The record goes first: a kill in between leaves what start-up sweeps."""
        if self._parts.directory.get(container.id) is None:
            return
        container.removing = True
        try:
            await self._parts.records.delete(container.id)
        except Unavailable:  # a full disk has no room even to forget; what the container has on it makes some
            await self._parts.discard(container.id)
            await self._parts.records.delete(container.id)
        await self._parts.discard(container.id)
        for waiting in container.pending:
            waiting.stream.close()
        self._parts.directory.remove(container)
        self._parts.gone.append(container)
        settle(container.exit_waiters, container.record.state.exit_code)
        settle(container.removal_waiters, container.record.state.exit_code)
        self._parts.tell(container, "destroy")
