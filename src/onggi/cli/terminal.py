"""The terminal: raw mode that is undone on every way out, its size, and the keys that detach.

Callers: `streams`, `commands/run`, `commands/attach`. Read next: `streams`.
"""

from __future__ import annotations

import os
import termios
import tty

from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

DETACH_KEYS = "ctrl-p,ctrl-q"


class RawMode:
    """A context in which the terminal `descriptor` passes every key as it is; does nothing when it is no terminal."""

    __slots__ = ("_descriptor", "_saved")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] | None = None

    def __enter__(self) -> RawMode:
        if os.isatty(self._descriptor):
            self._saved = termios.tcgetattr(self._descriptor)
            tty.setraw(self._descriptor, termios.TCSANOW)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._saved is not None:
            # DRAIN: what the container wrote last is shown as raw output before the mode changes under it.
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)


def size(descriptor: int = 1) -> tuple[int, int] | None:
    """(rows, columns) of the terminal; None when it is none or does not know."""
    try:
        columns, rows = os.get_terminal_size(descriptor)
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


def keys(text: str) -> bytes:
    """The bytes of a key sequence such as `ctrl-p,ctrl-q` or `ctrl-],x`."""
    out = bytearray()
    for key in text.split(",") if text else []:
        if len(key) == 1 and key.isascii():
            out += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and ("a" <= key[5] <= "z" or key[5] in "@[\\]^_"):
            out.append(ord(key[5].upper()) & 0x1F)
        else:
            raise CommandFailed(
                f"use detach keys `{text}`: unknown key `{key}`", hint="such as ctrl-p,ctrl-q", status=125
            )
    return bytes(out)


class DetachWatch:
    """Knows whether the detach keys have been typed. The engine acts on them; this only tells a detach from an end."""

    __slots__ = ("_keys", "_matched", "seen")

    def __init__(self, text: str) -> None:
        self._keys = keys(text or DETACH_KEYS)
        self._matched = 0
        self.seen = False

    def feed(self, data: bytes) -> None:
        """Look at what is typed."""
        for byte in data:
            if byte != self._keys[self._matched]:
                self._matched = 0
            if byte == self._keys[self._matched]:
                self._matched += 1
            if self._matched == len(self._keys):
                self.seen = True
                self._matched = 0
