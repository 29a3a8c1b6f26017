"""The bridge of one network: link, address, forwarding, and the nft table that guards it.

Made at the first container that needs it, and made again when somebody took a part of it away: `is_intact` looks (it
may be asked before every start), `ensure` does what is missing.
The table is this engine's own; every other table on the machine keeps its say, so a packet that Docker's or the
administrator's rules drop stays dropped. Callers: `engine/networks`. Read next: `endpoint`.

    container A ── eth0 ═ v…0 ─┐                                   a packet's way through our table
                               ├─ onggi0 ── host ── eth0 ── world  prerouting: to 127/8 from the bridge: dropped
    container B ── eth0 ═ v…0 ─┘                                   forward: into the bridge only what answers, what
                                                                   was published, and what its own containers say
                                                                   nat: published ports in, masquerade out
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface

from onggi.errors import Conflict, KernelError, Unavailable
from onggi.kernel.netlink import Netlink
from onggi.kernel.nft import Nft
from onggi.kernel.rtnetlink import Link, LinkFlag
from onggi.network import ports
from onggi.network.ipam import mac_of
from onggi.network.ports import Port
from onggi.trace import Observer, observed

_WHO = "engine"
_SYSCTL = "/proc/sys/net"


@dataclass(frozen=True, slots=True)
class Bridge:
    """What a bridge must look like."""

    name: str
    table: str
    """The nft table (family inet) that carries its rules: the engine's instance."""
    address: str
    """The host's own address on it, the containers' gateway: `172.17.0.1/16`."""
    mtu: int = 1500

    @property
    def subnet(self) -> str:
        """The prefix behind the bridge: `172.17.0.0/16`."""
        return str(IPv4Interface(self.address).network)


def bridge_name(instance: str) -> str:
    """The default bridge of an engine: `onggi0`, or `og` and the eight digits of an instance with another root."""
    digits = instance.partition("-")[2]
    return f"og{digits}" if digits else f"{instance}0"


