"""A load's worker process, driven: archive in at its stdin, JSON lines out at its stdout.

    {"progress": {"id", "status", "current", "total"}}    how far one layer is
    {"loaded": [{"id", "names"}]}                         the images that are there now, in the end
    {"error": {…}}                                        the failure, as `OnggiError.to_fields`

The worker unpacks what strangers packed, so it is neither a thread nor a fork of the engine. A load that nobody waits
for any more is killed; what it left aside is collected. Callers: `images`. The next room is `store/worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from onggi.errors import Unavailable, from_fields

_SOURCE = str(Path(__file__).resolve().parents[2])
_PIPE = asyncio.subprocess.PIPE
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


async def make(root: Path, name: str) -> None:
    """Make one of the images that need no archive, `hello` or `host`."""
    async for _ in load(root, _nothing(), verb=name):
        continue


async def _nothing() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


async def load(root: Path, archive: AsyncIterator[bytes], *, verb: str = "load") -> AsyncGenerator[Report, None]:
    """Load the archive into the store at `root`; raises what the worker raised, or what reading the archive did."""
    code = f"import sys; sys.path.insert(0, {_SOURCE!r}); from onggi.store.worker import main; main()"
    # without -S: the worker needs its decompressors, which are installed beside us
    words = (sys.executable, "-I", "-c", code, verb, "--root", str(root))
    worker = await asyncio.create_subprocess_exec(*words, stdin=_PIPE, stdout=_PIPE, limit=_LONGEST_LINE)
    feeder = asyncio.create_task(_feed(worker, archive))
    try:
        assert worker.stdout is not None  # it is a pipe
        async for line in worker.stdout:
            for report in _reports(json.loads(line)):
                yield report
        status = await worker.wait()
        await feeder
        if status != 0:
            raise Unavailable("load", "archive", f"the worker ended with status {status}")
    finally:
        feeder.cancel()
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
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        raise
    finally:
        worker.stdin.close()


def _reports(message: dict[str, Any]) -> Sequence[Report]:
    if "error" in message:
        raise from_fields(message["error"])
    if "loaded" in message:
        return [Loaded(image["id"], tuple(image["names"])) for image in message["loaded"]]
    fields = message["progress"]
    return [Progress(fields["id"], fields["status"], fields["current"], fields["total"])]
