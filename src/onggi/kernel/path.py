"""Paths below a root that somebody else controls: openat2(2) and nothing else.

A container can turn any component of its own tree into a symbolic link between two of our calls. So such a path is
given to the kernel once, together with the directory that stands for `/`, and what comes back, a descriptor, is what we
work with. Joining strings below a container's root is a bug (CVE-2018-15664, CVE-2021-30465, CVE-2024-21626).
Callers: `store/`, `runtime/steps`. Read next: `mount`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel.fd import Fd
from onggi.kernel.syscall import bind_number
from onggi.values import IntFlag


class Resolve(IntFlag):
    """RESOLVE_*: how openat2(2) walks a path (linux/openat2.h)."""

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10
    CACHED = 0x20


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_openat2 = bind_number("openat2", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)

_IN_ROOT = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
# A `..` that races with a rename or a mount anywhere on the machine gives EAGAIN; the man page says to try again.
_ATTEMPTS = 64


def open_in_root(root_fd: int | Fd, path: str | bytes, flags: int, mode: int = 0, resolve: int = _IN_ROOT) -> int:
    """openat2(2): open `path` as a process would whose `/` is `root_fd`; the caller owns the descriptor.

    By default an absolute path, an absolute link and `..` all stay below `root_fd`, and links of /proc that lead
    anywhere are refused. `Resolve.BENEATH` instead fails with EXDEV where a path would leave. The descriptor is
    close-on-exec. `mode` counts with O_CREAT or O_TMPFILE only (the kernel refuses it otherwise, and every flag that it
    does not know). KernelError names the path.
    """
    directory = root_fd.fileno() if isinstance(root_fd, Fd) else root_fd
    name = os.fsencode(path)
    if b"\0" in name:
        raise KernelError("openat2", repr(name), errno.EINVAL, detail="a path holds no NUL byte")
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(_ATTEMPTS):
        try:
            return _openat2(directory, name, how, ctypes.sizeof(how))
        except KernelError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR) and attempt < _ATTEMPTS - 1:
                continue
            raise KernelError("openat2", _printable(name), error.errno or 0) from None
    raise AssertionError("unreachable: the last attempt returns or raises")


def _printable(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