class Bridges:
    """Makes and removes bridges in the network namespace in which it was made; for one thread at a time."""

    def __init__(self, netlink: Netlink, nft: Nft, observer: Observer) -> None:
        self.netlink = netlink
        self._nft = nft
        self._observer = observer
        self._rules_as_made: dict[str, str] = {}
        """By table: how the kernel lists the rules that we made; a listing that differs was changed by somebody."""

    def ensure(self, bridge: Bridge, published: Sequence[tuple[str, Sequence[Port]]] = ()) -> bool:
        """Do what is missing of the bridge; whether the link had to be made (so that nobody is enslaved to it).

        `published` are the ports that must be in the rules if these are made: a container's address and its ports.

        Conflict when the name belongs to a link that is no bridge; KernelError for what the kernel refuses.
        """
        with ExitStack() as undo:
            link = self.netlink.find_link(bridge.name)
            made = link is None
            if link is None:
                link = self._make(bridge, undo)
            elif link.kind != "bridge":
                raise Conflict(
                    "make bridge", bridge.name, f"a link of the kind {link.kind or 'hardware'} has this name"
                )
            self._address(bridge, link)
            self._sysctl("ipv4/ip_forward", "1")
            if published:
                self._route_localnet(bridge)
            self._rules(bridge, published)
            undo.pop_all()
        return made

    def is_intact(self, bridge: Bridge) -> bool:
        """Whether nothing is missing of a bridge that this object made: link, state, address, rules."""
        link = self.netlink.find_link(bridge.name)
        known = self._rules_as_made.get(bridge.table)
        return (
            link is not None
            and link.kind == "bridge"
            and bool(link.flags & LinkFlag.UP)
            and any(a.index == link.index and a.address == bridge.address for a in self.netlink.addresses())
            and known is not None
            and self._listing(bridge.table) == known
        )

    def remove(self, bridge: Bridge) -> None:
        """Take away link and rules, whatever of them is there."""
        if self._has_table(bridge.table):
            self._do(
                f"nft delete table inet {bridge.table}", lambda: self._nft.run(f"delete table inet {bridge.table}")
            )
        self._rules_as_made.pop(bridge.table, None)
        link = self.netlink.find_link(bridge.name)
        if link and link.kind == "bridge":
            self._do(f"ip link delete {bridge.name}", lambda: self.netlink.delete_link(bridge.name))

    def publish(self, bridge: Bridge, address: str, wanted: Sequence[Port]) -> None:
        """Lead ports of the host to the container at `address`, on a bridge that is intact."""
        self._route_localnet(bridge)
        text = ports.change("add", bridge.table, wanted, address)
        self._do(f"nft {text}", lambda: self._nft.run(text))

    def withdraw(self, bridge: Bridge, address: str, published: Sequence[Port]) -> None:
        """Take published ports back; nothing where the rules are gone."""
        text = ports.change("delete", bridge.table, published, address)
        with _missing_is_well():
            self._do(f"nft {text}", lambda: self._nft.run(text))

    def enslave(self, bridge: Bridge, link: str) -> None:
        """Put the host's end of a running container back on a bridge that was made anew."""
        self._do(
            f"ip link set {link} master {bridge.name} up",
            lambda: self.netlink.set_link(link, master=bridge.name, up=True),
        )

    def delete_link(self, name: str) -> None:
        """Remove the host's end of a container that is no more; nothing where it went by itself meanwhile."""
        with _missing_is_well():
            self._do(f"ip link delete {name}", lambda: self.netlink.delete_link(name))

    def close(self) -> None:
        """Close the socket and free the library; what was made stays."""
        self.netlink.close()
        self._nft.close()

    def occupied(self, bridge_name: str = "") -> list[str]:
        """The prefixes that the host has routes and addresses for, other than over this bridge itself."""
        own = self.netlink.find_link(bridge_name) if bridge_name else None
        index = own.index if own else 0
        routes = [r.destination for r in self.netlink.routes() if not index or r.index != index]
        return routes + [a.address for a in self.netlink.addresses() if not index or a.index != index]

    def _make(self, bridge: Bridge, undo: ExitStack) -> Link:
        """The link, still down: what must hold before the first packet is set before it goes up."""
        mac = mac_of(IPv4Interface(bridge.address).ip)
        self._do(
            f"ip link add {bridge.name} address {mac} mtu {bridge.mtu} type bridge stp_state 0 forward_delay 0",
            lambda: self.netlink.bridge(bridge.name, mac=mac, mtu=bridge.mtu),
        )
        undo.callback(self.netlink.delete_link, bridge.name)
        # No IPv6 on a bridge that has no IPv6 subnet: a container's router advertisements would be the host's new
        # routes (CVE-2020-13401), and link-local addresses a way round the rules.
        self._sysctl(f"ipv6/conf/{bridge.name}/disable_ipv6", "1", optional=True)
        # The host's 127/8 is never reached from a container, whatever its routing table says (CVE-2020-8558).
        self._sysctl(f"ipv4/conf/{bridge.name}/route_localnet", "0")
        return self.netlink.link(bridge.name)

    def _address(self, bridge: Bridge, link: Link) -> None:
        if bridge.address not in {a.address for a in self.netlink.addresses() if a.index == link.index}:
            self._do(
                f"ip address add {bridge.address} dev {bridge.name}",
                lambda: self.netlink.add_address(bridge.name, bridge.address),
            )
        if not link.flags & LinkFlag.UP:
            self._do(f"ip link set {bridge.name} up", lambda: self.netlink.set_link(bridge.name, up=True))

    def _route_localnet(self, bridge: Bridge) -> None:
        """Let a published port be reached on the host's 127.0.0.1.

        The host's packets leave over the bridge with a masqueraded source; their answers are for 127.0.0.1 again, and
        would be dropped as martians. What containers send to 127/8 themselves is dropped by our rules in raw.
        """
        self._sysctl(f"ipv4/conf/{bridge.name}/route_localnet", "1")

    def _rules(self, bridge: Bridge, published: Sequence[tuple[str, Sequence[Port]]]) -> None:
        known = self._rules_as_made.get(bridge.table)
        if known is not None and self._listing(bridge.table) == known:
            return
        texts = [ports.change("add", bridge.table, wanted, address) for address, wanted in published]
        text = ruleset(bridge) + "\n".join(texts)
        self._do(f"nft -f - # table inet {bridge.table}", lambda: self._nft.run(text))
        self._rules_as_made[bridge.table] = self._listing(bridge.table)

    def _listing(self, table: str) -> str:
        try:
            return self._nft.run(f"list table inet {table}", is_terse=True)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return ""
            raise

    def _has_table(self, table: str) -> bool:
        """Whether there is a table; where nft is missing or may not be used, nobody can have made one by it."""
        try:
            return f"table inet {table}" in self._nft.run("list tables inet").splitlines()
        except Unavailable:
            return False
        except KernelError as error:
            if error.errno == errno.EPERM:
                return False
            raise

    def _sysctl(self, name: str, value: str, *, optional: bool = False) -> None:
        """Write one value below /proc/sys/net unless it is already so; `optional`: where the kernel has it."""
        path = f"{_SYSCTL}/{name}"
        try:
            with open(path) as file:
                if file.read().strip() == value:
                    return
            self._do(f"sysctl -w net.{name.replace('/', '.')}={value}", lambda: _write(path, value))
        except OSError as error:
            if optional and error.errno == errno.ENOENT:
                return
            raise KernelError("write", path, error.errno or errno.EIO) from error

    def _do(self, shown: str, action: Callable[[], object]) -> None:
        with observed(self._observer, _WHO, shown):
            action()


def ruleset(bridge: Bridge) -> str:
    """The engine's whole table as one transaction that replaces what was there.

    Into the bridge comes only what answers its containers, what was published (`dnat`) and what they say to each
    other; so no container of another bridge and no neighbour of the host reaches an unpublished port, whoever made the
    other bridge. The host itself does not pass `forward`. The two last masquerades are for published ports: from the
    host's loopback, and from a container back to its own bridge, where the answer must come by way of the host.
    """
    name, table = bridge.name, bridge.table
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    map ports {{
        type inet_proto . inet_service : ipv4_addr . inet_service
    }}
    map ports_at {{
        type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
    }}
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        iifname "{name}" ip daddr 127.0.0.0/8 drop
        iifname "{name}" ip saddr 127.0.0.0/8 drop
    }}
    chain publish {{
        fib daddr type != local return
        meta nfproto ipv4 dnat ip to ip daddr . meta l4proto . th dport map @ports_at
        meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports
    }}
    chain publish_arriving {{
        type nat hook prerouting priority dstnat; policy accept;
        jump publish
    }}
    chain publish_local {{
        type nat hook output priority -100; policy accept;
        jump publish
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname "{name}" iifname "{name}" accept
        oifname "{name}" ct state established,related accept
        oifname "{name}" ct status dnat accept
        oifname "{name}" drop
        iifname "{name}" accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {bridge.subnet} oifname != "{name}" masquerade
        ip saddr 127.0.0.0/8 oifname "{name}" masquerade
        ip saddr {bridge.subnet} oifname "{name}" ct status dnat masquerade
    }}
}}
"""


@contextmanager
def _missing_is_well() -> Iterator[None]:
    try:
        yield
    except KernelError as error:
        if error.errno not in (errno.ENODEV, errno.ENOENT):
            raise


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
