"""Terminals: ioctl_tty(2) on pty masters and slaves.

The slave is opened through its master (TIOCGPTPEER), never by its name, which a container could have mounted over.
Callers: `runtime/`. Read next: `process`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def unlock(master: int) -> None:
    """TIOCSPTLCK: allow the slave to be opened."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))


def open_peer(master: int) -> int:
    """TIOCGPTPEER: the slave, close-on-exec, not yet anybody's controlling terminal."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(descriptor: int, rows: int, columns: int) -> None:
    """TIOCSWINSZ."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def take_control(descriptor: int) -> None:
    """TIOCSCTTY: make it the controlling terminal of this session, whose leader the caller is."""
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
