"""A small real engine behind the API's ports, in memory: what `api/` is tested against on a real unix socket.

Its containers are coroutines: `echo WORDS` writes, `cat` copies its input to its output until that ends, `sleep` waits
to be stopped, anything else cannot be executed. `SmallServer` serves it in a thread.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onggi.api.connection import Limits
from onggi.api.http import Route
from onggi.api.ports import Attachment
from onggi.api.router import Router
from onggi.api.routes.all import docker_routes
from onggi.api.server import Server
from onggi.api.shield import Shield
from onggi.engine.events import Events
from onggi.errors import Conflict, Corrupt, NotFound, StartFailed, Unchanged
from onggi.wire import frames, names, progress
from onggi.wire.containers import (
    ContainerCreate,
    ContainerCreated,
    ContainerInspect,
    ContainerSummary,
    State,
    WaitResult,
)
from onggi.wire.exec import ExecCreate
from onggi.wire.filters import Filters
from onggi.wire.images import HistoryEntry, ImageDeleted, ImageInspect, ImagesPruned, ImageSummary
from onggi.wire.networks import Network, NetworkCreate, NetworkCreated
from onggi.wire.options import AttachOptions, LogOptions


class Box:
    """One container."""

    def __init__(self, name: str, body: ContainerCreate) -> None:
        self.id = secrets.token_hex(32)
        self.name, self.body = name, body
        self.status = "created"
        self.tty = body.config.tty
        self.output = bytearray()
        self.changed = asyncio.Condition()
        self.input: asyncio.Queue[bytes] = asyncio.Queue(4)
        self.asked_to_stop = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """The container's life."""
        self.status = "running"
        program, *words = self.body.config.cmd or []
        code = 0
        if program == "echo":
            await self.say(" ".join(words).encode() + b"\n")
        elif program == "cat":
            while data := await self.input.get():
                await self.say(data)
        else:
            await self.asked_to_stop.wait()
            code = 143
        await self.end(code)

    async def say(self, data: bytes) -> None:
        """Write to stdout."""
        async with self.changed:
            self.output += data if self.tty else frames.encode(frames.STDOUT, data)
            self.changed.notify_all()

    async def end(self, code: int) -> None:
        """The process is gone."""
        async with self.changed:
            self.status = "exited"
            self.ended.set_result(code)
            self.changed.notify_all()

    async def after(self, position: int) -> bytes:
        """Output behind `position`; empty at the end."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.output) > position or self.ended.done())
            return bytes(self.output[position:])


class Attached:
    """An attachment to a box, from its beginning."""

    def __init__(self, box: Box, closed: list[str]) -> None:
        self.tty = box.tty
        self._box, self._closed, self._read = box, closed, 0

    async def read(self) -> bytes:
        """Output."""
        data = await self._box.after(self._read)
        self._read += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Input."""
        await self._box.input.put(data)

    async def write_eof(self) -> None:
        """The input ends."""
        await self._box.input.put(b"")

    async def close(self) -> None:
        """Let go."""
        self._closed.append(self._box.id)


