"""Files of /proc that must be the kernel's own, whatever somebody has put into its place or on top of it.

A write to /proc/self/attr/exec, or to a kernel parameter, says nothing of its fate: if another file answers at that
place, a label is silently not set, or worse, the bytes go to a switch of the host (CVE-2019-16884, CVE-2025-52881). So the
file is opened below a descriptor that is known to be a procfs, across no mount and no link. Loaded by plans that need it.
Callers: `runtime/sysctls`, `runtime/labels`. Read next: `path`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel import mount
from onggi.kernel.path import Resolve, open_in_root
from onggi.kernel.syscall import bind

MAGIC = 0x9FA0
"""PROC_SUPER_MAGIC of linux/magic.h."""
_ITSELF = Resolve.BENEATH | Resolve.NO_XDEV | Resolve.NO_MAGICLINKS | Resolve.NO_SYMLINKS
_ELSEWHERE = (errno.EXDEV, errno.EROFS)
"""Something lies on top of the file, or this mount of it is read-only: another mount of it may do."""


class _Statfs(ctypes.Structure):
    _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_long * 31))


_fstatfs = bind("fstatfs", ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Statfs))


def write(proc: int, path: str, data: bytes) -> None:
    """Write `data` into the file `path` of a procfs: of the mount `proc`, or of one that nobody else can see.

    The second is made when `proc` is below 0, is no procfs, is read-only, or has something mounted over the file.
    """
    descriptor = _open(proc, path) if proc >= 0 and is_procfs(proc) else -1
    if descriptor < 0:
        fresh = mount.new("proc", source="proc")
        try:
            descriptor = open_in_root(fresh, path, os.O_WRONLY, resolve=_ITSELF)
        finally:
            os.close(fresh)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def is_procfs(descriptor: int) -> bool:
    """fstatfs(2): whether a file or directory belongs to a procfs."""
    found = _Statfs()
    _fstatfs(descriptor, ctypes.byref(found))
    return bool(found.type == MAGIC)


def _open(proc: int, path: str) -> int:
    try:
        return open_in_root(proc, path, os.O_WRONLY, resolve=_ITSELF)
    except KernelError as error:
        if error.errno in _ELSEWHERE:
            return -1
        raise
