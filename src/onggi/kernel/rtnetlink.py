"""Links, addresses and routes as rtnetlink messages: pure functions that make requests and read answers.

No I/O: `netlink.Netlink` sends what is made here. The names of the constants are those of `linux/rtnetlink.h` and
`linux/if_link.h`. Callers: `netlink`. Read next: `netlink`. rtnetlink(7).
"""

from __future__ import annotations

import struct
import sys

from onggi.kernel.netlink_codec import (
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    attribute,
    attributes,
    nested,
    pack_mac,
    pack_prefix,
    show_address,
    show_mac,
    text,
    u32,
)
from onggi.values import IntFlag, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
else:
    import _socket as socket

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_STATS64 = struct.Struct("=8Q")

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_STATS64, _IFLA_NET_NS_FD = 23, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND, _IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
_IFLA_BRPORT_MODE = 4
_IFLA_BR_FORWARD_DELAY, _IFLA_BR_STP_STATE = 1, 5
_VETH_INFO_PEER = 1

_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_NODAD, _IFA_F_PERMANENT = 0x02, 0x80
_IFA_F_OF_OWNER = _IFA_F_NODAD | 0x700
"""What who makes an address chooses: also MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN (linux/if_addr.h)."""

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 0, 253
_RTNH_F_ONLINK = 4

IFNAMSIZ = 16
"""A link's name with its closing zero."""


class LinkFlag(IntFlag):
    """IFF_*: netdevice(7)."""

    UP = 0x1
    BROADCAST = 0x2
    LOOPBACK = 0x8
    POINTOPOINT = 0x10
    RUNNING = 0x40
    NOARP = 0x80
    PROMISC = 0x100
    MULTICAST = 0x1000
    LOWER_UP = 0x10000


@dataclass(frozen=True, slots=True)
class Stats:
    """What went over a link, seen from the side where the link is: rtnl_link_stats64."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Link:
    """One link as the kernel describes it; `master` is an index or 0, `kind` is empty for hardware."""

    index: int
    name: str
    flags: LinkFlag
    mac: str
    mtu: int
    master: int
    kind: str
    stats: Stats | None


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix length, `172.17.0.2/16`, on the link `index`."""

    index: int
    address: str


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route; `destination` is `default` or a prefix; `link` (a name) is filled in where a route is made."""

    destination: str = "default"
    gateway: str = ""
    link: str = ""
    source: str = ""
    onlink: bool = False
    """The gateway counts as reachable although no address of the link covers it."""
    index: int = 0
    """The link's index, in a route that was read."""
    table: int = _RT_TABLE_MAIN


def bridge(name: str, *, mac: str = "", mtu: int = 0, up: bool = False) -> Request:
    """A bridge that forwards at once: no spanning tree, no forward delay."""
    data = (u32(_IFLA_BR_FORWARD_DELAY, 0), u32(_IFLA_BR_STP_STATE, 0))
    return _new_link(f"bridge {name}", "bridge", data, _ifinfo(up=up) + _traits(name, mac, mtu))


def veth(
    host_name: str,
    peer_name: str,
    *,
    peer_netns_fd: int = -1,
    master_index: int = 0,
    mac: str = "",
    mtu: int = 0,
    up: bool = True,
) -> Request:
    """Both ends of a veth pair; the peer is born in its namespace, with its name and `mac`, in the same message.

    `up` is for the host's end: the peer is registered before it knows its other end, and cannot be set up until then
    (drivers/net/veth.c: veth_newlink, veth_open; ENOTCONN).
    """
    peer = _ifinfo() + _traits(peer_name, mac, mtu)
    if peer_netns_fd >= 0:
        peer += u32(_IFLA_NET_NS_FD, peer_netns_fd)
    host = _ifinfo(up=up) + _traits(host_name, "", mtu)
    if master_index:
        host += u32(_IFLA_MASTER, master_index)
    return _new_link(f"veth {host_name}", "veth", (attribute(_VETH_INFO_PEER, peer),), host)


def hairpin(name: str) -> Request:
    """Let a bridge send a packet back over the port `name` on which it came."""
    data = nested(_IFLA_INFO_SLAVE_DATA, attribute(_IFLA_BRPORT_MODE, b"\1"))
    payload = _ifinfo() + _name(name) + nested(_IFLA_LINKINFO, text(_IFLA_INFO_SLAVE_KIND, "bridge"), data)
    return Request("RTM_NEWLINK", f"bridge port {name}", RTM_NEWLINK, 0, payload)


