"""The starter: does the work of one start for a keeper in waiting, and is gone.

Building and carrying out a plan makes a process large; a keeper lives as long as its container and is to stay small. So
a keeper in waiting forks a starter, which warms itself up, takes a request from the engine's socket, and starts the
container as the keeper's child, not its own (CLONE_PARENT). Then it hands over what the keeper needs:

    launcher ──fork──► keeper ──fork──► starter ──clone3(CLONE_PARENT)──► init, child of the keeper
                          ◄── handover: facts (JSON) + [pidfd, control socket, log, output(s), input, streams…] ──
                          ◄── end of file without a handover: there was no start, or it failed

A request for one more process in a container (`exec`) goes the same way: `entrance`. You come from `launch`; the next doors
are `container` and `keeper`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from typing import Any, NoReturn

from onggi import documents
from onggi.errors import OnggiError
from onggi.kernel import process
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import Clone
from onggi.runtime import container, entrance, sync
from onggi.runtime.handover import Made, pipes
from onggi.runtime.init import rows
from onggi.runtime.log import open_log
from onggi.runtime.request import Request, from_json
from onggi.trace import Trace

MOST_DESCRIPTORS = 200
"""That one message may carry (the kernel's limit is 253): a request's own two, and the streams of who waits."""


def start_one(engine: socket.socket, taken: int, keeper: socket.socket, layout: Layout) -> NoReturn:
    """The starter's life: wait for a request, start, hand over, tell the launcher.

    The launcher hears of it last: to make the next keeper is work that would take the processor from this start.
    """
    process.set_name("onggi-starter")
    process.set_death_signal(signal.SIGKILL)  # without its keeper it must take no request
    container.warm_up(layout)
    entrance.warm_up(layout)
    network = container.make_network_ahead()
    data, descriptors = sync.receive(engine, 4096, MOST_DESCRIPTORS)
    if not data:
        os._exit(0)
    engine.close()
    memory, control, *streams = descriptors
    try:
        _start(memory, socket.socket(fileno=control), streams, keeper, layout, network, taken)
    finally:
        _tell_taken(taken)  # also when it failed, and had no word for the launcher yet
        os._exit(0)


def _start(
    memory: int,
    control: socket.socket,
    streams: list[int],
    keeper: socket.socket,
    layout: Layout,
    network: int,
    taken: int,
) -> None:
    trace = Trace()
    try:
        document = documents.loads(os.pread(memory, os.fstat(memory).st_size, 0))
        made = (
            entrance.make(document, layout, trace) if "entry" in document else _make(document, layout, trace, network)
        )
        try:
            control.send(json.dumps({"started": made.facts["state"]}).encode(), socket.MSG_NOSIGNAL)
            passed = [made.pidfd, control.fileno(), *made.descriptors, *streams]
            socket.send_fds(keeper, [json.dumps(made.facts).encode()], passed)
        except OSError:
            made.abandon()
            raise
        _give_way(taken)
        say(control, {"trace": made.rows()})
    except OnggiError as error:
        say(control, {"failed": error.to_fields(), "trace": rows(trace.events)})
    except Exception as error:  # noqa: BLE001 - the last frame of this process: whatever it is must reach the engine
        failure = OnggiError("start", "container", f"{type(error).__name__}: {error}")
        say(control, {"failed": failure.to_fields(), "trace": rows(trace.events)})


def _tell_taken(taken: int) -> None:
    with contextlib.suppress(OSError):  # it knows already, or is gone: then the engine will start another
        os.write(taken, b"+")


def _give_way(taken: int) -> None:
    """The container runs: what is left to do is for whom has a processor to spare."""
    _tell_taken(taken)
    with contextlib.suppress(OSError):  # where it may not be chosen the trace is told at once
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _abandon(request: Request, started: container.Started, layout: Layout) -> None:
    """Engine or keeper died while we started: nobody will ever know of this container, so there must be none."""
    signal.pidfd_send_signal(started.pidfd, signal.SIGKILL)
    path = request.spec.cgroups_path
    if path:
        layout.kill(path)
        layout.remove(path)


def say(control: socket.socket, message: dict[str, Any]) -> None:
    """One message to the engine, which may be gone: then nobody asks."""
    with contextlib.suppress(OSError):
        control.send(json.dumps(message).encode(), socket.MSG_NOSIGNAL)


def _make(document: dict[str, Any], layout: Layout, trace: Trace, network: int) -> Made:
    """The container."""
    request = from_json(document)
    log, log_start = open_log(request.log, request.run_dir)
    if request.spec.process.terminal:
        started = container.start(request, layout, None, trace, network, for_parent=True)
        ours = [started.console]
    else:
        stdio, ours = pipes(
            open_stdin=request.open_stdin,
            id_maps=request.spec.uid_mappings,
            for_others=request.user is not None or bool(request.spec.process.uid),
        )
        started = container.start(request, layout, stdio, trace, network, for_parent=True)
    return Made(
        _facts(request, started, log_start),
        started.pidfd,
        [log, *ours],
        lambda: started.rows(trace),
        lambda: _abandon(request, started, layout),
    )


def _facts(request: Request, started: container.Started, log_start: int) -> dict[str, Any]:
    return {
        "run_dir": request.run_dir,
        "cgroup": request.spec.cgroups_path,
        "own_processes": bool(started.plan.clone.flags & Clone.NEWPID),
        "terminal": request.spec.process.terminal,
        "keeps_log": bool(request.log),
        "log_start": log_start,
        "stdin_once": request.stdin_once,
        "streams": [[stream.stdin, stream.stdout, stream.stderr] for stream in request.streams],
        "state": {
            "id": request.id,
            "pid": started.pid,
            "keeper": os.getppid(),
            "started_at": started.at,
            "namespaces": started.namespaces,
            "warnings": started.warnings,
        },
    }
