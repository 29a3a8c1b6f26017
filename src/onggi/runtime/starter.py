"""The starter: does the work of one start for a keeper in waiting, and is gone.

Building and carrying out a plan makes a process large; a keeper lives as long as its container and is to stay small. So
a keeper in waiting forks a starter, which warms itself up, takes a request from the engine's socket, and starts the
container as the keeper's child, not its own (CLONE_PARENT). Then it hands over what the keeper needs:

    launcher ──fork──► keeper ──fork──► starter ──clone3(CLONE_PARENT)──► init, child of the keeper
                          ◄── handover: facts (JSON) + [pidfd, control socket, log, output(s), input, streams…] ──
                          ◄── end of file without a handover: there was no start, or it failed

You come from `launch`; the next doors are `container` and `keeper`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from typing import Any, NoReturn

from onggi.errors import OnggiError
from onggi.kernel import process
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import Clone
from onggi.runtime import container, sync
from onggi.runtime.init import rows
from onggi.runtime.log import open_log
from onggi.runtime.mapped import host_root
from onggi.runtime.request import Request
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
        request = container.read_request(memory)
        log, log_start = open_log(request.log, request.run_dir)
        started, ours = _start_container(request, layout, trace, network)
        facts = _facts(request, started, log_start)
        try:
            control.send(json.dumps({"started": facts["state"]}).encode(), socket.MSG_NOSIGNAL)
            passed = [started.pidfd, control.fileno(), log, *ours, *streams]
            socket.send_fds(keeper, [json.dumps(facts).encode()], passed)
        except OSError:
            _abandon(request, started, layout)
            raise
        _give_way(taken)
        say(control, {"trace": started.rows(trace)})
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


def _start_container(
    request: Request, layout: Layout, trace: Trace, network: int
) -> tuple[container.Started, list[int]]:
    """The container, and our ends of its streams: outputs first, then the input if it has one."""
    if request.spec.process.terminal:
        started = container.start(request, layout, None, trace, network, for_parent=True)
        return started, [started.console]
    stdio, ours = _pipes(request)
    return container.start(request, layout, stdio, trace, network, for_parent=True), ours


def _pipes(request: Request) -> tuple[tuple[int, int, int], list[int]]:
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    err_r, err_w = os.pipe2(os.O_CLOEXEC)
    ours = [out_r, err_r]
    if request.open_stdin:
        in_r, in_w = os.pipe2(os.O_CLOEXEC)
        ours.append(in_w)
    else:
        in_r = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    if request.spec.uid_mappings:  # so that root inside may open /dev/stdout again
        root = host_root(request.spec.uid_mappings)
        for descriptor in (in_r, out_w, err_w) if request.open_stdin else (out_w, err_w):
            os.fchown(descriptor, root, -1)
    if request.user is not None or request.spec.process.uid:
        for descriptor in (out_w, err_w):  # a program that is not root may open /dev/stdout again
            os.fchmod(descriptor, 0o622)
    return (in_r, out_w, err_w), ours


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
