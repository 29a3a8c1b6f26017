"""The start of one container: from a request to a running process.

`start` builds the plan, carries out the keeper's part, clones the init and leads it through the rest. Callers: `starter`
and `main` (`onggi-oci`), each a process with one thread. You come from there; the next doors are `sync` and `init`.
"""

from __future__ import annotations

import os
import sys
import time

from onggi import documents
from onggi.errors import OnggiError, StartFailed
from onggi.kernel import capability, process, signals, sockets
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import Clone
from onggi.kernel.sockets import SHUT_WR, Socket
from onggi.runtime import init, sync
from onggi.runtime.plan import Plan, build
from onggi.runtime.request import Request, from_json
from onggi.runtime.steps import Context, carry_out, failed
from onggi.trace import Event, Trace
from onggi.unwinding import ExitStack, suppress
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


@dataclass(slots=True)
class Started:
    """A container that runs: its pid on the host, the pidfd (owned), the terminal's master or -1 (owned), the trace."""

    pid: int
    pidfd: int
    console: int
    plan: Plan
    times: list[int]
    """Begin and length of each of the init's steps before `at_start`, in the plan's order."""
    namespaces: dict[str, int]
    warnings: list[str]
    at: int
    """Nanoseconds since 1970."""

    def rows(self, keepers: Trace) -> list[list[Any]]:
        """The whole trace: the keeper's own events, and the init's, each with the plan's reason."""
        why = {step.describe(): step.why for _, step in self.plan.in_order()}
        steps = (*self.plan.inside, *self.plan.after, *self.plan.last)
        pairs = zip(steps, self.times[::2], self.times[1::2], strict=False)
        done = [*init.rows(keepers.events), *(["init", s.describe(), began, lasted, ""] for s, began, lasted in pairs)]
        return [[*row, why.get(row[1], "")] for row in done]


def make_network_ahead() -> int:
    """A descriptor of a new network namespace with its loopback up; -1 where there cannot be one. We stay in ours."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.unshare(Clone.NEWNET)
        sockets.loopback_up()
        made = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        process.setns(home, Clone.NEWNET)
    except OSError:  # a limit of namespaces, or no right to them: the container's own start will say which
        return -1
    finally:
        os.close(home)
    return made


def start(
    request: Request,
    layout: Layout,
    stdio: tuple[int, int, int] | None,
    trace: Trace,
    network_ahead: int = -1,
    *,
    for_parent: bool = False,
    born: Callable[[int], None] | None = None,
) -> Started:
    """Carry out the plan up to the container's first instruction; on failure nothing is left and it says why.

    `born` is told the init's pid before any program of the container, or a hook, runs.
    `network_ahead` is a namespace from `make_network_ahead`, borrowed, or -1. With `for_parent` the container is our
    parent's child (CLONE_PARENT), who collects it.
    """
    plan = build(request, layout, network_ahead=network_ahead >= 0)
    context = Context(trace, "keeper", layout)
    if not plan.clone.flags & Clone.NEWNET:
        context.network = network_ahead
    with ExitStack() as undo:
        undo.callback(undo_cgroup, context, request.spec.cgroups_path)
        carry_out(plan.before, context)
        ours, theirs = sync.pair()
        undo.callback(ours.close)
        born_inside, pid, pidfd = _clone(plan, request, context, for_parent=for_parent)
        if pid == 0:
            ours.close()
            context.born_inside = born_inside
            context.keeper = theirs
            init.run(plan, request, context, stdio)
        undo.callback(process.kill, pid, pidfd, for_parent=for_parent)
        theirs.close()
        context.child = pid
        if born:
            born(pid)
        outcome = sync.Outcome(on_listener=_listener(request, pid, pidfd))
        _lead(plan, context, ours, outcome)
        if outcome.failure or not outcome.executing:
            _write_failed_trace(trace, outcome)
        sync.raise_failure(outcome)
        ours.close()
        undo.pop_all()
    warnings = [*plan.warnings, *context.warnings, *outcome.warnings]
    return Started(pid, pidfd, outcome.console, plan, outcome.times, outcome.namespaces, warnings, time.time_ns())


def _clone(plan: Plan, request: Request, context: Context, *, for_parent: bool) -> tuple[bool, int, int]:
    """clone3(2) with the plan's flags, into the v2 group where there is one: was it, the pid (0 in the child), the pidfd."""
    started = time.monotonic_ns()
    if plan.stage:
        from onggi.runtime import stage

        return False, *stage.clone(plan.stage, plan.clone, context)
    group = context.layout.clone_target(request.spec.cgroups_path) if request.spec.cgroups_path else None
    try:
        pid, pidfd = process.clone(plan.clone.flags, group.fileno() if group else -1, for_parent=for_parent)
        if pid and context.own_pid_namespace >= 0:
            process.setns(context.own_pid_namespace, Clone.NEWPID)
    except OSError as error:
        raise failed(plan.clone, error) from error
    if pid:
        context.observer.saw(Event("keeper", plan.clone, started, time.monotonic_ns() - started))
    if group:
        group.close()
    return group is not None, pid, pidfd


