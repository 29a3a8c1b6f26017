"""Which subnet a network gets, and which address an endpoint: pure decisions, no system call.

A subnet is never one that the host already has a route into. Addresses are given out in order and round the subnet
(next fit), so that an address that was just released is the last to be used again: nobody's late packets, and no stale
neighbour entry, meet a new container. Callers: `engine/networks`. Read next: `bridge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_network

from onggi.errors import Conflict, Invalid, LimitExceeded


@dataclass(frozen=True, slots=True)
class AddressPool:
    """A range that is cut into subnets of `size` bits: `--default-address-pool base=10.9.0.0/16,size=24`."""

    base: IPv4Network
    size: int

    @classmethod
    def parse(cls, text: str) -> AddressPool:
        """The option's value as a pool."""
        fields = dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)
        try:
            pool = cls(IPv4Network(fields["base"]), int(fields["size"]))
        except (KeyError, ValueError) as error:
            raise Invalid("read address pool", text, str(error), hint="base=10.9.0.0/16,size=24") from error
        if not pool.base.prefixlen <= pool.size <= 30:
            raise Invalid("read address pool", text, f"size must be from {pool.base.prefixlen} to 30")
        return pool


DEFAULT_POOLS: tuple[AddressPool, ...] = tuple(
    AddressPool(IPv4Network(base), size)
    for base, size in (
        ("172.17.0.0/16", 16),
        ("172.18.0.0/16", 16),
        ("172.19.0.0/16", 16),
        ("172.20.0.0/14", 16),
        ("172.24.0.0/14", 16),
        ("172.28.0.0/14", 16),
        ("192.168.0.0/16", 20),
    )
)
"""The ranges that Docker takes its subnets from."""
_WIDEST_SUBNET = 8
"""A shorter prefix is nobody's subnet."""


def parse_bip(text: str) -> tuple[IPv4Network, IPv4Address]:
    """`--bip 10.9.0.1/24` as subnet and gateway."""
    try:
        interface = IPv4Interface(text)
    except ValueError as error:
        raise Invalid("read bridge address", text, str(error), hint="--bip 10.9.0.1/24") from error
    subnet = interface.network
    if subnet.prefixlen > 30 or interface.ip in (subnet.network_address, subnet.broadcast_address):
        raise Invalid("read bridge address", text, "not the address of a host in a subnet", hint="--bip 10.9.0.1/24")
    return subnet, interface.ip


def choose_subnet(pools: Sequence[AddressPool], occupied: Iterable[str]) -> IPv4Network:
    """The first subnet of `pools` that overlaps none of `occupied` (prefixes of routes, `default` among them).

    Where routes wider than /8 cover everything (a VPN that cuts the default route into halves), they count as the
    default routes that they are.
    """
    routes = [net for text in occupied if (net := _v4(text)) is not None]
    narrow = [net for net in routes if net.prefixlen >= _WIDEST_SUBNET]
    for taken in (routes, narrow):
        for pool in pools:
            for subnet in _cut(pool, taken):
                if not any(subnet.overlaps(net) for net in taken):
                    return subnet
    raise LimitExceeded(
        "choose subnet",
        "",
        "all predefined address pools have been fully subnetted",
        hint="give a range of your own with --bip or --default-address-pool",
        code="text",
    )


def overlaps(subnet: IPv4Network, occupied: Iterable[str]) -> bool:
    """Whether a route of the host leads into `subnet`."""
    return any(subnet.overlaps(net) for text in occupied if (net := _v4(text)) is not None)


class Addresses:
    """The addresses of one subnet: which are given out, and where to look for the next."""

    __slots__ = ("_cursor", "_network", "_taken", "gateway", "subnet")

    def __init__(self, subnet: IPv4Network, gateway: IPv4Address, *, network: str) -> None:
        """`network` is the network's name for the error when no address is left."""
        self.subnet = subnet
        self.gateway = gateway
        self._network = network
        self._taken: set[int] = {int(subnet.network_address), int(subnet.broadcast_address), int(gateway)}
        self._cursor = int(subnet.network_address)

    def allocate(self) -> IPv4Address:
        """The next free address after the one that was given out last; it is taken now."""
        address = self.peek()
        self._taken.add(int(address))
        self._cursor = int(address)
        return address

    def peek(self) -> IPv4Address:
        """The address that `allocate` would give; LimitExceeded when none is left."""
        first, size = int(self.subnet.network_address), self.subnet.num_addresses
        if len(self._taken) < size:
            for step in range(1, size + 1):
                candidate = first + (self._cursor - first + step) % size
                if candidate not in self._taken:
                    return IPv4Address(candidate)
        raise LimitExceeded(
            "allocate address",
            self._network,
            f"no available IPv4 addresses on this network's address pools: {self._network}",
            code="text",
            facts={"network": self._network},
        )

    def reserve(self, address: str) -> IPv4Address:
        """Take this very address: one that was asked for, or one that a running container has."""
        try:
            wanted = IPv4Address(address)
        except ValueError as error:
            raise Invalid("reserve address", address, f"invalid IPv4 address: {address}", code="text") from error
        if wanted not in self.subnet:
            raise Invalid(
                "reserve address", address, f"no configured subnet contains IP address {address}", code="text"
            )
        if int(wanted) in self._taken:
            raise Conflict("reserve address", address, "Address already in use", code="text")
        self._taken.add(int(wanted))
        return wanted

    def release(self, address: str) -> None:
        """Give an address back; the subnet's own (network, broadcast, gateway) stay taken."""
        number = int(IPv4Address(address))
        own = (self.subnet.network_address, self.subnet.broadcast_address, self.gateway)
        if number not in map(int, own):
            self._taken.discard(number)


def mac_of(address: IPv4Address) -> str:
    """The MAC address that goes with an address: `02:42:` and its four bytes, unique where the address is."""
    return "02:42:" + address.packed.hex(":")


def _cut(pool: AddressPool, taken: Sequence[IPv4Network]) -> Iterable[IPv4Network]:
    """The pool's subnets; none at all where one route swallows the whole pool, which spares thousands of questions."""
    if any(pool.base.subnet_of(net) for net in taken):
        return ()
    return pool.base.subnets(new_prefix=pool.size)


def _v4(text: str) -> IPv4Network | None:
    """A route's prefix; None for the default route, which every subnet would overlap, and for IPv6."""
    if text == "default" or ":" in text:
        return None
    network = ip_network(text, strict=False)
    return network if isinstance(network, IPv4Network) and network.prefixlen else None
