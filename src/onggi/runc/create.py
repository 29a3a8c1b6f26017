"""`create`, `run` and `start`: a bundle becomes a container.

    create   plan, clone, mounts, rights, all but the program; the init waits on ROOT/ID/exec.fifo, and we are gone
    start    writes into the fifo; the init executes the program
    run      both at once, without the fifo; in the foreground it stays the container's parent until its end

You come from `main`; the next doors are `bundle`, `runtime/container` and `foreground`.
"""

from __future__ import annotations

import errno
import os
import time

from onggi.errors import Conflict, Invalid, OnggiError
from onggi.kernel import process, signals
from onggi.kernel.cgroup.detect import detect
from onggi.runc import bundle, state
from onggi.runtime import container
from onggi.trace import Trace
from onggi.unwinding import ExitStack
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.words import Options
    from onggi.runtime.enter import Entered
    from onggi.runtime.request import Request

    Begin: TypeAlias = Callable[[Request, dict[str, Any], Layout], container.Started]


def create(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci create ID`."""
    return make(options, given, container_id, detach=True, waits=True)


def run(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci run ID`; in the foreground the exit status is the program's."""
    return make(options, given, container_id, detach=given.has("detach"), waits=False)


def start(options: Options, _given: Options, container_id: str) -> int:
    """`onggi-oci start ID`."""
    kept, layout = state.read(state.root(options), container_id), detect()
    now = state.status(kept, layout)
    if now != "created":
        raise Conflict("start container", container_id, _NOT_CREATED.get(now, f"it is in the {now} state"))
    try:
        fifo = os.open(kept["fifo"], os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.unlink(kept["fifo"])  # of two starts at once one does it
    except OSError as error:
        ended = error.errno == errno.ENXIO
        raise Conflict("start container", container_id, _NOT_CREATED["stopped" if ended else "running"]) from error
    os.write(fifo, b"0")
    os.close(fifo)
    _after_start(kept, options)
    return 0


_NOT_CREATED = {
    "stopped": "cannot start a container that has stopped",
    "running": "cannot start an already running container",
    "paused": "cannot start a container in the paused state",
}


def make(
    options: Options, given: Options, container_id: str, *, detach: bool, waits: bool, begin: Begin | None = None
) -> int:
    """A container from a bundle: a start, or by `begin` a restore, which may add to the configuration that is kept."""
    root, bundle_dir = state.root(options), os.path.abspath(given.get("bundle") or ".")
    config = bundle.read(bundle_dir, given.get("config", "config.json"))
    terminal = bool((config.get("process") or {}).get("terminal"))
    check_terminal(given, terminal=terminal, detach=detach)
    with ExitStack() as undo:
        directory = state.reserve(root, container_id)
        undo.callback(state.release, directory)
        fifo = os.path.join(directory, state.FIFO) if waits else ""
        request = bundle.request(container_id, bundle_dir, config, os.path.join(root, ".seccomp"), given, fifo)
        layout = detect()
        if not detach:
            request = _in_foreground(request, given, undo)
        stdio = None if terminal else (0, 1, 2)
        started = begin(request, config, layout) if begin else container.start(request, layout, stdio, Trace())
        undo.callback(_abandon, started, layout, request)
        for warning in started.warnings:
            from onggi.runc.logging import warn

            warn(warning, options)
        kept = _kept(request, bundle_dir, config, started)
        state.write(directory, kept)
        hand_out(given, started)
        if not waits and not begin:
            _after_start(kept, options)
        undo.pop_all()
    if detach:
        return 0
    from onggi.runc.foreground import stay

    return stay(root, kept, started, layout, options, keep=given.has("keep"))


def check_terminal(given: Options, *, terminal: bool, detach: bool) -> None:
    console = given.get("console-socket")
    if detach and terminal and not console:
        raise Invalid("run", "--detach", "cannot allocate tty if runc will detach without setting console socket")
    if console and not (detach and terminal):
        cause = "cannot use console socket if runc will not detach or allocate tty"
        raise Invalid("run", "--console-socket", cause)


def _in_foreground(request: Request, given: Options, undo: ExitStack) -> Request:
    """What who stays needs before the start: its orphans, its signals, the size of its terminal."""
    from onggi.runc.foreground import passed_on, with_size

    if not given.has("no-subreaper"):
        process.set_subreaper()
    undo.callback(signals.mask, signals.SET, signals.mask(signals.BLOCK, passed_on()))
    return replace(request, spec=replace(request.spec, process=with_size(request.spec.process)))


def _abandon(started: container.Started, layout: Layout, request: Request) -> None:
    """Something after the start went wrong: no container."""
    container.end(started.pid, started.pidfd, for_parent=False)
    container.remove_cgroup(layout, request.spec.cgroups_path)


def _kept(request: Request, bundle_dir: str, config: dict[str, Any], started: container.Started) -> dict[str, Any]:
    seconds, nanoseconds = divmod(started.at, 10**9)
    created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"
    spec = request.spec
    kept = state.document(request.id, started.pid, bundle_dir, config, spec.root, spec.cgroups_path, created)
    if not request.new_keyring:
        kept["new_keyring"] = False  # nor for those that enter later
    if not spec.process.terminal:
        kept["streams"] = [os.readlink(f"/proc/self/fd/{place}") for place in range(3)]  # as a restore must find them
    return {**kept, "fifo": request.fifo} if request.fifo else kept


def hand_out(given: Options, started: container.Started | Entered, kind: bytes = b"standard") -> None:
    """The terminal, the pidfd and the pid to whom the caller named."""
    if given.get("console-socket"):
        send_descriptor(given.get("console-socket"), b"/dev/ptmx", started.console)
    if given.get("pidfd-socket"):
        send_descriptor(given.get("pidfd-socket"), kind, started.pidfd)
    if given.get("pid-file"):
        write_pid(given.get("pid-file"), started.pid)


def send_descriptor(path: str, name: bytes, descriptor: int) -> None:
    """One descriptor, with its name, to whoever listens on a socket, as runc does it."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.connect(path)
        socket.send_fds(end, [name], [descriptor])


def write_pid(path: str, pid: int) -> None:
    """The pid in a file, whole or not at all."""
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(descriptor, str(pid).encode())
    finally:
        os.close(descriptor)
    os.rename(new, path)


def _after_start(kept: dict[str, Any], options: Options) -> None:
    """The poststart hooks; one that fails is the end of the container."""
    notes = state.run_hooks(kept, "poststart", "running")
    if notes:
        from onggi.runc.kill import end

        end(kept, detect())
        raise OnggiError("start container", kept["id"], "; ".join(notes))
