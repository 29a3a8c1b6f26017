"""The init: the forked child that carries out its part of the plan and becomes the container's first process.

It is a copy of the keeper in new namespaces. Before it touches the container's root it shuts imports off: from then on
a Python or shared library of the image could be found in place of ours. It never returns. You come from `container`; the
steps are the plan's; the next door is `kernel/syscall`.
"""

from __future__ import annotations

import os
import sys

from onggi.errors import OnggiError
from onggi.kernel import signals
from onggi.runtime import sync
from onggi.runtime.steps import Context, carry_out
from onggi.trace import Event, Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from onggi.kernel.sockets import Socket
    from onggi.runtime.plan import Plan
    from onggi.runtime.request import Request


def run(plan: Plan, request: Request, context: Context, stdio: tuple[int, int, int] | None) -> None:
    """Carry out the plan and execute; on failure tell the keeper and exit. `stdio` None means a terminal."""
    assert context.keeper is not None
    keeper, trace = context.keeper, Trace()
    context.who, context.observer = "init", trace
    context.environment = environment(request.spec.process.env)
    try:
        shut_imports()
        reset(stdio)
        _carry_out(plan, context, keeper, trace)
    except OnggiError as error:
        tell_failure(keeper, error, trace, context)
    except Exception as error:  # noqa: BLE001 - the last frame of this process: whatever it is must reach the keeper
        tell_failure(keeper, OnggiError("start", "init", f"{type(error).__name__}: {error}"), trace, context)
    os._exit(1)


def _carry_out(plan: Plan, context: Context, keeper: Socket, trace: Trace) -> None:
    if plan.mapping:
        context.handed = sync.wait_go(keeper, "mapped")
    carry_out(plan.inside, context)
    if context.sources:
        context.sources.close()
    if plan.hooks:
        sync.send(keeper, {"mounted": True})
    sync.wait_go(keeper, "ready")
    carry_out(plan.after, context)
    namespaces = _namespaces(context.proc)
    carry_out(plan.last, context)
    times = [number for event in trace.events for number in (event.started, event.lasted)]
    sync.tell(keeper, {"times": times, "warnings": context.warnings, "namespaces": namespaces, "executing": True})
    trace.events.clear()
    if context.fifo >= 0:
        keeper.close()  # it has no more to do with us
        context.keeper = None
    carry_out(plan.at_start, context)


NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def _namespaces(proc: int) -> dict[str, int]:
    """The numbers of our namespaces, for those who ask when we are long gone; none without a /proc of our own."""
    if proc < 0:
        return {}
    return {kind: os.stat(f"self/ns/{kind}", dir_fd=proc).st_ino for kind in NAMESPACES}


def environment(pairs: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE` each; of two with one name the last counts."""
    return dict(pair.partition("=")[::2] for pair in pairs)


def shut_imports() -> None:
    """An import after this raises ModuleNotFoundError, whatever the container's root holds."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()


def reset(stdio: tuple[int, int, int] | None) -> None:
    """Signals as a new process has them; the container's streams as 0, 1 and 2.

    The first process of a pid namespace gets only those that it has a handler for: what is to end it needs one. The execve
    puts the default in its place.
    """
    for number in signals.CAN_BE_DEFAULT:
        try:
            signals.handle(number, _end if number in signals.END_A_PROCESS else signals.DEFAULT)
        except (OSError, ValueError):  # the two that libc keeps for itself
            continue
    signals.mask(signals.SET, ())
    for place, descriptor in enumerate(stdio or ()):
        os.dup2(descriptor, place)


def _end(number: int, _frame: object) -> NoReturn:
    os._exit(128 + number)


def tell_failure(keeper: Socket, error: OnggiError, trace: Trace, context: Context) -> None:
    """To the keeper; when it is gone, because we were only created, to the container's own stderr."""
    if context.keeper is None:
        facts = error.facts
        words = f"exec {facts['command']}: {facts['reason']}" if facts.get("call") == "execve" else str(error)
        os.write(2, f"{words}\n".encode())
        os._exit(255)
    message = {"failed": error.to_fields(), "trace": rows(trace.events), "warnings": context.warnings}
    try:
        sync.tell(keeper, message)
    except OSError:
        os._exit(2)  # the keeper is gone; nobody is left to be told


def rows(events: list[Event]) -> list[list[Any]]:
    """Events as JSON rows: who, step, started, lasted, error."""
    return [[e.who, e.step, e.started, e.lasted, e.error] for e in events]
