"""What the API asks of the engine: its use cases, as protocols that `engine/` fulfils without knowing of them.

All methods raise `errors.*` only. `ref` is an id, a name, or the beginning of an id. Callers: `routes/`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Protocol

from onggi.wire.containers import ContainerCreate, ContainerCreated, ContainerInspect, ContainerSummary, WaitResult
from onggi.wire.events import Event
from onggi.wire.exec import ExecCreate
from onggi.wire.filters import Filters
from onggi.wire.images import HistoryEntry, ImageDeleted, ImageInspect, ImagesPruned, ImageSummary
from onggi.wire.networks import Network, NetworkCreate, NetworkCreated
from onggi.wire.options import AttachOptions, LogOptions


class Attachment(Protocol):
    """A container's stdio, shared with whoever else is attached."""

    @property
    def tty(self) -> bool:
        """Whether the stream is a terminal's: raw, not framed."""

    async def read(self) -> bytes:
        """Output as it goes to the client, framed unless `tty`; empty at the end or after the detach keys."""

    async def write(self, data: bytes) -> None:
        """Input."""

    async def write_eof(self) -> None:
        """The input ends."""

    async def close(self) -> None:
        """Let go; the container goes on."""


class LogStream(Protocol):
    """Lines of a log, framed unless `tty`."""

    @property
    def tty(self) -> bool:
        """Whether the stream is a terminal's: raw, not framed."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The lines, in pieces of any size; with `follow` until the container ends."""

    async def close(self) -> None:
        """Let go."""


class Containers(Protocol):
    """`engine.containers`."""

    async def create(self, name: str | None, platform: str, body: ContainerCreate) -> ContainerCreated:
        """Make a container; its name is made up if there is none."""

    async def start(self, ref: str, detach_keys: str = "") -> None:
        """Start it; `Unchanged` if it runs, `StartFailed` if its process cannot be started."""

    async def stop(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Signal, then kill after `timeout` seconds (-1: never); `Unchanged` if it does not run."""

    async def restart(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Stop if it runs, then start."""

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal, by name or number."""

    async def pause(self, ref: str) -> None:
        """Freeze."""

    async def unpause(self, ref: str) -> None:
        """Thaw."""

    async def rename(self, ref: str, name: str) -> None:
        """Give it another name."""

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Remove it, if need be killed by `force`."""

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set its terminal's size."""

    async def top(self, ref: str, ps_args: str) -> Mapping[str, Any]:
        """Its processes: `Titles` and `Processes`."""

    async def list(self, *, all: bool, limit: int, size: bool, filters: Filters) -> list[ContainerSummary]:
        """Containers, newest first; only running ones unless `all`, at most `limit` unless 0."""

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """All about one."""

    async def wait(self, ref: str, condition: str) -> Awaitable[WaitResult]:
        """Register for `not-running`, `next-exit` or `removed`; await what it gives for the result."""

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Join its stdio."""

    async def logs(self, ref: str, options: LogOptions) -> LogStream:
        """Its log."""


class Execs(Protocol):
    """`engine.execs`."""

    async def create(self, ref: str, body: ExecCreate) -> str:
        """Note what is to run in a container; its id."""

    def check(self, exec_id: str) -> ExecCreate:
        """What was asked for; `Conflict` when its container does not run."""

    async def start(self, exec_id: str, *, detach: bool, console_size: Sequence[int] | None) -> Attachment:
        """Start it, once; its streams."""

    async def inspect(self, exec_id: str) -> Mapping[str, Any]:
        """All about one."""

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set its terminal's size."""


class Images(Protocol):
    """`engine.images`."""

    async def inspect(self, name: str) -> ImageInspect:
        """All about one."""

    async def history(self, name: str) -> list[HistoryEntry]:
        """How it was made, newest step first."""

    async def tag(self, name: str, repository: str, tag: str) -> None:
        """Give it one more name."""

    async def delete(self, name: str, *, force: bool, prune: bool) -> list[ImageDeleted]:
        """Take a name away, and with the last one the image."""

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Delete what no container uses."""

    def pull(self, name: str, tag: str, *, platform: str, auth: str) -> AsyncGenerator[bytes, None]:
        """Pull an image, all tags without a `tag`; `auth` is an `X-Registry-Auth` header. Gives progress lines."""

    def load(self, archive: AsyncIterator[bytes], *, quiet: bool) -> AsyncGenerator[bytes, None]:
        """Load an archive; gives progress lines."""

    async def list(self, *, all: bool, filters: Filters) -> list[ImageSummary]:
        """Images, newest first."""


class Registries(Protocol):
    """`engine.registries`; `auth` is an `X-Registry-Auth` header."""

    async def login(self, body: bytes) -> Mapping[str, Any]:
        """Try credentials, as JSON, at their registry; `Unauthorized` if they are not good there."""

    async def search(self, term: str, limit: int | None, filters: Filters, auth: str) -> list[Mapping[str, Any]]:
        """Repositories that a registry finds."""

    async def distribution(self, name: str, auth: str) -> Mapping[str, Any]:
        """What a reference stands for at its registry."""


class Networks(Protocol):
    """`engine.networks`."""

    async def list(self, filters: Filters) -> list[Network]:
        """Networks."""

    async def inspect(self, ref: str) -> Network:
        """All about one."""

    async def create(self, body: NetworkCreate) -> NetworkCreated:
        """Make one."""

    async def remove(self, ref: str) -> None:
        """Remove one."""


class Events(Protocol):
    """`engine.events`."""

    def listen(self, *, since_ns: int | None, until_ns: int | None, filters: Filters) -> AsyncGenerator[Event, None]:
        """What happened since (kept events only), and what happens until; for ever without `until_ns`."""


class System(Protocol):
    """`engine.system`."""

    async def version(self) -> Mapping[str, Any]:
        """The version document."""

    async def info(self) -> Mapping[str, Any]:
        """The info document."""


class Engine(Protocol):
    """All of it."""

    @property
    def containers(self) -> Containers:
        """Containers."""

    @property
    def execs(self) -> Execs:
        """Further processes in containers."""

    @property
    def images(self) -> Images:
        """Images."""

    @property
    def registries(self) -> Registries:
        """Registries."""

    @property
    def networks(self) -> Networks:
        """Networks."""

    @property
    def events(self) -> Events:
        """Events."""

    @property
    def system(self) -> System:
        """The engine itself and its machine."""
