"""Stopping and letting go the processes of one cgroup: v1's `freezer.state`, v2's `cgroup.freeze`.

Works on the group's directory. A group below a frozen one stands still too, without having been asked; it counts as frozen
only if it was asked itself, so that a pod's pause is not taken for its containers' own. Callers: `layout`. See cgroups(7),
the kernel's Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst.
"""

from __future__ import annotations

import time

from onggi.errors import Unavailable
from onggi.kernel.cgroup.limits import keyed, read, write

_PATIENCE = 2.0
"""Seconds that processes get to stand still."""
_ON = {1: ("freezer.state", "FROZEN"), 2: ("cgroup.freeze", "1")}
_OFF = {1: ("freezer.state", "THAWED"), 2: ("cgroup.freeze", "0")}
_ROUNDS = 50


def freeze(directory: str, version: int) -> None:
    """Stop every process in the group and wait until all stand still; `Unavailable`, and nothing stopped, if they do not."""
    deadline, rounds = time.monotonic() + _PATIENCE, 0
    write(directory, *_ON[version])
    while not _stands_still(directory, version):
        if time.monotonic() >= deadline:
            thaw(directory, version)
            raise Unavailable("freeze", directory, f"its processes did not stop within {_PATIENCE:.0f} s")
        time.sleep(0.001)
        rounds += 1
        if version == 1:
            if rounds % _ROUNDS == 0:
                thaw(directory, version)  # who is being born while the rest stops can hold it up for ever: begin anew
                time.sleep(0.01)
            write(directory, *_ON[version])  # v1 gives up on a task that was in the middle of something: ask again


def thaw(directory: str, version: int) -> None:
    """Let the processes go on; not being frozen is fine."""
    write(directory, *_OFF[version])


def is_frozen(directory: str, version: int) -> bool:
    """Whether the group was asked to stand still, itself, and does (or is about to)."""
    if version == 2:
        return read(directory, "cgroup.freeze") == "1"
    if read(directory, "freezer.state") not in ("FROZEN", "FREEZING"):
        return False
    return read(directory, "freezer.self_freezing") != "0"


def _stands_still(directory: str, version: int) -> bool:
    if version == 1:
        return read(directory, "freezer.state") == "FROZEN"
    return keyed(read(directory, "cgroup.events")).get("frozen") == 1
