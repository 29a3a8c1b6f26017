"""A container in the foreground: `onggi-oci run` without `--detach`.

This process stays the container's parent: it passes signals on, stands between the caller's terminal and the container's,
ends as it ends, and removes what is left of it. You come from `create`; the next door is `kill`.
"""

from __future__ import annotations

import os

from onggi.kernel import signals
from onggi.runc import kill, state
from onggi.unwinding import ExitStack, contextmanager, suppress
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.ready import Ready
    from onggi.runc.words import Options
    from onggi.runtime.container import Started
    from onggi.runtime.request import Request

_CHUNK = 64 << 10
_OURS = frozenset((signals.KILL, signals.STOP, signals.CHLD, signals.PIPE, signals.URG))


def passed_on() -> frozenset[int]:
    """The signals that are the container's; they wait while it is being started."""
    return signals.ALL - _OURS


def with_size(request: Request) -> Request:
    """A container's terminal is as large as ours from its first instruction on."""
    spec = request.spec
    if not spec.process.terminal or spec.process.console_size or not os.isatty(0):
        return request
    columns, rows = os.get_terminal_size(0)
    return replace(request, spec=replace(spec, process=replace(spec.process, console_size=(rows, columns))))


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
    with _signals(started):
        if started.console >= 0 or ready:
            _stand_between(started, ready)
        found = os.waitid(os.P_PIDFD, started.pidfd, os.WEXITED)
    assert found is not None
    if not keep and state.is_same(kept):  # nobody has deleted it, or even made another of this id
        for note in kill.destroy(root, kept, layout):
            from onggi.runc.logging import warn

            warn(note, options)
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


@contextmanager
def _signals(started: Started) -> Iterator[None]:
    """Whatever is sent to us is sent to the container's first process."""

    def forward(number: int, _frame: object) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            signals.send_to_pidfd(started.pidfd, number)

    def resize(_number: int, _frame: object) -> None:
        from onggi.kernel import tty

        if started.console >= 0 and os.isatty(0):
            tty.set_size(started.console, *reversed(os.get_terminal_size(0)))

    for number in passed_on():
        with suppress(OSError, ValueError):  # the two that libc keeps for itself
            signals.handle(number, resize if number == signals.WINCH else forward)
    signals.mask(signals.UNBLOCK, passed_on())
    yield


def _stand_between(started: Started, ready: Ready | None) -> None:
    """Copy between our terminal, or whatever 0 and 1 are, and the container's, until it hangs up; listen whether it is ready."""
    import select
    import termios
    import tty as terminal

    console = started.console
    with ExitStack() as undo:
        poll = select.poll()
        poll.register(console if console >= 0 else started.pidfd, select.POLLIN)
        if ready:
            poll.register(ready, select.POLLIN)
        if console >= 0:
            undo.callback(os.close, console)
            poll.register(0, select.POLLIN)
            if os.isatty(0):
                before = termios.tcgetattr(0)
                undo.callback(termios.tcsetattr, 0, termios.TCSADRAIN, before)
                terminal.setraw(0)
        while True:
            for number, _ in poll.poll():
                if ready and number == ready.fileno():
                    if ready.heard(os.getpid()):
                        poll.unregister(ready)
                    continue
                data = _read(number) if number != started.pidfd else b""
                if number == 0 and data:
                    _write(console, data)
                elif number == 0:
                    poll.unregister(0)
                elif data:
                    _write(1, data)
                else:
                    return


def _read(number: int) -> bytes:
    try:
        return os.read(number, _CHUNK)
    except OSError:  # EIO: the last slave is closed
        return b""


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]