class Log(Attached):
    """A log that is read from its beginning and followed."""

    def __init__(self, box: Box, closed: list[str], follow: bool) -> None:
        super().__init__(box, closed)
        self._follow = follow

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The lines."""
        while self._follow or self._read < len(self._box.output):
            if not (data := await self.read()):
                return
            yield data


class SmallContainers:
    """`engine.containers`."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.boxes: dict[str, Box] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.closed: list[str] = []
        """Ids of what was attached to and let go."""
        self.stopped: list[str] = []
        self.stop_delay = asyncio.Event()
        self.stop_delay.set()

    def find(self, ref: str) -> Box:
        """By id, name or the id's beginning."""
        for box in self.boxes.values():
            if ref in (box.id, box.name) or box.id.startswith(ref):
                return box
        raise NotFound.of("container", ref)

    async def create(self, name: str | None, platform: str, body: ContainerCreate) -> ContainerCreated:
        """Make a box of the only image."""
        if body.config.image != "small":
            raise NotFound.of("image", f"{body.config.image}:latest")
        name = names.check(name) if name else names.random_name()
        for other in self.boxes.values():
            if other.name == name:
                facts = {"name": name, "id": other.id}
                raise Conflict("create", name, "in use", code="container.name-in-use", facts=facts)
        box = Box(name, body)
        self.boxes[box.id] = box
        self._events.publish("container", "create", box.id, {"name": name, "image": "small"})
        return ContainerCreated(id=box.id)

    async def start(self, ref: str, detach_keys: str = "") -> None:
        """Start a box, or fail as a runtime does."""
        box = self.find(ref)
        if box.status == "running":
            raise Unchanged("start", ref, "it runs")
        program = (box.body.config.cmd or [""])[0]
        if program not in ("echo", "cat", "sleep"):
            code = "exec.permission" if "/" in program else "exec.not-in-path"
            raise StartFailed("execute", program, "no", code=code, facts={"command": program})
        task = asyncio.create_task(box.run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def stop(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """End a box, once `stop_delay` allows it."""
        box = self.find(ref)
        if box.status != "running":
            raise Unchanged("stop", ref, "it does not run")
        await self.stop_delay.wait()
        box.asked_to_stop.set()
        await box.ended
        self.stopped.append(box.id)

    async def restart(self, ref: str, *, timeout: int | None, signal: str | None) -> None:
        """Stop; there is no second life in here."""
        await self.stop(ref, timeout=timeout, signal=signal)

    async def kill(self, ref: str, signal: str) -> None:
        """Stop, or say that it does not run."""
        box = self.find(ref)
        if box.status != "running":
            facts = {"name": ref, "id": box.id}
            raise Conflict("kill", ref, "not running", code="container.kill-not-running", facts=facts)
        await self.stop(ref, timeout=0, signal=signal)

    async def pause(self, ref: str) -> None:
        """Look it up."""
        self.find(ref)

    async def unpause(self, ref: str) -> None:
        """Look it up."""
        self.find(ref)

    async def rename(self, ref: str, name: str) -> None:
        """Rename."""
        self.find(ref).name = names.check(name)

    async def remove(self, ref: str, *, force: bool, volumes: bool, link: bool) -> None:
        """Forget a box."""
        box = self.find(ref)
        if box.status == "running" and not force:
            raise Conflict("remove", ref, "it runs", code="container.running", facts={"name": box.name})
        box.asked_to_stop.set()
        del self.boxes[box.id]

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Look it up."""
        self.find(ref)

    async def top(self, ref: str, ps_args: str) -> Mapping[str, Any]:
        """One process."""
        return {"Titles": ["PID", "CMD"], "Processes": [["1", " ".join(self.find(ref).body.config.cmd or [])]]}

    async def inspect(self, ref: str, *, size: bool) -> ContainerInspect:
        """What is known."""
        box = self.find(ref)
        state = State(status=box.status, running=box.status == "running")
        return ContainerInspect(
            id=box.id,
            created="",
            name=f"/{box.name}",
            state=state,
            config=box.body.config,
            host_config=box.body.host_config,
        )

    async def wait(self, ref: str, condition: str) -> Awaitable[WaitResult]:
        """Registered: the future is taken now."""
        ended = self.find(ref).ended

        async def result() -> WaitResult:
            return WaitResult(status_code=await asyncio.shield(ended))

        return result()

    async def attach(self, ref: str, options: AttachOptions) -> Attached:
        """Join."""
        return Attached(self.find(ref), self.closed)

    async def logs(self, ref: str, options: LogOptions) -> Log:
        """The output again."""
        return Log(self.find(ref), self.closed, options.follow)

    async def list(self, *, all: bool, limit: int, size: bool, filters: Filters) -> list[ContainerSummary]:
        """All boxes that pass."""
        return [
            ContainerSummary(id=b.id, names=[f"/{b.name}"], image="small", state=b.status, status=b.status)
            for b in self.boxes.values()
            if (all or b.status == "running") and filters.match_pattern("name", b.name)
        ]


class SmallImages:
    """`engine.images`: one image, and a load that counts bytes."""

    async def inspect(self, name: str) -> ImageInspect:
        """The only one."""
        if name.split(":")[0] != "small":
            raise NotFound.of("image", name if ":" in name else f"{name}:latest")
        return ImageInspect(id="sha256:" + "5" * 64, repo_tags=["small:latest"])

    async def history(self, name: str) -> list[HistoryEntry]:
        """One step."""
        return [HistoryEntry(id=(await self.inspect(name)).id, tags=["small:latest"])]

    async def tag(self, name: str, repository: str, tag: str) -> None:
        """Look it up."""
        await self.inspect(name)

    async def delete(self, name: str, *, force: bool, prune: bool) -> list[ImageDeleted]:
        """Say so."""
        return [ImageDeleted(untagged="small:latest"), ImageDeleted(deleted=(await self.inspect(name)).id)]

    async def load(self, archive: AsyncIterator[bytes], *, quiet: bool) -> AsyncGenerator[bytes, None]:
        """Count the bytes; an archive that begins with `bad` fails at once, one that ends with `bad` late."""
        size, last = 0, b""
        async for last in archive:
            if not size:
                if last.startswith(b"bad"):
                    raise Corrupt("read", "archive", "bad")
                yield progress.status("Loading layer", ident="small", current=1, total=2)
            size += len(last)
        if last.endswith(b"bad"):
            raise Corrupt("read", "archive", "bad end")
        yield progress.stream(f"Loaded {size}\n")

    async def pull(self, name: str, tag: str, *, platform: str, auth: str) -> AsyncGenerator[bytes, None]:
        """Say so, and who asked; `none` is not found."""
        if name == "none":
            raise NotFound("pull", name, "manifest for none not found", code="text")
        yield progress.status(f"Pulling {name}:{tag} {platform} {auth}")
        if name == "bad":
            raise Corrupt("pull", name, "bad end")

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Nothing to prune."""
        return ImagesPruned()

    async def list(self, *, all: bool, filters: Filters) -> list[ImageSummary]:
        """The only one."""
        return [ImageSummary(id="sha256:" + "5" * 64, repo_tags=["small:latest"], containers=3, size=7)]


class SmallRegistries:
    """`engine.registries`: says what it was asked."""

    async def login(self, body: bytes) -> Mapping[str, Any]:
        """Anybody may."""
        return {"Status": "Login Succeeded", "IdentityToken": body.decode()}

    async def search(self, term: str, limit: int | None, filters: Filters, auth: str) -> list[Mapping[str, Any]]:
        """One."""
        return [{"name": term, "star_count": limit, "description": auth}]

    async def distribution(self, name: str, auth: str) -> Mapping[str, Any]:
        """The name."""
        return {"Descriptor": {"name": name, "auth": auth}}


class SmallExecs:
    """`engine.execs`: none."""

    async def create(self, ref: str, body: ExecCreate) -> str:
        """Say so."""
        raise NotFound.of("container", ref)

    def check(self, exec_id: str) -> ExecCreate:
        """Say so."""
        raise NotFound.of("exec", exec_id)

    async def start(self, exec_id: str, *, detach: bool, console_size: Sequence[int] | None) -> Attachment:
        """Say so."""
        raise NotFound.of("exec", exec_id)

    async def inspect(self, exec_id: str) -> Mapping[str, Any]:
        """Say so."""
        raise NotFound.of("exec", exec_id)

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Say so."""
        raise NotFound.of("exec", exec_id)


class SmallNetworks:
    """`engine.networks`: none but one."""

    async def inspect(self, ref: str) -> Network:
        """The only one."""
        if ref != "none":
            raise NotFound.of("network", ref)
        return Network(name="none", id="0" * 64, driver="null")

    async def create(self, body: NetworkCreate) -> NetworkCreated:
        """Say so."""
        return NetworkCreated(id="1" * 64)

    async def remove(self, ref: str) -> None:
        """Look it up."""
        await self.inspect(ref)

    async def list(self, filters: Filters) -> list[Network]:
        """The only one."""
        return [await self.inspect("none")]


class SmallSystem:
    """`engine.system`."""

    async def version(self) -> Mapping[str, Any]:
        """Something."""
        return {"Version": "small", "ApiVersion": "1.51", "MinAPIVersion": "1.24"}

    async def info(self) -> Mapping[str, Any]:
        """Something."""
        return {"ID": "small"}


class SmallEngine:
    """All of it."""

    def __init__(self) -> None:
        self.events = Events()
        self.containers = SmallContainers(self.events)
        self.execs = SmallExecs()
        self.images = SmallImages()
        self.registries = SmallRegistries()
        self.networks = SmallNetworks()
        self.system = SmallSystem()


class SmallServer:
    """A server in a thread, on a socket file; with the small engine and any routes beside."""

    def __init__(self, path: Path, *more: Route, limits: Limits | None = None) -> None:
        self.path = str(path)
        self._more, self._limits = more, limits
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.engine = SmallEngine()
        shield = Shield()
        router = Router([*docker_routes(self.engine, shield), *self._more])
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(512)
        self._serving = asyncio.create_task(Server(router, self._limits).serve(listener))
        self._ready.set()
        await asyncio.wait([self._serving])
        await shield.settle(5)

    def __enter__(self) -> SmallServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def connect(self, timeout: float = 10) -> socket.socket:
        """A client's connection."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout)
        client.connect(self.path)
        return client

    def ask(self, awaitable: Any) -> Any:
        """Await something in the server's loop."""
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(10)
