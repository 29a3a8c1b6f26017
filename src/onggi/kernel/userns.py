"""A user namespace that nobody is in: all that an id-mapped mount needs of one is its maps.

Callers: `runtime/idmaps`. Read next: `mount.map_ids`. See user_namespaces(7), mount_setattr(2).
"""

from __future__ import annotations

import os

from onggi.errors import KernelError
from onggi.kernel import process
from onggi.kernel.flags import Clone


def with_maps(uid_map: str, gid_map: str) -> int:
    """A descriptor of a new user namespace with these maps, a line `inside outside size` for each range.

    A process is born in it, waits until its maps are written, and is gone: the descriptor keeps the namespace. EINVAL
    when ranges overlap, EPERM for ids that are not the caller's to give.
    """
    waiting, go = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = process.clone(Clone.NEWUSER)
    if pid == 0:
        os.close(go)
        os.read(waiting, 1)
        os._exit(0)
    try:
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            _write(f"/proc/{pid}/{name}", text)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go)
        os.close(waiting)
        os.close(pidfd)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:  # whoever ignores SIGCHLD has nobody to collect, and the wait is over all the same
            pid = 0


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        name = path.rpartition("/")[2]
        raise KernelError("write", name, error.errno or 0, detail=text.replace("\n", ", ")) from error
    finally:
        os.close(descriptor)
