"""Directories of cgroup file systems: making, listing, emptying and removing them.

Works on absolute paths as strings with plain os calls, since it is on the way of every start. Knows no controller but
the two habits that a new directory depends on (v1: `cpuset` starts empty; v2: controllers are switched on from above).
Callers: `layout`. Read next: `detect`.
"""

from __future__ import annotations

import errno
import os
import time

from onggi.errors import KernelError
from onggi.kernel import signals
from onggi.kernel.cgroup.limits import read, write
from onggi.unwinding import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.05


def make(directory: str, top: str, *, cpuset: bool) -> bool:
    """mkdir(2) for the directory and what is missing above it, up to `top`; False when it was there already."""
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        if cpuset:
            _fill(directory, top)
        return False
    except FileNotFoundError:
        above = os.path.dirname(directory)
        if len(above) < len(top):
            raise
        make(above, top, cpuset=cpuset)
        if cpuset:
            write(above, "cgroup.clone_children", "1")  # groups made below start with a copy of the sets
        return make(directory, top, cpuset=cpuset)
    if cpuset:
        _fill(directory, top)
    return True


def _fill(directory: str, top: str) -> None:
    """A new v1 cpuset has no processor and no memory, and no process can join it (ENOSPC), until it is told which.

    It has those of the group above, which may want some itself: who made that one need not have known.
    """
    empty = [file for file in ("cpuset.cpus", "cpuset.mems") if not read(directory, file)]
    above = os.path.dirname(directory)
    if empty and len(above) > len(top):
        _fill(above, top)
    for file in empty:
        try:
            write(directory, file, read(above, file))
        except KernelError as error:
            if error.errno != errno.EINVAL:  # some are a neighbour's alone (cpu_exclusive): its own list will do
                raise


def enable(directory: str, top: str) -> None:
    """v2: switch every controller on for the children of `directory`, from `top` down, if it can be.

    Each by a write of its own: one that the kernel refuses must not take the others with it. It refuses where processes are
    in the group itself, and controllers that the group above does not hand down.
    """
    below = directory[len(top) :].strip("/")
    here = top
    steps = [top]
    for name in below.split("/") if below else ():
        here = f"{here}/{name}"
        steps.append(here)
    for step in steps:
        missing = set(read(step, "cgroup.controllers").split()) - set(read(step, "cgroup.subtree_control").split())
        for controller in sorted(missing):
            with suppress(KernelError):  # a limit that needs it will miss its file, and say so by name
                write(step, "cgroup.subtree_control", "+" + controller)


def walk(directory: str) -> Iterator[str]:
    """The directory and all below it, the deepest first: the order in which they can be removed."""
    try:
        with os.scandir(directory) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for child in below:
        yield from walk(child)
    yield directory


def pids(directory: str) -> tuple[int, ...]:
    """Every process in the directory and below, but for those that the kernel shows as 0: not in our pid namespace."""
    found: list[int] = []
    for step in walk(directory):
        found += [int(line) for line in _members(step)]
    return tuple(dict.fromkeys(pid for pid in found if pid > 0))


def _members(directory: str) -> list[bytes]:
    try:
        return _lines(f"{directory}/cgroup.procs")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return _lines(f"{directory}/cgroup.threads")  # a threaded group of v2 shows no processes


def _lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().split()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):  # removed while we walked
            return []
        raise


def signal_all(directory: str) -> int:
    """SIGKILL to every process in the directory and below; how many there were."""
    there = pids(directory)
    for pid in there:
        try:
            os.kill(pid, signals.KILL)
        except ProcessLookupError:
            continue  # it went by itself
    return len(there)


def remove(directory: str, deadline: float) -> None:
    """rmdir(2) for the directory and all below it, tried again while the kernel lets go of what was in it.

    `deadline` is on time.monotonic's clock; KernelError EBUSY when it passes.
    """
    pause = _FIRST_PAUSE
    while True:
        try:
            _rmdir(directory)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() >= deadline:
                inside = ", ".join(map(str, pids(directory)[:5]))
                detail = f"processes {inside} are still in it" if inside else ""
                raise KernelError("rmdir", directory, error.errno or 0, detail=detail) from error
        else:
            return
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _rmdir(directory: str) -> None:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        for step in walk(directory):
            os.rmdir(step)
