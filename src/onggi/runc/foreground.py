"""A container in the foreground: `onggi-oci run` without `--detach`.

This process stays the container's parent: it passes signals on, stands between the caller's terminal and the container's,
ends as it ends, and removes what is left of it. You come from `create`; the next door is `kill`.
"""

from __future__ import annotations

import os

from onggi.kernel import signals
from onggi.runc import state
from onggi.unwinding import contextmanager, suppress
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout
    from onggi.oci.runtime import Process
    from onggi.runc.ready import Ready
    from onggi.runc.words import Options
    from onggi.runtime.container import Started
    from onggi.runtime.enter import Entered

_OURS = frozenset((signals.KILL, signals.STOP, signals.CHLD, signals.PIPE, signals.URG))


def passed_on() -> frozenset[int]:
    """The signals that are the container's; they wait while it is being started."""
    return signals.ALL - _OURS


def with_size(process: Process) -> Process:
    """A process's terminal is as large as ours from its first instruction on."""
    if not process.terminal or process.console_size or not os.isatty(0):
        return process
    columns, rows = os.get_terminal_size(0)
    return replace(process, console_size=(rows, columns))


def stay(
    root: str,
    kept: dict[str, Any],
    started: Started,
    layout: Layout,
    options: Options,
    ready: Ready | None,
    *,
    keep: bool,
) -> int:
    """Wait for the container's end and clean up; its exit code, or 128 and the signal's number."""
    status = attend(started, ready)
    if not keep and state.is_same(kept):  # nobody has deleted it, or even made another of this id
        from onggi.runc import kill

        for note in kill.destroy(root, kept, layout):
            from onggi.runc.logging import warn

            warn(note, options)
    return status


def attend(started: Started | Entered, ready: Ready | None = None) -> int:
    """Wait for a process's end, between it and our caller: its exit code, or 128 and the signal's number."""
    with _signals(started):
        if started.console >= 0 or ready:
            from onggi.runc.relay import stand_between

            stand_between(started.console, started.pidfd, ready)
        found = os.waitid(os.P_PIDFD, started.pidfd, os.WEXITED)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


@contextmanager
def _signals(started: Started | Entered) -> Iterator[None]:
    """Whatever is sent to us is sent to the container's first process."""

    def forward(number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            signals.send_to_pidfd(started.pidfd, number)

    def resize(_number: int, _frame: object) -> None:
        from onggi.kernel import tty

        if started.console < 0 or not os.isatty(0):
            return
        with suppress(OSError):  # ours or the container's has hung up
            tty.set_size(started.console, *reversed(os.get_terminal_size(0)))

    for number in passed_on():
        with suppress(OSError, ValueError):  # the two that libc keeps for itself
            signals.handle(number, resize if number == signals.WINCH else forward)
    signals.mask(signals.UNBLOCK, passed_on())
    yield
