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

from onggi.errors import Conflict, OnggiError
from onggi.kernel import process, signals
from onggi.runc import bundle, groups, outlets, state
from onggi.runtime import container, init
from onggi.trace import Trace
from onggi.unwinding import ExitStack
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.ready import Ready
    from onggi.runc.words import Options
    from onggi.runtime.request import Request

    Begin: TypeAlias = Callable[[Request, Layout, Trace, dict[str, Any]], container.Started]


def create(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci create ID`."""
    return make(options, given, container_id, detach=True, waits=True)


def run(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci run ID`; in the foreground the exit status is the program's."""
    return make(options, given, container_id, detach=given.has("detach"), waits=False)


def start(options: Options, _given: Options, container_id: str) -> int:
    """`onggi-oci start ID`."""
    root = state.root(options)
    kept = state.read(root, container_id)
    layout = state.layout_of(kept)
    now = state.status(kept, layout)
    if now != "created":
        raise Conflict("start container", container_id, _NOT_CREATED.get(now, f"it is in the {now} state"))
    ready = _ready_socket(kept["directory"])
    try:
        fifo = os.open(kept["fifo"], os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.unlink(kept["fifo"])  # of two starts at once one does it
    except OSError as error:
        ended = error.errno == errno.ENXIO
        raise Conflict("start container", container_id, _NOT_CREATED["stopped" if ended else "running"]) from error
    os.write(fifo, b"0")
    os.close(fifo)
    notes = state.run_hooks(kept, "poststart", "running")
    if notes:
        from onggi.runc import kill

        kill.end(kept, layout)
        _warn(kill.destroy(root, kept, layout), options)
        raise OnggiError("start container", container_id, "; ".join(notes))
    if ready:
        ready.wait(kept["pid"])
    return 0


def _ready_socket(directory: str) -> Ready | None:
    """Where a container says that it is ready, if our caller wants to know."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return None
    from onggi.runc.ready import Ready

    return Ready(directory, os.environ["NOTIFY_SOCKET"])


_NOT_CREATED = {
    "stopped": "cannot start a container that has stopped",
    "running": "cannot start an already running container",
    "paused": "cannot start a container in the paused state",
}


def make(
    options: Options, given: Options, container_id: str, *, detach: bool, waits: bool, begin: Begin | None = None
) -> int:
    """A container from a bundle: by a start, or by `begin`, which restores one."""
    root, bundle_dir = state.root(options), os.path.abspath(given.get("bundle") or ".")
    inherited = _inherited(3 + given.number("preserve-fds")) if waits else ()
    config = bundle.read(bundle_dir, given.get("config", "config.json"))
    terminal = bool((config.get("process") or {}).get("terminal"))
    outlets.check_terminal(given, terminal=terminal, detach=detach)
    with ExitStack() as undo:
        directory = state.reserve(root, container_id)
        undo.callback(state.release, directory)
        fifo = os.path.join(directory, state.FIFO) if waits else ""
        layout, group = groups.of_config(config, container_id, options)
        request = bundle.request(container_id, bundle_dir, config, os.path.join(root, ".seccomp"), given, fifo, group)
        request = _with_callers(replace(request, inherited=inherited), directory)
        trace, kept = Trace(), _kept(request, directory, config, layout)
        state.write(
            {**kept, "cgroup": ""} if layout.exists(group) else kept
        )  # what is there is not ours to remove, yet
        undo.callback(_stopped, kept, options)
        undo.callback(state.leave_class, kept)
        if not detach:
            request = _in_foreground(request, given, undo)
        if request.seccomp and options.has("debug"):
            from onggi.runc.logging import debug

            debug(f"seccomp filter flags: {request.seccomp_flags}", options)
        ready = None if waits else _ready_socket(directory)
        sockets = outlets.connect(given, undo)
        try:
            streams = None if terminal else (0, 1, 2)
            if begin:
                started = begin(request, layout, trace, kept)
            else:
                started = container.start(request, layout, streams, trace, born=lambda pid: state.born(kept, pid))
        except OnggiError:
            _tell_debug(options, init.rows(trace.events))
            raise
        undo.callback(_abandon, started, layout, request)
        if options.has("debug"):
            _tell_debug(options, started.rows(trace))
        _warn(started.warnings, options)
        outlets.hand_out(given, sockets, started)
        state.made(directory)
        notes = [] if waits or begin else state.run_hooks(kept, "poststart", "running")
        if notes:
            raise OnggiError("start container", container_id, "; ".join(notes))
        undo.pop_all()
    if not detach:
        from onggi.runc.foreground import stay

        return stay(root, kept, started, layout, options, ready, keep=given.has("keep"))
    if ready:
        ready.wait(started.pid)
    return 0


def _inherited(first: int) -> tuple[int, ...]:
    """Descriptors from `first` on that are none of the container's: what waits for its start must not keep them open."""
    numbers = (int(name) for name in os.listdir("/proc/self/fd"))
    return tuple(number for number in numbers if number >= first and _is_open(number))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:  # the one that the list was read with
        return False
    return True


def _with_callers(request: Request, directory: str) -> Request:
    """What the caller's environment gives to the container: sockets to listen on (LISTEN_FDS), one to say when it is ready."""
    listening = os.environ.get("LISTEN_FDS", "")
    if listening.isdigit() and os.environ.get("LISTEN_PID", str(os.getpid())) == str(os.getpid()):
        process = request.spec.process
        process = replace(process, env=(*process.env, f"LISTEN_FDS={listening}", "LISTEN_PID=1"))
        spec = replace(request.spec, process=process)
        request = replace(request, spec=spec, kept_fds=request.kept_fds + int(listening))
    if os.environ.get("NOTIFY_SOCKET"):
        from onggi.runc.ready import with_socket

        request = with_socket(request, directory)
    return request


def _stopped(kept: dict[str, Any], options: Options) -> None:
    """What was made failed on the way: it is stopped, and what a hook of its set up another may have to take down."""
    _warn(state.run_hooks(kept, "poststop", "stopped"), options)


def _warn(notes: list[str], options: Options) -> None:
    for note in notes:
        from onggi.runc.logging import warn

        warn(note, options)


def _tell_debug(options: Options, rows: list[list[Any]]) -> None:
    """With `--debug`: what was done, step by step."""
    if options.has("debug"):
        from onggi.runc.logging import tell

        tell(rows, options)


def _in_foreground(request: Request, given: Options, undo: ExitStack) -> Request:
    """What who stays needs before the start: its orphans, its signals, the size of its terminal."""
    from onggi.runc.foreground import passed_on, with_size

    if not given.has("no-subreaper"):
        process.set_subreaper()
    undo.callback(signals.mask, signals.SET, signals.mask(signals.BLOCK, passed_on()))
    spec = replace(request.spec, process=with_size(request.spec.process))
    return replace(request, spec=spec, terminal_relayed=True)


def _abandon(started: container.Started, layout: Layout, request: Request) -> None:
    """Something after the start went wrong: no container."""
    process.kill(started.pid, started.pidfd, for_parent=False)
    container.remove_cgroup(layout, request.spec.cgroups_path)


def _kept(request: Request, directory: str, config: dict[str, Any], layout: Layout) -> dict[str, Any]:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"
    spec = request.spec
    kept = state.document(directory, request.bundle, config, spec.root, spec.cgroups_path, created, layout)
    if not request.new_keyring:
        kept["new_keyring"] = False  # nor for those that enter later
    if request.service_class:
        from onggi.runc import rdt

        kept["resctrl"] = rdt.kept(config["linux"]["intelRdt"], request.service_class)
    return {**kept, "fifo": request.fifo} if request.fifo else kept
