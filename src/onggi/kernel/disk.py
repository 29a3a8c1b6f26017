"""What is written, on the disk: syncfs(2), which Python lacks.

Callers: `store/layers`. Read next: `path`.
"""

from __future__ import annotations

from onggi.kernel import c_types as ctypes
from onggi.kernel.fd import Fd
from onggi.kernel.syscall import bind, libc_blocking

_syncfs = bind("syncfs", ctypes.c_int, ctypes.c_int, library=libc_blocking)


def syncfs(fd: int | Fd) -> None:
    """syncfs(2): wait until all that was written to the file system of `fd` is on its disk.

    For a tree of many files that is one wait where fsync(2) of each would be thousands; an error of writing back that
    happened since the descriptor was opened is reported (Linux 5.8), so open it before the writing begins.
    """
    _syncfs(fd.fileno() if isinstance(fd, Fd) else fd)