def set_link(
    index: int,
    shown: str,
    *,
    up: bool | None = None,
    name: str = "",
    mac: str = "",
    mtu: int = 0,
    master_index: int | None = None,
    netns_fd: int = -1,
) -> Request:
    """Change what is given of the link `index`; `master_index` 0 takes it out of its bridge."""
    payload = _ifinfo(index=index, up=up) + _traits(name, mac, mtu)
    if master_index is not None:
        payload += u32(_IFLA_MASTER, master_index)
    if netns_fd >= 0:
        payload += u32(_IFLA_NET_NS_FD, netns_fd)
    return Request("RTM_SETLINK", f"link {shown}", RTM_SETLINK, 0, payload)


def delete_link(name: str) -> Request:
    """Remove a link by its name; its veth peer goes with it."""
    return Request("RTM_DELLINK", f"link {name}", RTM_DELLINK, 0, _ifinfo() + _name(name))


def get_link(name: str) -> Request:
    """Ask for one link by its name."""
    return Request("RTM_GETLINK", f"link {name}", RTM_GETLINK, 0, _ifinfo() + _name(name))


def dump(kind: int) -> Request:
    """Ask for all links, addresses or routes (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE)."""
    body = {RTM_GETLINK: _IFINFO, RTM_GETADDR: _IFADDR, RTM_GETROUTE: _RTMSG}[kind]
    what = {RTM_GETLINK: "links", RTM_GETADDR: "addresses", RTM_GETROUTE: "routes"}[kind]
    return Request("dump", what, kind, NLM_F_DUMP, bytes(body.size))


def add_address(index: int, shown: str, address: str) -> Request:
    """Put `address` (`172.17.0.2/16`) on a link; a v6 address is usable at once (no duplicate detection)."""
    family, packed, prefix = pack_prefix(address)
    flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
    payload = _IFADDR.pack(family, prefix, flags, _RT_SCOPE_UNIVERSE, index)
    payload += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if family == socket.AF_INET and prefix < 31:
        last = int.from_bytes(packed, "big") | (0xFFFFFFFF >> prefix)
        payload += attribute(_IFA_BROADCAST, last.to_bytes(4, "big"))
    return Request("RTM_NEWADDR", f"{address} on {shown}", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload)


def remove_address(index: int, shown: str, address: str) -> Request:
    """Take `address` from a link."""
    family, packed, prefix = pack_prefix(address)
    payload = _IFADDR.pack(family, prefix, 0, 0, index) + attribute(_IFA_LOCAL, packed)
    return Request("RTM_DELADDR", f"{address} on {shown}", RTM_DELADDR, 0, payload)


def add_route(route: Route, index: int, *, replace: bool = False) -> Request:
    """Make a route over the link `index`."""
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Request("RTM_NEWROUTE", _show_route(route), RTM_NEWROUTE, flags, _route(route, index))


def remove_route(route: Route, index: int) -> Request:
    """Remove a route over the link `index`."""
    return Request("RTM_DELROUTE", _show_route(route), RTM_DELROUTE, 0, _route(route, index))


def parse_link(payload: bytes) -> Link:
    """The link in an RTM_NEWLINK answer."""
    _family, _type, index, flags, _change = _IFINFO.unpack_from(payload)
    found = attributes(payload, _IFINFO.size)
    info = attributes(found.get(_IFLA_LINKINFO, b""))
    stats = found.get(_IFLA_STATS64)
    return Link(
        index=index,
        name=_string(found.get(_IFLA_IFNAME, b"")),
        flags=LinkFlag(flags),
        mac=show_mac(found.get(_IFLA_ADDRESS, b"")),
        mtu=_number(found.get(_IFLA_MTU, b"")),
        master=_number(found.get(_IFLA_MASTER, b"")),
        kind=_string(info.get(_IFLA_INFO_KIND, b"")),
        stats=Stats(*_STATS64.unpack_from(stats)) if stats else None,
    )


def parse_address(payload: bytes) -> Address:
    """The address in an RTM_NEWADDR answer."""
    _family, prefix, _flags, _scope, index = _IFADDR.unpack_from(payload)
    found = attributes(payload, _IFADDR.size)
    return Address(index, f"{show_address(found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b''))}/{prefix}")


