"""A load's worker process, driven: the archive goes in at its stdin, JSON lines come out at its stdout.

The worker unpacks what strangers packed, so it is neither a thread nor a fork of the engine. A load that nobody waits
for any more is killed; what it left aside is collected. Callers: `images`. The next room is `store/worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from onggi.errors import OnggiError, Unavailable, from_fields

_SOURCE = str(Path(__file__).resolve().parents[2])
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one layer is, in bytes."""

    id: str
    status: str
    current: int
    total: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """One image, and the names that it has now."""

    id: str
    names: tuple[str, ...]


Report: TypeAlias = Progress | Loaded


async def load(root: Path, archive: AsyncIterator[bytes]) -> AsyncGenerator[Report, None]:
    """Load the archive into the store at `root`; raises what the worker raised, or what reading the archive did."""
    worker = await start("load", root, stdin=asyncio.subprocess.PIPE)
    feeder = asyncio.create_task(_feed(worker, archive))
    try:
        async with contextlib.aclosing(_reports(worker)) as reports:
            async for report in reports:
                yield report
        await feeder
    except OnggiError as error:
        if feeder.done() and not feeder.cancelled() and (cause := feeder.exception()) is not None:
            raise cause from error  # the archive broke off: what the worker says is a consequence
        raise
    finally:
        feeder.cancel()
        await _end(worker)


async def make(root: Path, name: str) -> None:
    """Make a built-in image in the store at `root`."""
    worker = await start(name, root, stdin=asyncio.subprocess.DEVNULL)
    try:
        async for _ in _reports(worker):
            pass
    finally:
        await _end(worker)


async def start(verb: str, root: Path, *, stdin: int) -> asyncio.subprocess.Process:
    code = f"import sys; sys.path.insert(0, {_SOURCE!r}); from onggi.store.worker import main; sys.exit(main())"
    # without -S: the worker needs its decompressors, which are installed beside us
    words = (sys.executable, "-I", "-c", code, verb, "--root", str(root))
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*words, stdin=stdin, stdout=pipe, limit=_LONGEST_LINE)


async def _reports(worker: asyncio.subprocess.Process) -> AsyncGenerator[Report, None]:
    assert worker.stdout is not None  # it is a pipe
    async for line in worker.stdout:
        for report in _parsed(json.loads(line)):
            yield report
    if (status := await worker.wait()) != 0:
        raise Unavailable("load", "archive", f"the worker ended with status {status}")


def _parsed(fields: dict[str, Any]) -> list[Report]:
    if "error" in fields:
        raise from_fields(fields["error"])
    if "loaded" in fields:
        return [Loaded(one["id"], tuple(one["names"])) for one in fields["loaded"]]
    one = fields["progress"]
    return [Progress(one["id"], one["status"], one["current"], one["total"])]


async def _end(worker: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        worker.kill()
    await worker.wait()


async def _feed(worker: asyncio.subprocess.Process, archive: AsyncIterator[bytes]) -> None:
    """Pump the archive in, no faster than the worker reads; if the archive breaks off, so does the worker."""
    assert worker.stdin is not None  # it is a pipe
    try:
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # the worker has read enough, or failed: it says
            async for chunk in archive:
                worker.stdin.write(chunk)
                await worker.stdin.drain()
    except BaseException:  # also a cancellation: a worker that got half an archive must not take it for a whole one
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        raise
    finally:
        worker.stdin.close()
