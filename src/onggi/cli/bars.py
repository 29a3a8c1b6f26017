"""Layers on their way, drawn: a bar for each with its rate and the time that is left; on a pipe, a line for each event.

What is drawn on a terminal is talk: it goes to stderr, is redrawn in place, and leaves nothing but its last lines.
Callers: `commands/pull`, `commands/push`. Read next: `output`.
"""

from __future__ import annotations

import os
import sys
import time

from onggi.cli import output
from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_OFTEN = 0.1
_LEARNING = 0.3  # how much the newest measurement of a rate counts
_DONE = ("Pull complete", "Already exists", "Pushed", "Layer already exists", "Mounted from")


class Thing:
    """One layer: what happens to it, and how fast."""

    __slots__ = ("current", "rate", "since", "text", "total")

    def __init__(self) -> None:
        self.text = ""
        self.current = self.total = 0
        self.rate = 0.0
        self.since = 0.0

    @property
    def done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.text.startswith(_DONE)

    def take(self, text: str, current: int, total: int, now: float) -> None:
        """Take in what was said of it."""
        if text != self.text or current < self.current:
            self.rate, self.since = 0.0, now
        elif now > self.since and current > self.current:
            newest = (current - self.current) / (now - self.since)
            self.rate = newest if not self.rate else self.rate + _LEARNING * (newest - self.rate)
            self.since = now
        self.text, self.current, self.total = text, current, total


class Bars:
    """Takes progress lines; `close` when there are no more."""

    __slots__ = ("_drawn", "_last", "_live", "_said", "things")

    def __init__(self) -> None:
        self.things: dict[str, Thing] = {}
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = 0
        self._last = 0.0
        self._said: set[str] = set()

    def take(self, line: dict[str, Any]) -> None:
        """Show what a line says."""
        ident, text = str(line.get("id", "")), str(line.get("status", ""))
        detail = line.get("progressDetail") or {}
        if not ident or text.startswith("Pulling from"):
            self._say(f"{ident}: {text}" if ident else text)
            return
        now = time.monotonic()
        thing = self.things.setdefault(ident, Thing())
        begins = text != thing.text
        thing.take(text, int(detail.get("current") or 0), int(detail.get("total") or 0), now)
        if not self._live:
            if not detail and f"{ident}: {text}" not in self._said:
                self._say(f"{ident}: {text}")
        elif begins or now - self._last >= _OFTEN:
            self._last = now
            self._draw()

    def close(self) -> None:
        """Leave the terminal as it was, but for what was said."""
        self._clear()

    def _say(self, text: str) -> None:
        self._clear()
        self._said.add(text)
        print(output.visible(text), file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        columns, rows = os.get_terminal_size(2)
        lines = rows_of(self.things, max(columns, 20), max(rows - 2, 2))
        self._clear()
        sys.stderr.write("".join(line + "\n" for line in lines))
        sys.stderr.flush()
        self._drawn = len(lines)


def rows_of(things: dict[str, Thing], columns: int, rows: int) -> list[str]:
    """What fits: the layers that something happens to, in their order, and a line on all of them."""
    busy = [(ident, thing) for ident, thing in things.items() if not thing.done]
    lines = [row_of(ident, thing, columns) for ident, thing in busy[: rows - 1]]
    done = len(things) - len(busy)
    rate = sum(thing.rate for _, thing in busy if thing.text != "Extracting")
    total = f"{done} of {len(things)} layers" + (f", {output.size(rate)}/s" if rate else "")
    return [*lines, total[: columns - 1]]


def row_of(ident: str, thing: Thing, columns: int) -> str:
    """`0123456789ab  Downloading  ████████        12.3MB/40MB  8.1MB/s  3s`, as wide as the terminal."""
    head = f"{output.visible(ident)[:12]:<12}  {output.visible(thing.text)[:17]:<17}"
    if not thing.total:
        return head[: columns - 1]
    tail = f"{output.size(thing.current):>7}/{output.size(thing.total):<7}"
    if thing.rate:
        tail += f" {output.size(thing.rate) + '/s':>9}  {left(thing.total - thing.current, thing.rate):<6}"
    width = columns - len(head) - len(tail) - 4
    if width < 5:
        return f"{head} {tail}"[: columns - 1]
    full = min(thing.current * width // thing.total, width)
    return f"{head} {'━' * full}{'╌' * (width - full)} {tail}"


def left(count: int, rate: float) -> str:
    """The time for the rest: `3s`, `2m05s`, `1h10m`."""
    seconds = int(max(count, 0) / rate + 0.5)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


def show(lines: Iterable[dict[str, Any]], *, quiet: bool = False) -> None:
    """Show a whole answer; CommandFailed with the error that it ends in."""
    bars = Bars()
    try:
        for line in lines:
            if "error" in line:
                bars.close()
                raise CommandFailed(str(line["error"]))
            if not quiet and "status" in line:
                bars.take(line)
    finally:
        bars.close()