def permanent_address(payload: bytes) -> tuple[int, bytes] | None:
    """The link's index and what makes this address anew on another link; None for one that is passing or of a link only.

    Of an RTM_NEWADDR answer: permanent (IFA_F_PERMANENT) and global (RT_SCOPE_UNIVERSE), as `again` takes it.
    """
    family, prefix, low_flags, scope, index = _IFADDR.unpack_from(payload)
    found = attributes(payload, _IFADDR.size)
    flags = _number(found.get(_IFA_FLAGS, b"")) or low_flags
    if scope != _RT_SCOPE_UNIVERSE or not flags & _IFA_F_PERMANENT:
        return None
    kept = b"".join(
        attribute(kind, found[kind]) for kind in (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST) if kind in found
    )
    return index, _IFADDR.pack(family, prefix, 0, scope, 0) + kept + u32(_IFA_FLAGS, flags & _IFA_F_OF_OWNER)


def again(index: int, shown: str, address: bytes) -> Request:
    """Put an address of `permanent_address` on another link."""
    family, prefix, flags, scope, _ = _IFADDR.unpack_from(address)
    payload = _IFADDR.pack(family, prefix, flags, scope, index) + address[_IFADDR.size :]
    return Request("RTM_NEWADDR", f"address on {shown}", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, payload)


def parse_route(payload: bytes) -> Route | None:
    """The route in an RTM_NEWROUTE answer; None for what is no unicast route (local, broadcast, unreachable)."""
    _family, length, _src, _tos, table, _protocol, _scope, kind, flags = _RTMSG.unpack_from(payload)
    if kind != _RTN_UNICAST:
        return None
    found = attributes(payload, _RTMSG.size)
    destination = found.get(_RTA_DST)
    return Route(
        destination=f"{show_address(destination)}/{length}" if destination else "default",
        gateway=show_address(found.get(_RTA_GATEWAY, b"")),
        source=show_address(found.get(_RTA_PREFSRC, b"")),
        onlink=bool(flags & _RTNH_F_ONLINK),
        index=_number(found.get(_RTA_OIF, b"")),
        table=_number(found.get(_RTA_TABLE, b"")) or table,
    )


def _new_link(shown: str, kind: str, data: tuple[bytes, ...], payload: bytes) -> Request:
    info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, kind), nested(_IFLA_INFO_DATA, *data))
    return Request("RTM_NEWLINK", shown, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload + info)


def _ifinfo(*, index: int = 0, up: bool | None = None) -> bytes:
    change = int(LinkFlag.UP) if up is not None else 0
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, change if up else 0, change)


def _traits(name: str, mac: str, mtu: int) -> bytes:
    payload = _name(name) if name else b""
    if mac:
        payload += attribute(_IFLA_ADDRESS, pack_mac(mac))
    if mtu:
        payload += u32(_IFLA_MTU, mtu)
    return payload


def _name(name: str) -> bytes:
    return text(_IFLA_IFNAME, name)


def _route(route: Route, index: int) -> bytes:
    default = route.destination == "default"
    family, packed, prefix = pack_prefix((route.gateway or "0.0.0.0") + "/0" if default else route.destination)
    scope = _RT_SCOPE_UNIVERSE if route.gateway or family == socket.AF_INET6 else _RT_SCOPE_LINK
    flags = _RTNH_F_ONLINK if route.onlink else 0
    table = route.table if route.table < 256 else 0
    payload = _RTMSG.pack(family, prefix, 0, 0, table, _RTPROT_STATIC, scope, _RTN_UNICAST, flags)
    payload += u32(_RTA_OIF, index) + u32(_RTA_TABLE, route.table)
    if not default:
        payload += attribute(_RTA_DST, packed)
    if route.gateway:
        payload += attribute(_RTA_GATEWAY, pack_prefix(route.gateway)[1])
    if route.source:
        payload += attribute(_RTA_PREFSRC, pack_prefix(route.source)[1])
    return payload


def _show_route(route: Route) -> str:
    via = f" via {route.gateway}" if route.gateway else ""
    return f"{route.destination}{via}" + (f" dev {route.link}" if route.link else "")


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    return int.from_bytes(value[:4], sys.byteorder)
