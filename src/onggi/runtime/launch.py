"""The launcher: a warm interpreter that only forks; and the start of one container, from request to running process.

The engine execs it once, `python -I -S`. It takes a mount namespace of its own in which the interpreter's file is a
read-only mount, and execs itself from there: a container that opens /proc/PID/exe for writing gets EROFS
(CVE-2019-5736). Then it imports nothing more, freezes its heap, and waits for requests. For each it forks a keeper.

    engine ──"start" + [request memfd, control socket, attach streams…]──► launcher ──fork──► keeper ──clone3──► init

You come from `engine/launcher`; the next doors are `sync`, `keeper` and `init`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

from onggi.errors import OnggiError, StartFailed
from onggi.kernel import mount, process
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import Clone, MountAttr, Ms
from onggi.runtime import init, sync
from onggi.runtime.plan import Plan, build
from onggi.runtime.request import Request, from_json
from onggi.runtime.steps import Context, carry_out, failed
from onggi.trace import Event, Trace

MOST_DESCRIPTORS = 64
_READY = b"ready"


def main() -> NoReturn:
    """`launch SOCKET STAGE`: the launcher's life. It ends when the engine's end of the socket closes."""
    number, stage = int(sys.argv[1]), sys.argv[2]
    if stage == "enclose":
        _enclose()
        os.set_inheritable(number, True)
        code = f"import sys; sys.path.insert(0, {sys.path[0]!r}); from onggi.runtime.launch import main; main()"
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code, str(number), "serve"])
    serve(socket.socket(fileno=number))


def _enclose() -> None:
    process.unshare(Clone.NEWNS)
    mount.set_propagation("/", Ms.SLAVE | Ms.REC)
    interpreter = os.path.realpath(sys.executable)
    tree = mount.clone_tree(interpreter, recursive=False)
    mount.set_attributes(tree, MountAttr.RDONLY)
    spot = mount.open_path(interpreter)
    mount.attach(tree, spot)
    os.close(spot)
    os.close(tree)


def serve(engine: socket.socket) -> NoReturn:
    """Fork a keeper for each request until the engine goes away."""
    from onggi.runtime.keeper import keep  # here, so that `onggi-oci` can use this module without a keeper

    process.set_name("onggi-launcher")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps keepers; each keeps its container's status itself
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    layout = detect()
    gc.collect()
    gc.freeze()
    gc.disable()
    engine.send(_READY)
    while True:
        data, descriptors, _, _ = socket.recv_fds(engine, 4096, MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            engine.close()
            keep(descriptors[0], socket.socket(fileno=descriptors[1]), descriptors[2:], layout)
        for descriptor in descriptors:
            os.close(descriptor)


def read_request(memory: int) -> Request:
    """The request in a memory file."""
    size = os.fstat(memory).st_size
    return from_json(json.loads(os.pread(memory, size, 0)))


@dataclass(slots=True)
class Started:
    """A container that runs: its pid on the host, the pidfd (owned), the terminal's master or -1 (owned), the trace."""

    pid: int
    pidfd: int
    console: int
    trace: list[list[Any]]
    warnings: list[str]
    at: int
    """Nanoseconds since 1970."""


def start(request: Request, layout: Layout, stdio: tuple[int, int, int] | None, trace: Trace) -> Started:
    """Carry out the plan up to the container's first instruction; on failure nothing is left and it says why."""
    plan = build(request, layout)
    context = Context(trace, "keeper", layout)
    with ExitStack() as undo:
        undo.callback(_remove_cgroup, layout, request.spec.cgroups_path)
        carry_out(plan.before, context)
        ours, theirs = sync.pair()
        undo.callback(ours.close)
        born_inside, pid, pidfd = _clone(plan, request, layout, trace)
        if pid == 0:
            ours.close()
            context.born_inside = born_inside
            context.keeper = theirs
            init.run(plan, request, context, stdio)
        undo.callback(_end, pid, pidfd)
        theirs.close()
        context.child = pid
        outcome = _lead(plan, context, ours)
        trace_rows = [*init.rows(trace.events), *outcome.trace]
        if outcome.failure or not outcome.executing:
            _write_failed_trace(trace, outcome)
        sync.raise_failure(outcome)
        ours.close()
        undo.pop_all()
    warnings = [*plan.warnings, *context.warnings, *outcome.warnings]
    return Started(pid, pidfd, outcome.console, trace_rows, warnings, time.time_ns())


def _clone(plan: Plan, request: Request, layout: Layout, trace: Trace) -> tuple[bool, int, int]:
    """clone3(2) with the plan's flags, into the v2 group where there is one: was it, the pid (0 in the child), the pidfd."""
    started = time.monotonic_ns()
    group = layout.clone_target(request.spec.cgroups_path) if request.spec.cgroups_path else None
    try:
        pid, pidfd = process.clone(plan.clone.flags, group.fileno() if group else -1)
    except OSError as error:
        raise failed(plan.clone, error) from error
    if pid:
        trace.saw(Event("keeper", plan.clone.describe(), started, time.monotonic_ns() - started))
    if group:
        group.close()
    return group is not None, pid, pidfd


def _lead(plan: Plan, context: Context, ours: socket.socket) -> sync.Outcome:
    """The keeper's side of the protocol. When the init is gone early, its own failure is the one that counts."""
    failure: StartFailed | None = None
    try:
        if plan.mapping:
            carry_out(plan.mapping, context)
            sync.send(ours, {"go": "mapped"})
        carry_out(plan.beside, context)
        sync.send(ours, {"go": "ready"})
    except StartFailed as error:
        failure = error
        ours.shutdown(socket.SHUT_WR)
    except BrokenPipeError:
        failure = None
    outcome = sync.wait_outcome(ours)
    if failure and not outcome.failure:
        raise failure
    return outcome


def _write_failed_trace(trace: Trace, outcome: sync.Outcome) -> None:
    for who, step, started, lasted, error in outcome.trace:
        trace.saw(Event(who, step, started, lasted, error))


def _end(pid: int, pidfd: int) -> None:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)


def _remove_cgroup(layout: Layout, path: str) -> None:
    if path:
        try:
            layout.kill(path)
            layout.remove(path)
        except OnggiError as error:
            sys.stderr.write(f"{error}\n")


if __name__ == "__main__":
    main()
