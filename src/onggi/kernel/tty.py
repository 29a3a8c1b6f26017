"""Terminals: ioctl_tty(2) on pty masters and slaves.

The slave is opened through its master (TIOCGPTPEER), never by its name, which a container could have mounted over.
Callers: `runtime/`. Read next: `process`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel.path import Resolve, open_in_root
from onggi.kernel.syscall import bind

_DEVPTS = 0x1CD1
"""DEVPTS_SUPER_MAGIC (linux/magic.h)."""
_PTMX = os.makedev(5, 2)
_MOUNTED_HERE = Resolve.BENEATH | Resolve.NO_XDEV | Resolve.NO_SYMLINKS
_fstatfs = bind("fstatfs", ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def open_master(root: int, directory: str = "/dev/pts") -> int:
    """A new terminal's master, from the devpts that is mounted at `directory` below `root`; the caller owns it.

    Whoever owns the root may have put anything there: another file system, a fifo that blocks, a device that does things
    when it is opened, a mount over `ptmx` alone (CVE-2025-52565). So nothing is opened but the file `ptmx` of a file system
    that says it is devpts, and in a devpts nobody can make a file.
    """
    place = open_in_root(root, directory, os.O_PATH | os.O_DIRECTORY)
    try:
        if _kind_of_file_system(place) != _DEVPTS:
            raise KernelError("open", f"{directory}/ptmx", errno.ENODEV, detail=f"{directory} is no devpts")
        master = open_in_root(place, "ptmx", os.O_RDWR | os.O_NOCTTY, resolve=_MOUNTED_HERE)
    finally:
        os.close(place)
    found = os.fstat(master)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != _PTMX:
        os.close(master)
        raise KernelError("open", f"{directory}/ptmx", errno.ENODEV, detail="it is no terminal multiplexer")
    return master


def _kind_of_file_system(descriptor: int) -> int:
    """statfs(2)'s f_type, the first word of the structure."""
    buffer = (ctypes.c_long * 64)()
    _fstatfs(descriptor, buffer)
    return int(buffer[0])


def unlock(master: int) -> None:
    """TIOCSPTLCK: allow the slave to be opened."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))


def open_peer(master: int) -> int:
    """TIOCGPTPEER: the slave, close-on-exec, not yet anybody's controlling terminal."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(descriptor: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def leave_newlines(descriptor: int) -> None:
    """tcsetattr(3): a line feed goes out as one, and not as carriage return and line feed (ONLCR)."""
    mode = termios.tcgetattr(descriptor)
    mode[1] &= ~termios.ONLCR
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)


def take_control(descriptor: int) -> None:
    """TIOCSCTTY: make it the controlling terminal of this session, whose leader the caller is."""
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
