"""Netlink messages as bytes, without I/O: requests are put together here, answers are taken apart.

A message is a header of 16 bytes (length, type, flags, sequence, port), a fixed body that depends on the type, and
attributes: length, type and value, each padded to four bytes, some of them nested. Everything is in the machine's own
byte order. This file knows the framing and the error format; which message means what stands in `rtnetlink`.
Callers: `rtnetlink`, `netlink`. Read next: `rtnetlink`. netlink(7).
"""

from __future__ import annotations

import struct

from onggi.errors import Invalid
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
else:
    import _socket as socket

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_U32 = struct.Struct("=I")

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_DUMP = 0x300
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_NLMSGERR_ATTR_MSG = 1


@dataclass(frozen=True, slots=True)
class Request:
    """One message to the kernel; `call` and `object` are for the error that it may meet."""

    call: str
    object: str
    type: int
    flags: int
    payload: bytes

    def encode(self, sequence: int) -> bytes:
        """The message with its header; asks for an acknowledgement."""
        flags = self.flags | NLM_F_REQUEST | NLM_F_ACK
        return HEADER.pack(HEADER.size + len(self.payload), self.type, flags, sequence, 0) + self.payload


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the kernel, without its header."""

    type: int
    flags: int
    sequence: int
    payload: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def text(kind: int, value: str) -> bytes:
    """An attribute that holds a C string."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """An attribute that holds 32 bits."""
    return attribute(kind, _U32.pack(value))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes of `data` from `offset` on, by type; of repeated types the last one."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram, in order."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, flags, sequence, _port = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > len(datagram):
            break
        yield Message(kind, flags, sequence, datagram[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


def failure(message: Message) -> tuple[int, str]:
    """The errno (0: success) of an acknowledgement or an end of dump, and what the kernel said about it."""
    if len(message.payload) < 4:
        return 0, ""
    code = -_ERROR.unpack_from(message.payload)[0]
    if not message.flags & NLM_F_ACK_TLVS:
        return code, ""
    offset = 4
    if message.type == NLMSG_ERROR:  # the request's header follows, and all of the request where it was not capped
        (length,) = _U32.unpack_from(message.payload, 4)
        offset += HEADER.size if message.flags & NLM_F_CAPPED else (length + 3) & ~3
    said = attributes(message.payload, offset).get(_NLMSGERR_ATTR_MSG, b"")
    return code, said.rstrip(b"\0").decode(errors="replace")


def pack_mac(mac: str) -> bytes:
    """`02:42:ac:11:00:02` as six bytes."""
    parts = mac.split(":")
    try:
        packed = bytes(int(part, 16) for part in parts)
    except ValueError as error:
        raise Invalid("read MAC address", mac, str(error)) from error
    if len(packed) != 6:
        raise Invalid("read MAC address", mac, f"{len(packed)} bytes instead of 6")
    return packed


def show_mac(packed: bytes) -> str:
    """Six bytes as `02:42:ac:11:00:02`."""
    return packed.hex(":")


def pack_prefix(text: str) -> tuple[int, bytes, int]:
    """`172.17.0.2/16` as family, bytes and prefix length; without a slash the whole address."""
    address, slash, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
        prefix = int(length) if slash else len(packed) * 8
    except (OSError, ValueError) as error:
        raise Invalid("read address", text, str(error)) from error
    if not 0 <= prefix <= len(packed) * 8:
        raise Invalid("read address", text, f"a prefix of {prefix} bits")
    return family, packed, prefix


def show_address(packed: bytes) -> str:
    """Four or sixteen bytes as text; no bytes as no text."""
    if not packed:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
