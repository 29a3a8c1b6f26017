"""A container in the foreground, without engine or launcher: `onggi-oci run`.

This process is the container's keeper: it passes signals on, lends it the caller's streams or stands between the caller's
terminal and the container's, and ends as it ends. You come from `main`; the next door is `container`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import time
import tty as terminal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from onggi.errors import Invalid, OnggiError
from onggi.kernel import process, tty
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.layout import Layout
from onggi.runtime import bundle, container, state
from onggi.runtime.request import Request
from onggi.trace import Trace
from onggi.values import replace

_CHUNK = 64 << 10
_OURS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG)


def run(root: str, container_id: str, bundle_dir: str, *, pid_file: str, console_socket: str, keep: bool) -> int:
    """Run the bundle to its end; its exit code, or 128 and the signal's number."""
    bundle_dir = os.path.abspath(bundle_dir)
    document = bundle.read(bundle_dir)
    if console_socket and not (document.get("process") or {}).get("terminal"):
        raise Invalid("run", container_id, "a console socket needs process.terminal")
    with ExitStack() as undo:
        directory = state.reserve(root, container_id)
        if not keep:
            undo.callback(state.release, directory)
        request = bundle.request(container_id, bundle_dir, document, os.path.join(root, ".seccomp"))
        request = _with_size(request)
        layout = detect()
        process.set_subreaper()
        undo.callback(
            signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, _passed_on())
        )
        stdio = None if request.spec.process.terminal else (0, 1, 2)
        started = container.start(request, layout, stdio, Trace())
        undo.callback(_remove_group, layout, request.spec.cgroups_path)
        for warning in started.warnings:
            sys.stderr.write(f"onggi-oci: warning: {warning}\n")
        _remember(directory, bundle_dir, request, started)
        if pid_file:
            _write_pid(pid_file, started.pid)
        with _signals(started):
            code = _wait(started, console_socket)
    return code


def _with_size(request: Request) -> Request:
    """A container's terminal is as large as ours from its first instruction on."""
    spec = request.spec
    if not spec.process.terminal or spec.process.console_size or not os.isatty(0):
        return request
    columns, rows = os.get_terminal_size(0)
    return replace(request, spec=replace(spec, process=replace(spec.process, console_size=(rows, columns))))


def _passed_on() -> set[int]:
    """The signals that are the container's; they wait while it is being started."""
    return {number for number in signal.valid_signals() if number not in _OURS}


def _remove_group(layout: Layout, path: str) -> None:
    with contextlib.suppress(OnggiError):  # what the container ended with is said already; `delete` tries again
        layout.kill(path)
        layout.remove(path)


def _remember(directory: str, bundle_dir: str, request: Request, started: container.Started) -> None:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started.at // 10**9))
    spec = request.spec
    annotations: dict[str, Any] = dict(spec.annotations)
    state.write(
        directory,
        state.document(request.id, started.pid, bundle_dir, spec.root, spec.cgroups_path, annotations, created),
    )


def _write_pid(path: str, pid: int) -> None:
    new = f"{path}.{os.getpid()}"
    with open(new, "w") as file:
        file.write(str(pid))
    os.rename(new, path)


@contextlib.contextmanager
def _signals(started: container.Started) -> Iterator[None]:
    """Whatever is sent to us is sent to the container's first process."""

    def forward(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            signal.pidfd_send_signal(started.pidfd, number)

    def resize(_number: int, _frame: object) -> None:
        if started.console >= 0 and os.isatty(0):
            tty.set_size(started.console, *reversed(os.get_terminal_size(0)))

    wanted = dict.fromkeys(_passed_on(), forward) | {signal.SIGWINCH: resize}
    old = {}
    for number, handler in wanted.items():
        with contextlib.suppress(OSError, ValueError):  # the two that libc keeps for itself
            old[number] = signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before or signal.SIG_DFL)


def _wait(started: container.Started, console_socket: str) -> int:
    if started.console >= 0 and console_socket:
        _send_console(started.console, console_socket)
    elif started.console >= 0:
        _stand_between(started)
    found = os.waitid(os.P_PIDFD, started.pidfd, os.WEXITED)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


def _send_console(master: int, path: str) -> None:
    """The master to whoever listens on the console socket, as runc's --console-socket does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.connect(path)
        socket.send_fds(end, [b"/dev/ptmx"], [master])
    os.close(master)


def _stand_between(started: container.Started) -> None:
    """Copy between our terminal, or whatever 0 and 1 are, and the container's, until it hangs up."""
    with ExitStack() as undo:
        if os.isatty(0):
            before = termios.tcgetattr(0)
            undo.callback(termios.tcsetattr, 0, termios.TCSADRAIN, before)
            terminal.setraw(0)
        undo.callback(os.close, started.console)
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(started.console, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                data = _read(number)
                if number == 0 and data:
                    _write(started.console, data)
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
