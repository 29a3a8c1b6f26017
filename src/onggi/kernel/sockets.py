"""Sockets between our own processes, without the standard library's `socket`, which makes a dozen `enum` classes.

Its C module has the calls. Callers: `runtime/sync`, and whoever speaks its protocol. Read next: `process`. See unix(7),
netdevice(7).
"""

from __future__ import annotations

import fcntl
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket

    Socket = _socket.socket
else:
    import _socket

    class Socket(_socket.socket):
        """A socket that closes itself at the end of a `with`."""

        __slots__ = ()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()


MSG_NOSIGNAL, SHUT_WR = int(_socket.MSG_NOSIGNAL), int(_socket.SHUT_WR)
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_IFREQ = struct.Struct("16sH22x")
"""`struct ifreq` with a name and flags."""


def pair() -> tuple[Socket, Socket]:
    """The two ends of a pair of seqpacket sockets, close-on-exec; messages keep their borders."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Socket(fileno=ours.detach()), Socket(fileno=theirs.detach())


def send_descriptors(end: Socket, data: bytes, descriptors: list[int]) -> None:
    """One message with descriptors beside it; BrokenPipeError when the other end is gone."""
    end.sendmsg([data], [_rights(descriptors)], MSG_NOSIGNAL)


def _rights(descriptors: list[int]) -> tuple[int, int, bytes]:
    return _socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack(f"={len(descriptors)}i", *descriptors)


def connect(path: str) -> Socket:
    """A stream socket to whoever listens at a path; one that begins with `@` is in the abstract namespace (unix(7))."""
    end = Socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        end.connect("\0" + path[1:] if path[:1] == "@" else path)
    except OSError:
        end.close()
        raise
    return end


def send_stream(end: Socket, data: bytes, descriptors: list[int]) -> None:
    """All of the data over a stream, the descriptors beside its first bytes."""
    sent = end.sendmsg([data], [_rights(descriptors)], MSG_NOSIGNAL)
    if sent < len(data):
        end.sendall(data[sent:], MSG_NOSIGNAL)


def receive(end: Socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """One message and the descriptors beside it, close-on-exec. `socket.recv_fds` of Python 3.11 forgets its flags."""
    numbers: list[int] = []
    data, beside, _, _ = end.recvmsg(size, _socket.CMSG_LEN(most * 4), _socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in beside:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            numbers += struct.unpack(f"={len(content) // 4}i", content[: len(content) // 4 * 4])
    return data, numbers


def loopback_up() -> None:
    """127.0.0.1 works in this network namespace: SIOCSIFFLAGS, which needs no netlink."""
    with Socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC) as end:
        fcntl.ioctl(end, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", _IFF_UP))
