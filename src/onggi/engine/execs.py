"""Execs: further processes in containers that run, from `docker exec`.

```
          create           start                end
 (nothing) ────► made ───────────► running ───────────► ended ──(5 minutes, or the container's removal)──► (nothing)
                  └── start failed ──► ended, 126
```
They live in memory only, as Docker's do: an engine that starts again knows none. The process itself is kept by a keeper of
its own and goes on. You come from `api/routes/exec`; the next door is `runtime/entrance`.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onggi.engine import exec_request
from onggi.engine.attach import Attachment, parse_keys
from onggi.engine.container import Container
from onggi.engine.keeper_link import KeeperLink
from onggi.engine.parts import Parts
from onggi.errors import Conflict, Invalid, NotFound, OnggiError, Unavailable
from onggi.wire.exec import ExecCreate

_NOT_STARTED_CODE = 126
_REMEMBERED_SECONDS = 300
_RESIZE_SECONDS = 10
"""How long a terminal's size waits for a start that is under way."""


@dataclass(slots=True)
class Exec:
    """One of them."""

    id: str
    container: Container
    body: ExecCreate
    begun: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    link: KeeperLink | None = None
    pid: int = 0
    exit_code: int | None = None
    ended_at: float = 0.0
    """time.monotonic's seconds; 0 as long as it has not ended."""

    @property
    def is_running(self) -> bool:
        """Its process lives."""
        return self.link is not None and self.started.is_set()

    @property
    def command(self) -> str:
        """Its words, as events show them."""
        first, *rest = self.body.cmd or [""]
        return f"{first} {' '.join(rest)}"


class Execs:
    """All execs of one engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._by_id: dict[str, Exec] = {}

    async def create(self, ref: str, body: ExecCreate) -> str:
        """Note what is to run; its id. Conflict when the container does not run or is paused."""
        container = self._parts.directory.find(ref)
        if not body.cmd:
            raise Invalid("create", "exec", "No exec command specified", code="text")
        parse_keys(body.detach_keys)
        _check_container(container, ref)
        exec_request.check(body)
        self._forget_old()
        made = Exec(secrets.token_hex(32), container, body)
        self._by_id[made.id] = made
        container.exec_ids.append(made.id)
        self._parts.tell(container, f"exec_create: {made.command}", execID=made.id)
        return made.id

    def check(self, exec_id: str) -> ExecCreate:
        """What was asked for; NotFound, or Conflict when its container does not run."""
        found = self._find(exec_id)
        _check_container(found.container, found.container.name)
        return found.body

    async def start(self, exec_id: str, *, detach: bool, console_size: Sequence[int] | None) -> Attachment:
        """Start it, once; its streams, those that were asked for, none with `detach`."""
        found = self._find(exec_id)
        container, body = found.container, found.body
        _check_container(container, container.name)
        if found.begun:
            how = "is already running" if found.exit_code is None else "has already run"
            raise Conflict("start", "exec", f"Error: Exec command {exec_id} {how}", code="text")
        size = exec_request.size(console_size or body.console_size)
        found.begun = True
        self._parts.tell(container, f"exec_start: {found.command}", execID=exec_id)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._launch(found, theirs, detach=detach, size=size)
            except BaseException:
                ours.close()
                raise
        return Attachment(
            ours,
            tty=body.tty,
            keys=parse_keys(body.detach_keys),
            on_detach=lambda: self._parts.tell(container, "exec_detach", execID=exec_id),
        )

    async def _launch(self, found: Exec, stream: socket.socket, *, detach: bool, size: tuple[int, int] | None) -> None:
        body = found.body
        document = exec_request.document(self._parts, found.container, body, size)
        wants = {"stdin": body.attach_stdin, "stdout": body.attach_stdout, "stderr": body.attach_stderr}
        document["streams"] = [] if detach else [wants]
        try:
            control = await self._parts.launcher.launch(document, [] if detach else [stream])
            found.link = KeeperLink(control, lambda record: self._exited(found, record))
            message = await found.link.wait_started()
        except BaseException as error:
            self._end(found, _NOT_STARTED_CODE)
            if isinstance(error, OnggiError):
                error.facts["entering"] = True
            raise
        found.pid = message["started"]["pid"]
        found.started.set()

    def _exited(self, found: Exec, record: dict[str, Any] | None) -> None:
        """The keeper told us, or died without a word."""
        code = record["code"] if record else 137
        self._end(found, code)
        self._parts.tell(found.container, "exec_die", execID=found.id, exitCode=str(code))

    @staticmethod
    def _end(found: Exec, code: int) -> None:
        found.link, found.exit_code, found.ended_at = None, code, time.monotonic()
        found.started.set()
        if found.id in found.container.exec_ids:
            found.container.exec_ids.remove(found.id)

    async def inspect(self, exec_id: str) -> Mapping[str, Any]:
        """All about one."""
        found = self._find(exec_id)
        body = found.body
        first, *rest = body.cmd or [""]
        process = {"tty": body.tty, "entrypoint": first, "arguments": rest, "privileged": body.privileged}
        return {
            "ID": found.id,
            "Running": found.is_running,
            "ExitCode": found.exit_code,
            "ProcessConfig": process | ({"user": body.user} if body.user else {}),
            "OpenStdin": body.attach_stdin,
            "OpenStderr": body.attach_stderr,
            "OpenStdout": body.attach_stdout,
            "CanRemove": False,
            "ContainerID": found.container.id,
            "DetachKeys": body.detach_keys,
            "Pid": found.pid,
        }

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set its terminal's size, once its start is over; NotFound when it has ended."""
        found = self._find(exec_id)
        _check_container(found.container, found.container.name)
        try:
            async with asyncio.timeout(_RESIZE_SECONDS):
                await found.started.wait()
        except TimeoutError:
            cause = "timeout waiting for exec session ready"
            raise Unavailable("resize", f"exec {exec_id}", cause, code="text") from None
        if found.link is None:
            raise NotFound("resize", f"exec {exec_id}", f"process does not exist {exec_id}: not found", code="text")
        await found.link.ask("resize", height=height, width=width)

    def _find(self, exec_id: str) -> Exec:
        found = self._by_id.get(exec_id)
        if found is None or self._parts.directory.get(found.container.id) is None:
            raise NotFound.of("exec", exec_id)
        return found

    def _forget_old(self) -> None:
        horizon = time.monotonic() - _REMEMBERED_SECONDS
        for old in list(self._by_id.values()):
            gone = self._parts.directory.get(old.container.id) is None and not old.is_running
            if gone or (old.ended_at and old.ended_at < horizon):
                del self._by_id[old.id]

    def close(self) -> None:
        """Hang up on every keeper; the processes stay."""
        for found in self._by_id.values():
            if found.link:
                found.link.close()


def _check_container(container: Container, ref: str) -> None:
    container.keeper("exec")
    if container.status == "paused":
        cause = f"Container {ref} is paused, unpause the container before exec"
        raise Conflict("exec", container.name, cause, code="text")
