"""The launcher: a warm interpreter that only forks; and the start of one container, from request to running process.

The engine execs it once, `python -I -S`. It takes a mount namespace of its own in which the interpreter's file is a
read-only mount, and execs itself from there: a container that opens /proc/PID/exe for writing gets EROFS
(CVE-2019-5736). Then it imports nothing more, freezes its heap, and keeps a few keepers waiting. All of them read the engine's
socket; the kernel gives each request to one.

    launcher ──fork──► keepers in waiting: each runs through a plan once, so that its memory is its own and warm
    engine ──"start" + [request memfd, control socket, attach streams…]──► one of them ──clone3──► init
                                                                            └─ a byte to the launcher: fork the next

You come from `engine/launcher`; the next doors are `sync`, `keeper` and `init`.
"""

from __future__ import annotations

import gc
import json
import os
import select
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
_WAITING = 3
"""Keepers in waiting: a burst takes them at once, the next ones follow as fast as a fork."""


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
    """Keep keepers in waiting until the engine goes away."""
    from onggi.runtime.keeper import await_request  # here, so that `onggi-oci` can use this module without a keeper

    process.set_name("onggi-launcher")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps keepers; each keeps its container's status itself
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    layout = detect()
    warm_up(layout)
    gc.collect()
    gc.freeze()
    gc.disable()
    taken_r, taken_w = os.pipe2(os.O_CLOEXEC)
    for _ in range(_WAITING):
        if os.fork() == 0:
            os.close(taken_r)
            await_request(engine, taken_w, layout)
    engine.send(_READY)
    poll = select.poll()
    poll.register(taken_r, select.POLLIN)
    poll.register(engine, select.POLLRDHUP)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != taken_r:
                os._exit(0)  # the engine is gone; the keepers in waiting see it too
            for _ in os.read(taken_r, 64):
                if os.fork() == 0:
                    os.close(taken_r)
                    await_request(engine, taken_w, layout)


def warm_up(layout: Layout) -> None:
    """Go through what a start goes through, short of acting: a forked process pays for each page that it first writes."""
    request = from_json(_SAMPLE)
    for _, step in build(request, layout).in_order():
        step.describe()
    json.dumps(json.loads(json.dumps(_SAMPLE)))


_SAMPLE: dict[str, Any] = {
    "id": "0" * 64,
    "config": {
        "process": {"args": ["true"], "env": ["PATH=/bin"], "capabilities": {"bounding": ["CAP_CHOWN"]}},
        "hostname": "sample",
        "mounts": [
            {"destination": "/proc", "type": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"]},
            {"destination": "/etc/hosts", "type": "bind", "source": "/etc/hosts", "options": ["rbind", "rprivate"]},
        ],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"}],
            "cgroupsPath": "/sample",
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    },
    "run_dir": "/nonexistent",
    "rootfs": "/nonexistent",
    "overlay": {"lowers": ["/nonexistent"], "upper": "/nonexistent", "work": "/nonexistent"},
}


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
    plan: Plan
    times: list[int]
    """Begin and length of each of the init's steps but the last, in the plan's order."""
    namespaces: dict[str, int]
    warnings: list[str]
    at: int
    """Nanoseconds since 1970."""

    def rows(self, keepers: Trace) -> list[list[Any]]:
        """The whole trace: the keeper's own events, and the init's."""
        steps = (*self.plan.inside, *self.plan.after)
        pairs = zip(steps, self.times[::2], self.times[1::2], strict=False)
        return [*init.rows(keepers.events), *(["init", s.describe(), began, lasted, ""] for s, began, lasted in pairs)]


def make_network_ahead() -> int:
    """A descriptor of a new, empty network namespace; -1 where there cannot be one. We stay in our own."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.unshare(Clone.NEWNET)
        made = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        process.setns(home, Clone.NEWNET)
    except OSError:  # a limit of namespaces, or no right to them: the container's own start will say which
        return -1
    finally:
        os.close(home)
    return made


def start(
    request: Request, layout: Layout, stdio: tuple[int, int, int] | None, trace: Trace, network_ahead: int = -1
) -> Started:
    """Carry out the plan up to the container's first instruction; on failure nothing is left and it says why.

    `network_ahead` is a namespace from `make_network_ahead`, borrowed, or -1.
    """
    plan = build(request, layout, network_ahead=network_ahead >= 0)
    context = Context(trace, "keeper", layout)
    if not plan.clone.flags & Clone.NEWNET:
        context.network = network_ahead
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
        if outcome.failure or not outcome.executing:
            _write_failed_trace(trace, outcome)
        sync.raise_failure(outcome)
        ours.close()
        undo.pop_all()
    warnings = [*plan.warnings, *context.warnings, *outcome.warnings]
    return Started(pid, pidfd, outcome.console, plan, outcome.times, outcome.namespaces, warnings, time.time_ns())


def _clone(plan: Plan, request: Request, layout: Layout, trace: Trace) -> tuple[bool, int, int]:
    """clone3(2) with the plan's flags, into the v2 group where there is one: was it, the pid (0 in the child), the pidfd."""
    started = time.monotonic_ns()
    group = layout.clone_target(request.spec.cgroups_path) if request.spec.cgroups_path else None
    try:
        pid, pidfd = process.clone(plan.clone.flags, group.fileno() if group else -1)
    except OSError as error:
        raise failed(plan.clone, error) from error
    if pid:
        trace.saw(Event("keeper", plan.clone, started, time.monotonic_ns() - started))
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
