"""A mount namespace of our own, in which the interpreter's file is a read-only mount.

A container that gets hold of /proc/PID/exe of one of our processes could otherwise write the host's Python once nobody
runs it (CVE-2019-5736). What a process was executed from counts, so who comes here executes itself again afterwards.
Callers: `launch`, `main`. Read next: `kernel/mount`.
"""

from __future__ import annotations

import os
import sys

from onggi.kernel import mount, process
from onggi.kernel.flags import Clone, MountAttr, Ms


def enclose() -> None:
    """unshare(2) the mounts, as a slave of the host's, and mount the interpreter onto itself, read-only."""
    process.unshare(Clone.NEWNS)
    mount.set_propagation("/", Ms.SLAVE | Ms.REC)
    interpreter = os.path.realpath(sys.executable)
    tree = mount.clone_tree(interpreter, recursive=False)
    mount.set_attributes(tree, MountAttr.RDONLY)
    spot = mount.open_path(interpreter)
    mount.attach(tree, spot)
    os.close(spot)
    os.close(tree)


def is_enclosed() -> bool:
    """Whether this process was executed from a read-only mount."""
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)
