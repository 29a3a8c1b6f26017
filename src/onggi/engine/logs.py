"""Reading a container's log: which frames, which lines, with which times; and following it.

The file is read frame by frame; lines are looked at only when somebody asks for times, a tail or a period, so that a
plain `logs` costs what the disk costs. To follow, the keeper sends the frames from where the file was read to. You come
from `engine/containers`; the next door is `runtime/log`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from onggi.engine.blocking import blocking
from onggi.runtime.log import CHUNK, HEADER, Frame, parse_frames, read_frames
from onggi.wire.gotime import rfc3339_fixed
from onggi.wire.options import LogOptions

_BLOCK = 512 << 10


class Renderer:
    """Frames in, what the client sees out: filtered, with times, framed for the wire unless it is a terminal's."""

    def __init__(self, options: LogOptions, *, tty: bool, details: str) -> None:
        self._options = options
        self._tty = tty
        self._prefix = f"{details} ".encode() if options.details else b""
        self._by_line = options.timestamps or options.details
        self._at_start = {1: True, 2: True}

    def render(self, frames: Iterator[Frame] | list[Frame]) -> bytes:
        """The output of some frames."""
        pieces: list[bytes] = []
        options = self._options
        for frame in frames:
            if not (options.stderr if frame.stream == 2 else options.stdout):
                continue
            if frame.time < options.since_ns or (options.until_ns and frame.time > options.until_ns):
                continue
            data = self._lines(frame) if self._by_line else frame.data
            if not self._tty:
                pieces.append(HEADER.pack(frame.stream, len(data), 0)[:8])
            pieces.append(data)
        return b"".join(pieces)

    def _lines(self, frame: Frame) -> bytes:
        """The frame's data with a prefix at the beginning of each line."""
        prefix = (f"{rfc3339_fixed(frame.time)} ".encode() if self._options.timestamps else b"") + self._prefix
        lines = frame.data.splitlines(keepends=True) if b"\r" not in frame.data else _split(frame.data)
        out = [prefix + line if i or self._at_start[frame.stream] else line for i, line in enumerate(lines)]
        self._at_start[frame.stream] = frame.data.endswith(b"\n")
        return b"".join(out)


def _split(data: bytes) -> list[bytes]:
    """Lines end at a newline and nowhere else."""
    pieces = data.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


class LogStream:
    """One reading of a log; `follow` is a stream of raw frames from the keeper, from where the file was read to."""

    def __init__(
        self, path: Path, options: LogOptions, *, tty: bool, details: str, follow: socket.socket | None, end: int
    ) -> None:
        self._path = path
        self._options = options
        self._tty = tty
        self._renderer = Renderer(options, tty=tty, details=details)
        self._follow = follow
        self._end = end

    @property
    def tty(self) -> bool:
        """Whether the stream is a terminal's: raw, not framed."""
        return self._tty

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The output, in pieces of any size."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # never started, or the log driver is `none`
            descriptor = -1
        if descriptor >= 0:
            try:
                async for piece in self._past(descriptor):
                    yield piece
            finally:
                os.close(descriptor)
        if self._follow is not None:
            async for piece in self._future(self._follow):
                yield piece

    async def _past(self, descriptor: int) -> AsyncIterator[bytes]:
        offset = 0
        if self._options.tail is not None:
            offset, first = await blocking(_tail, descriptor, self._end, self._options)
            if first is not None:
                piece = self._renderer.render([first])
                if piece:
                    yield piece
        while offset < self._end:
            frames = [f for f in read_frames(descriptor, offset, _BLOCK) if f.end <= self._end]
            if not frames:
                return
            offset = frames[-1].end
            piece = self._renderer.render(frames)
            if piece:
                yield piece
            await asyncio.sleep(0)  # others have their turn between two blocks

    async def _future(self, stream: socket.socket) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        buffer = b""
        while data := await loop.sock_recv(stream, _BLOCK):
            buffer += data
            frames = list(parse_frames(buffer))
            if not frames:
                continue
            buffer = buffer[frames[-1].end :]
            piece = self._renderer.render(frames)
            if piece:
                yield piece

    async def close(self) -> None:
        """Let go."""
        if self._follow is not None:
            self._follow.close()


def _tail(descriptor: int, end: int, options: LogOptions) -> tuple[int, Frame | None]:
    """Where the last `tail` lines begin: the offset of the first whole frame, and the cut frame before it, if any."""
    wanted = options.tail or 0
    if wanted <= 0:
        return end, None
    counts: list[tuple[int, int]] = []  # offset of a frame, lines that end in it
    offset, last = 0, b"\n"
    while offset < end:
        before = offset
        for frame in read_frames(descriptor, offset, _BLOCK):
            if frame.end > end:
                break
            if options.stderr if frame.stream == 2 else options.stdout:
                counts.append((offset, frame.data.count(b"\n")))
                last = frame.data
            offset = frame.end
        if offset == before:
            break
    lines = 0 if last.endswith(b"\n") else 1
    for place, count in reversed(counts):
        if lines + count > wanted:
            return _cut(descriptor, place, lines + count - wanted)
        lines += count
    return 0, None


def _cut(descriptor: int, place: int, surplus: int) -> tuple[int, Frame]:
    """The frame at `place` without its first `surplus` lines."""
    frame = next(read_frames(descriptor, place, CHUNK + HEADER.size))
    data = frame.data
    for _ in range(surplus):
        data = data.partition(b"\n")[2]
    return frame.end, Frame(frame.stream, frame.time, data, frame.end)
