"""Network namespaces that tests make for themselves: nothing here touches the one the tests were started in.

A socket belongs to the namespace in which it was opened, so one thread can hold sockets in several: a test steps
inside, opens what it needs, and steps out. `/proc/sys/net` shows the namespace of the thread that reads it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from onggi.kernel.netlink import Netlink
from onggi.kernel.syscall import bind

_CLONE_NEWNET = 0x40000000
_unshare = bind("unshare", ctypes.c_int, ctypes.c_int)
_setns = bind("setns", ctypes.c_int, ctypes.c_int, ctypes.c_int)


def _own_netns() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network namespace, alive while its descriptor is open; its loopback is up."""

    def __init__(self) -> None:
        before = _own_netns()
        _unshare(_CLONE_NEWNET)
        try:
            self.fd = _own_netns()
            with Netlink() as netlink:
                netlink.loopback_up()
        finally:
            _setns(before, _CLONE_NEWNET)
            os.close(before)

    def close(self) -> None:
        """Let the namespace go, with every link in it, unless a socket still holds it."""
        os.close(self.fd)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Run the body in this namespace."""
        before = _own_netns()
        _setns(self.fd, _CLONE_NEWNET)
        try:
            yield
        finally:
            _setns(before, _CLONE_NEWNET)
            os.close(before)

    def netlink(self) -> Netlink:
        """A netlink socket in here."""
        with self.inside():
            return Netlink()

    def listen(self, address: str, port: int = 0) -> socket.socket:
        """A TCP server in here."""
        with self.inside():
            return socket.create_server((address, port))

    def connect(self, address: str, port: int, timeout: float = 5.0) -> socket.socket:
        """A TCP connection from here; OSError when there is none."""
        with self.inside():
            return socket.create_connection((address, port), timeout=timeout)

    def ping(self, address: str, timeout: float = 5.0) -> bool:
        """Whether an ICMP echo from here is answered in time."""
        with self.inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with raw:
            raw.settimeout(timeout)
            try:
                raw.sendto(_echo_request(), (address, 0))
                while (answer := raw.recv(1500))[20] != 0:  # a request to ourselves is seen on its way out, too
                    continue
            except OSError:
                return False
            return answer[24:28] == _echo_request()[4:8]


def _echo_request() -> bytes:
    identity = (os.getpid() & 0xFFFF, 1)
    words = (0x0800, *identity)
    total = sum(words)
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, *identity)
