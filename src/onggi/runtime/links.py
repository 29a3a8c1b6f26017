"""Steps that make a container's links and give them their addresses. Loaded with a plan that has some only.

Those with `keeper` in their docstring run in the keeper, on the host's side; the rest in the init. You come from `steps`;
the order is `plan`'s; read next: `kernel/netlink`.
"""

from __future__ import annotations

import os

from onggi.kernel.netlink import Netlink
from onggi.kernel.rtnetlink import Route
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class MakeVeth:
    """In the keeper: a pair of links, one end on the bridge, the other born in the container's network namespace."""

    host_name: str
    name: str
    bridge: str
    mac: str
    mtu: int
    hairpin: bool
    why: str

    def describe(self) -> str:
        return (
            f"ip link add {self.host_name} master {self.bridge} mtu {self.mtu} type veth "
            f"peer {self.name} netns $INIT address {self.mac}"
        )

    def apply(self, context: Context) -> None:
        # The init may not have entered the namespace made ahead yet, so that one is named by its descriptor.
        ahead = context.network >= 0
        netns = os.dup(context.network) if ahead else os.open(f"/proc/{context.child}/ns/net", os.O_RDONLY)
        try:
            with Netlink() as netlink:
                netlink.veth(
                    self.host_name,
                    self.name,
                    peer_netns_fd=netns,
                    master=self.bridge,
                    mac=self.mac,
                    mtu=self.mtu,
                    hairpin=self.hairpin,
                )
        finally:
            os.close(netns)


@dataclass(frozen=True, slots=True)
class ConfigureLink:
    """Addresses and routes of a link inside."""

    name: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    why: str

    def describe(self) -> str:
        parts = [f"ip addr add {address} dev {self.name}" for address in self.addresses]
        parts += [f"ip link set {self.name} up"]
        parts += [f"ip route add default via {gateway}" for gateway in self.gateways]
        return "; ".join(parts)

    def apply(self, context: Context) -> None:
        with Netlink() as netlink:
            netlink.configure(
                self.name,
                self.addresses,
                tuple(Route("default", gateway=gateway, link=self.name) for gateway in self.gateways),
            )
