"""One container as the engine holds it: its record, the line to its keeper, and who waits for what.

```
             create            start              (exit)
  (nothing) ───────► created ─────────► running ─────────► exited ──┐ start
                        ▲  start failed  │   ▲                ▲     └──► running
                        └────────────────┘   │pause/unpause   │
                                          paused ─────────────┘
   created, exited ── remove ──► (nothing)          running ── remove, force: kill first
```
What changes state does so under `lock`; who waits does so outside of it. Callers: `containers`, `adopt`. Read next:
`containers`.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from onggi.engine.keeper_link import KeeperLink
from onggi.engine.records import ContainerRecord
from onggi.errors import Conflict
from onggi.wire.containers import ContainerConfig, ContainerCreate, CreateRequest
from onggi.wire.document import convert


@dataclass(frozen=True, slots=True)
class Pending:
    """A client that attached before the start: what it wants, and the stream that the keeper will get."""

    stdin: bool
    stdout: bool
    stderr: bool
    stream: socket.socket


@dataclass(slots=True)
class Container:
    """The live side of a record."""

    record: ContainerRecord
    body: ContainerCreate
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    link: KeeperLink | None = None
    pending: list[Pending] = field(default_factory=list)
    exit_waiters: list[asyncio.Future[int]] = field(default_factory=list)
    removal_waiters: list[asyncio.Future[int]] = field(default_factory=list)
    removing: bool = False
    trace: bytes = b""
    """What the last start did, as JSON: rows of who, step, started, lasted, error, why; empty when it is not in memory."""
    adopted: bool = False
    """It ran before this engine did."""
    traced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the trace of the last start has come, or when there will be none."""
    namespaces: dict[str, int] = field(default_factory=dict)
    """The numbers of the namespaces of the last run."""
    warnings: list[str] = field(default_factory=list)
    """What the last start could not do."""
    exec_ids: list[str] = field(default_factory=list)
    """Those execs in it that have not ended."""

    @classmethod
    def of(cls, record: ContainerRecord) -> Container:
        """The container of a record that was read back."""
        rest = convert(record.body, CreateRequest)
        body = ContainerCreate(convert(record.body, ContainerConfig), rest.host_config, rest.networking_config)
        return cls(record, body)

    @property
    def id(self) -> str:
        """64 hex digits."""
        return self.record.id

    @property
    def name(self) -> str:
        """Without Docker's slash."""
        return self.record.name

    @property
    def status(self) -> str:
        """created, running, paused, removing or exited."""
        return "removing" if self.removing else self.record.state.status

    @property
    def is_running(self) -> bool:
        """Its process lives, frozen or not."""
        return self.record.state.status in ("running", "paused")

    @property
    def attributes(self) -> dict[str, str]:
        """What every event of this container carries."""
        return {**(self.body.config.labels or {}), "image": self.record.image, "name": self.name}

    @property
    def awaits_trace(self) -> bool:
        """It was started by this engine, and what the start did is on its way."""
        return bool(self.namespaces) and not self.adopted and not self.traced.is_set()

    def keeper(self, verb: str) -> KeeperLink:
        """The line to the keeper; Conflict when the container does not run."""
        if self.link is None or not self.is_running:
            facts = {"name": self.name, "id": self.id}
            raise Conflict(verb, self.name, "it is not running", code="container.not-running", facts=facts)
        return self.link

    def next_exit(self) -> asyncio.Future[int]:
        """Resolves to the exit code of the next end."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.exit_waiters.append(future)
        return future

    def removal(self) -> asyncio.Future[int]:
        """Resolves to the last exit code when the container is removed."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.removal_waiters.append(future)
        return future


def settle(waiters: list[asyncio.Future[int]], code: int) -> None:
    """Tell everybody who still waits, once."""
    for future in waiters:
        if not future.done():
            future.set_result(code)
    waiters.clear()
