"""What survives a restart: one document for each container, in SQLite.

`synchronous=FULL` with a write-ahead log: when `put` or `delete` returns, neither a kill nor a power loss undoes it. All
calls go through one thread, so they keep their order. A record that cannot be read is set aside and reported; the
others go on. Callers: `engine/containers`. Read next: `engine/adopt`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from onggi.errors import Corrupt, Unavailable

_SCHEMA = """
create table if not exists container (id text primary key, document blob not null) without rowid;
create table if not exists aside (id text primary key, document blob not null, reason text not null) without rowid;
"""


class StateRecord(msgspec.Struct, kw_only=True):
    """Where the container is in its life; times in nanoseconds since 1970, 0 for never."""

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_at: int = 0
    finished_at: int = 0


class MountRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A mount as it was decided at create."""

    type: str
    source: str
    destination: str
    options: list[str]
    rw: bool
    mode: str = ""
    propagation: str = ""


class ContainerRecord(msgspec.Struct, kw_only=True):
    """Everything that is known of a container: what was asked for, what was decided, where it is."""

    id: str
    name: str
    created: int
    """Nanoseconds since 1970."""
    image: str
    """As the client named it."""
    image_id: str
    body: dict[str, Any]
    """The create request as Docker's JSON, with the image's config merged in."""
    lowers: list[str]
    upper: str
    work: str
    in_memory: bool
    mounts: list[MountRecord]
    endpoints: list[dict[str, Any]]
    state: StateRecord
    warnings: list[str] = []


class Records:
    """The database; its calls are safe from one event loop."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, "records")
        self._encoder = msgspec.msgpack.Encoder()
        self._database = self._thread.submit(self._open, path).result()

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        database.executescript(_SCHEMA)
        path.chmod(0o600)
        return database

    async def put(self, record: ContainerRecord) -> None:
        """Write the record, new or changed; it is durable when this returns."""
        document = self._encoder.encode(record)
        await self._run("insert or replace into container values (?, ?)", record.id, document)

    async def delete(self, container_id: str) -> None:
        """Forget the record; durable when this returns."""
        await self._run("delete from container where id = ?", container_id)

    async def load(self) -> tuple[list[ContainerRecord], list[Corrupt]]:
        """All records, and what was wrong with those that had to be set aside."""
        rows = await self._run("select id, document from container")
        found, broken = [], []
        for container_id, document in rows:
            try:
                found.append(msgspec.msgpack.decode(document, type=ContainerRecord))
            except msgspec.MsgspecError as error:
                broken.append(Corrupt("read record of", str(container_id), str(error)))
                await self._run("insert or replace into aside values (?, ?, ?)", container_id, document, str(error))
                await self._run("delete from container where id = ?", container_id)
        return found, broken

    async def _run(self, statement: str, *values: Any) -> list[Any]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._thread, lambda: self._database.execute(statement, values).fetchall()
            )
        except sqlite3.Error as error:
            raise Unavailable("write", "record", str(error), hint="is the disk full? `rm` frees it") from error

    async def close(self) -> None:
        """Write what is left into the main file and close."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()
