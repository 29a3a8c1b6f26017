"""The launcher: a warm interpreter that only forks.

The engine execs it once, `python -I -S`. It takes a mount namespace of its own in which the interpreter's file is a
read-only mount, and execs itself from there: a container that opens /proc/PID/exe for writing gets EROFS
(CVE-2019-5736). Then it imports nothing more, freezes its heap, and keeps a few keepers waiting, each with a
starter that reads the engine's socket; the kernel gives each request to one.

    launcher ──fork──► keepers in waiting, small ──fork──► starters, warm: each ran through a plan once
    engine ──"start" + [request memfd, control socket, attach streams…]──► one starter ──clone3──► init
                                                                            └─ a byte to the launcher: fork the next

You come from `engine/launcher`; the next doors are `starter` and `keeper`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from onggi.kernel import process
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.layout import Layout
from onggi.runtime import (
    borrowed,
    entrance,
    filters,
    hooks,
    keeper,
    limits,
    links,
    mapped,
    sources,
    sysctls,
    terminal,
)
from onggi.runtime.container import warm_up
from onggi.runtime.enclosure import enclose

_LOADED_AHEAD = (borrowed, filters, hooks, limits, links, mapped, sources, sysctls, terminal)
"""What a plan imports when it needs it: here it is there before the fork."""
_READY = b"ready"
_REHEARSALS = 10
"""The interpreter specializes its code as it runs; what it has learnt before a fork, no child learns again."""
_WAITING = 3
"""Keepers in waiting: a burst takes them at once, the next ones follow as fast as a fork."""
_LEAST = 2
"""Keepers in waiting below which the next is made at once."""
_DELAY = 0.008
"""Seconds after a start before the next keeper is made: until then the container itself needs the processors more."""
_PAUSE = 0.05
"""Seconds before one that died while it waited is replaced."""


def main() -> NoReturn:
    """`launch SOCKET STAGE`: the launcher's life. It ends when the engine's end of the socket closes."""
    number, stage = int(sys.argv[1]), sys.argv[2]
    if stage == "enclose":
        enclose()
        os.set_inheritable(number, True)
        code = f"import sys; sys.path.insert(0, {sys.path[0]!r}); from onggi.runtime.launch import main; main()"
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code, str(number), "serve"])
    serve(socket.socket(fileno=number))


def serve(engine: socket.socket) -> NoReturn:
    """Keep keepers in waiting until the engine goes away."""
    process.set_name("onggi-launcher")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps keepers; each keeps its container's status itself
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    layout = detect()
    for _ in range(_REHEARSALS):
        warm_up(layout)
        entrance.warm_up(layout)
    gc.collect()
    gc.freeze()
    gc.disable()
    poll, waiting = select.poll(), set[int]()
    for _ in range(_WAITING):
        waiting.add(_fork_keeper(engine, layout, waiting))
    engine.send(_READY)
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    poll.register(engine, select.POLLRDHUP)
    owed: list[float] = []
    while True:
        for descriptor, _ in poll.poll(_until(owed)):
            if descriptor not in waiting:
                os._exit(0)  # the engine is gone; the keepers in waiting see it too
            died = not os.read(descriptor, 1)  # while it waited: should that be the rule, do not do nothing else
            poll.unregister(descriptor)
            waiting.remove(descriptor)
            os.close(descriptor)
            owed.append(time.monotonic() + (_PAUSE if died else _DELAY))
        while owed and (owed[0] <= time.monotonic() or len(waiting) < _LEAST):
            owed.pop(0)
            successor = _fork_keeper(engine, layout, waiting)
            waiting.add(successor)
            poll.register(successor, select.POLLIN)


def _until(owed: list[float]) -> int | None:
    """Milliseconds until the next keeper is due; None when none is."""
    return max(0, int((owed[0] - time.monotonic()) * 1000) + 1) if owed else None


def _fork_keeper(engine: socket.socket, layout: Layout, waiting: set[int]) -> int:
    """A keeper in waiting; what it gives tells by a byte that it has a request, by end of file that it died without."""
    heard, taken = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        for descriptor in (heard, *waiting):
            os.close(descriptor)
        keeper.wait(engine, taken, layout)
    os.close(taken)
    return heard


if __name__ == "__main__":
    main()
