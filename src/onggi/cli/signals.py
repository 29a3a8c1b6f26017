"""Signals while a container runs in the foreground: handed on to it, and the terminal's new sizes.

The handlers do nothing; Python writes the signal's number to a pipe, and the loop in `streams` reads it there, so that
no handler ever runs in the middle of a request. Callers: `commands/run`, `commands/attach`. Read next: `streams`.
"""

from __future__ import annotations

import os

from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import TracebackType
    from typing import Any
else:
    import _signal as signal  # the C half: `signal` proper makes enums of every number at its import

_DEADLY = (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT)
SIGWINCH: int = signal.SIGWINCH
_PROXIED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
)


class SignalPipe:
    """A context in which signals arrive as bytes on `fileno()`: SIGWINCH always, the others when `proxy`."""

    __slots__ = ("_proxy", "_read", "_restore", "_write")

    def __init__(self, *, proxy: bool) -> None:
        self._proxy = proxy
        self._read = self._write = -1
        self._restore: dict[int, Any] = {}

    def __enter__(self) -> SignalPipe:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (SIGWINCH, *(_PROXIED if self._proxy else ())):
            self._restore[number] = signal.signal(number, _nothing)
        for number in () if self._proxy else _DEADLY:
            self._restore[number] = signal.signal(number, _leave)
        return self

    def fileno(self) -> int:
        """The end to read from."""
        return self._read

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._restore.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)


def _leave(number: int, frame: object) -> None:
    """End by an exception, so that the terminal's mode is restored on the way out."""
    raise CommandFailed("", status=128 + number)


def _nothing(number: int, frame: object) -> None:
    """The wake-up descriptor has it already."""


def name(number: int) -> str:
    """TERM for 15."""
    for word, value in vars(signal).items():
        if value == number and word.startswith("SIG") and not word.startswith("SIG_"):
            return word.removeprefix("SIG")
    return str(number)
