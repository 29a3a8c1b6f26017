"""The engine's end of the launcher: starts it, hands it requests, starts another when it is gone.

The launcher is a process of its own because the engine has threads and a large heap and must not fork. You come from
`engine/containers`; the next door is `runtime/launch`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from onggi.errors import LimitExceeded, Unavailable
from onggi.kernel.fd import Fd
from onggi.runtime import starter

_SOURCE = str(Path(__file__).resolve().parents[2])
_START_SECONDS = 20.0
_MOST_STREAMS = starter.MOST_DESCRIPTORS - 2


class Launcher:
    """One launcher process at a time."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start the process and wait until it is ready."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = f"import sys; sys.path.insert(0, {_SOURCE!r}); from onggi.runtime.launch import main; main()"
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", code, str(theirs.fileno()), "enclose"),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_START_SECONDS):
            word = await loop.sock_recv(ours, 64)
        if not word:
            raise Unavailable("start", "launcher", f"it ended at once, with status {await self._process.wait()}")
        self._socket = ours

    async def launch(self, request: dict[str, Any], streams: Sequence[socket.socket]) -> socket.socket:
        """Hand over a request; returns our end of the new keeper's control socket."""
        if len(streams) > _MOST_STREAMS:
            raise LimitExceeded("start", "container", f"more than {_MOST_STREAMS} clients wait for its streams")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs, Fd(os.memfd_create("onggi-request", os.MFD_CLOEXEC)) as memory:
            os.write(memory.fileno(), msgspec.json.encode(request))
            descriptors = [memory.fileno(), theirs.fileno(), *(stream.fileno() for stream in streams)]
            try:
                await self._send(descriptors)
            except BaseException:
                ours.close()
                raise
        return ours

    async def _send(self, descriptors: list[int]) -> None:
        for attempt in (1, 2):
            async with self._lock:
                if self._socket is None:
                    await self.start()
                assert self._socket is not None
                try:
                    socket.send_fds(self._socket, [b"start"], descriptors, socket.MSG_NOSIGNAL)
                except BlockingIOError as error:
                    raise Unavailable("start", "container", "the launcher is busy", hint="try again") from error
                except OSError:  # it is gone: another one takes over
                    self._socket.close()
                    self._socket = None
                    if attempt == 2:
                        raise
                    continue
                return

    @property
    def pid(self) -> int | None:
        """The launcher's pid, None before the first start."""
        return self._process.pid if self._process else None

    async def close(self) -> None:
        """Let the launcher go; keepers and containers stay."""
        if self._socket:
            self._socket.close()
            self._socket = None
        if self._process:
            await self._process.wait()
