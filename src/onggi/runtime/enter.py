"""One more process in a container that runs: an entry becomes a process.

`start` builds the plan, clones the joiner, which carries it out, and hears of the process that the joiner gives birth to.
It needs no command line: a process with one thread, the container's pidfd and an entry will do. Callers: `runc/exec`. You
come from there; the plan is `entry`'s; the next door is `joins`.
"""

from __future__ import annotations

import os

from onggi.errors import KernelError, OnggiError
from onggi.kernel import process
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import Clone
from onggi.runtime import init, sync
from onggi.runtime.entry import Entry, Plan, build
from onggi.runtime.steps import Context, carry_out
from onggi.trace import Event, Trace
from onggi.unwinding import ExitStack
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.sockets import Socket


@dataclass(slots=True)
class Entered:
    """A process that runs: its pid on the host, its pidfd (owned), its terminal's master or -1 (owned)."""

    pid: int
    pidfd: int
    console: int
    plan: Plan
    times: list[int]
    """Begin and length of each step before the execve, in the plan's order."""
    warnings: list[str]

    def rows(self) -> list[list[Any]]:
        """The whole trace, with the plan's reasons."""
        pairs = zip(self.plan.in_order(), self.times[::2], self.times[1::2], strict=False)
        return [[who, step.describe(), began, lasted, "", step.why] for (who, step), began, lasted in pairs]


def start(
    entry: Entry,
    layout: Layout,
    container: int,
    stdio: tuple[int, int, int] | None,
    trace: Trace,
    *,
    for_parent: bool = False,
) -> Entered:
    """Carry out the plan; on failure there is no process, and it says why.

    `container` is a pidfd of the container's first process, borrowed; `stdio` None means a terminal. The process is our
    child, or our parent's with `for_parent`, who then also collects the joiner.
    """
    plan = build(entry)
    context = Context(trace, "joiner", layout, container=container)
    outcome = sync.Outcome()
    with ExitStack() as undo:
        ours, theirs = sync.pair()
        undo.callback(ours.close)
        pid, pidfd = _clone_joiner(entry, context, for_parent=for_parent)
        if pid == 0:
            ours.close()
            context.keeper = theirs
            _join(plan, entry, context, stdio)
        theirs.close()
        undo.callback(_end_process, outcome, for_parent=for_parent)
        undo.callback(process.kill, pid, pidfd, for_parent=for_parent)
        _lead(ours, outcome, entry)
        for who, step, started, lasted, error in outcome.trace:
            trace.saw(Event(who, step, started, lasted, error))
        sync.raise_failure(outcome)
        undo.pop_all()
    ours.close()
    process.kill(pid, pidfd, for_parent=for_parent)
    return Entered(outcome.pid, outcome.pidfd, outcome.console, plan, outcome.times, outcome.warnings)


def _lead(ours: Socket, outcome: sync.Outcome, entry: Entry) -> None:
    if sync.wait_born(ours, outcome):
        if entry.listener:
            from onggi.runtime import notify

            outcome.on_listener = notify.handler(entry.listener, outcome.pidfd, outcome.pid, entry.state)
        try:
            sync.send(ours, {"go": "born"})
        except OSError:
            outcome.executing = False  # it is gone already
        sync.wait_outcome(ours, outcome)


def _end_process(outcome: sync.Outcome, *, for_parent: bool) -> None:
    if outcome.pidfd >= 0:
        process.kill(outcome.pid, outcome.pidfd, for_parent=for_parent)
    if outcome.console >= 0:
        os.close(outcome.console)


def _clone_joiner(entry: Entry, context: Context, *, for_parent: bool) -> tuple[int, int]:
    """In the v2 group from birth on where that can be: the pid, 0 in the child; the pidfd."""
    group = _birthplace(entry)
    if group >= 0:
        try:
            context.born_inside = True
            return process.clone(Clone(0), group, for_parent=for_parent)
        except KernelError:  # no room in it for processes: the joiner will find where to go, or say why not
            context.born_inside = False
        finally:
            os.close(group)
    return process.clone(Clone(0), for_parent=for_parent)


def _birthplace(entry: Entry) -> int:
    """The v2 group's directory; -1 where there is none, or where something has to come before the group."""
    place = next(
        (item.directory for item in entry.groups if entry.unified and item.directory.startswith(entry.unified)), ""
    )
    if not place or entry.affinity("initial"):
        return -1
    try:
        return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1


def _join(plan: Plan, entry: Entry, context: Context, stdio: tuple[int, int, int] | None) -> None:
    """In the joiner, and from `Bear` on in the process: carry out the plan and execute; never returns."""
    assert context.keeper is not None
    keeper, trace = context.keeper, Trace()
    context.observer = trace
    context.environment = init.environment(entry.process.env)
    try:
        init.shut_imports()
        init.reset(stdio)
        carry_out(plan.join, context)
        context.who = "process"
        *first, last = plan.own
        carry_out(first, context)
        times = [number for event in trace.events for number in (event.started, event.lasted)]
        sync.tell(keeper, {"times": times, "warnings": context.warnings, "executing": True})
        trace.events.clear()
        carry_out((last,), context)
    except OnggiError as error:
        init.tell_failure(keeper, error, trace, context)
    except Exception as error:  # noqa: BLE001 - the last frame of this process: whatever it is must reach the keeper
        failure = OnggiError("start", context.who, f"{type(error).__name__}: {error}")
        init.tell_failure(keeper, failure, trace, context)
    os._exit(1)