def _listener(request: Request, pid: int, pidfd: int) -> Callable[[int], None] | None:
    """What to do with the listener of the init's filter, if it is to have one."""
    if not request.listener:
        return None
    from onggi.runtime import hooks, notify

    state = hooks.State(request.spec.version, request.id, request.bundle, hooks.texts(request.spec.annotations))
    return notify.handler(request.listener, pidfd, pid, state.document("creating", pid))


def _lead(plan: Plan, context: Context, ours: Socket, outcome: sync.Outcome) -> None:
    """The keeper's side of the protocol. When the init is gone early, its own failure is the one that counts."""
    failure: StartFailed | None = None
    try:
        if plan.mapping:
            carry_out(plan.mapping, context)
            sync.hand_over(ours, context.handed)
            sync.send(ours, {"go": "mapped"})
        carry_out(plan.beside, context)
        if plan.hooks and sync.wait_mounted(ours, outcome):
            carry_out(plan.hooks, context)
        sync.send(ours, {"go": "ready"})
    except StartFailed as error:
        failure = error
        ours.shutdown(SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):  # the init is gone, and what it said is still to be read
        failure = None
    sync.wait_outcome(ours, outcome)
    _end_helper(context)
    if failure and not outcome.failure:
        raise failure


def _end_helper(context: Context) -> None:
    """Who opened files for the init has nothing more to do; what became of it no longer matters."""
    if context.helper < 0:
        return
    with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored the kernel collects it
        signals.send_to_pidfd(context.helper, signals.KILL)
        os.waitid(os.P_PIDFD, context.helper, os.WEXITED)
    os.close(context.helper)


def _write_failed_trace(trace: Trace, outcome: sync.Outcome) -> None:
    for who, step, started, lasted, error in outcome.trace:
        trace.saw(Event(who, step, started, lasted, error))


def undo_cgroup(context: Context, path: str) -> None:
    """As `remove_cgroup`, if there is a group by now; what was there before us stays."""
    if context.group is not None:
        _clear(path, context.layout, context.group)


def remove_cgroup(layout: Layout, path: str) -> None:
    """Kill whoever is in the group and remove it; what hinders that is told, and does not hide the first failure."""
    if path:
        _clear(path, layout)


def _clear(path: str, layout: Layout, made: tuple[str, ...] | None = None) -> None:
    try:
        layout.kill(path)
        if made is not None:
            layout.discard(made)
        else:
            layout.remove(path)
    except OnggiError as error:
        sys.stderr.write(f"{error}\n")


def warm_up(layout: Layout) -> None:
    """Go through what a start goes through, short of acting: a forked process pays for each page that it first writes."""
    capability.count()
    request = from_json(_SAMPLE)
    for _, step in build(request, layout).in_order():
        step.describe()
    documents.dumps(documents.loads(documents.dumps(_SAMPLE)))


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
