"""Networks: the use cases. Which exist, who is on them, and that the kernel has what they need.

The engine decides addresses and makes the bridge; the links of a container are made by its keeper and its init, from
the values that `network/endpoint.links` gives. Everything that asks the kernel runs in one thread of its own, in order,
so nothing here waits for the kernel in the event loop, and no two transactions meet.
Callers: `engine/containers`, `api/routes/networks`. Read next: `network/bridge`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TypeVar

from onggi.engine import network_views
from onggi.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, Unsupported
from onggi.kernel.netlink import Netlink
from onggi.kernel.nft import Nft
from onggi.network import ipam, records
from onggi.network.bridge import Bridge, Bridges, bridge_name
from onggi.network.endpoint import Endpoint, host_link_name, new_id
from onggi.network.ipam import DEFAULT_POOLS, Addresses, AddressPool
from onggi.network.ports import Port, Reservations
from onggi.network.records import NetworkRecord
from onggi.trace import Observer
from onggi.wire.filters import Filters
from onggi.wire.networks import Network, NetworkCreate, NetworkCreated

T = TypeVar("T")
_log = logging.getLogger("onggi.networks")

_MTU = 1500
_IPV6 = "/proc/sys/net/ipv6"
"""Not there where the kernel was booted without IPv6."""
_HOST_LINK = re.compile(r"v[0-9a-f]{8}[0-9]")
_HOST_LINKS = 10
"""Names for the host's end of one container: the old link may outlive the container's last run by a moment."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the engine was told about its networks."""

    instance: str
    path: str
    """The file that keeps them."""
    bip: str = ""
    """`--bip`: address and prefix length of the default bridge."""
    pools: Sequence[AddressPool] = DEFAULT_POOLS
    mtu: int = _MTU


class Networks:
    """All networks of one engine. `start` comes first, `stop` last."""

    def __init__(
        self, options: Options, observer: Observer, name_of: Callable[[str], str] = lambda container: container[:12]
    ) -> None:
        """`name_of` gives a container's name by its id, for the network's own document."""
        self._options = options
        self._observer = observer
        self._name_of = name_of
        self._networks: dict[str, NetworkRecord] = {}
        self._addresses: dict[str, Addresses] = {}
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._worker = ThreadPoolExecutor(1, "network")
        self._bridges: Bridges | None = None
        self._reservations = Reservations()
        self._lock = asyncio.Lock()

    async def start(self, endpoints: Iterable[Endpoint] = ()) -> None:
        """Read or make the networks, take back what running containers have, remove what nobody owns."""
        kept: Sequence[NetworkRecord] = await self._kernel(records.load, self._options.path)
        if not kept:
            kept = await self._kernel(self._default_networks)
            await self._kernel(records.save, self._options.path, kept)
        self._networks = {record.id: record for record in kept}
        self._addresses = {r.id: _addresses(r) for r in kept if r.address}
        await self.restore(endpoints)
        await self.sweep()
        await self._apply_bip()

    async def stop(self) -> None:
        """Let go; the bridge stays while a container is on it, and goes when none is."""
        async with self._lock:
            await self._remove_unused()
            await self._kernel(self._close)
        self._worker.shutdown()

    async def list(self, filters: Filters | None = None) -> list[Network]:
        """The networks that match, by name."""
        asked = filters or Filters()
        found = [record for record in self._networks.values() if network_views.matches(record, asked)]
        return [network_views.network(r, (), self._name_of) for r in sorted(found, key=lambda r: r.name)]

    async def inspect(self, name: str) -> Network:
        """One network by id, name or start of an id, with its containers."""
        record = self._find(name)
        members = (e for endpoints in self._endpoints.values() for e in endpoints if e.network_id == record.id)
        return network_views.network(record, members, self._name_of)

    async def create(self, wanted: NetworkCreate) -> NetworkCreated:
        """Refused by name: networks of the users' own are not there yet."""
        if any(record.name == wanted.name for record in self._networks.values()):
            raise Conflict(
                "create network",
                wanted.name,
                "the name is taken",
                code="network.name-in-use",
                facts={"name": wanted.name},
            )
        raise Unsupported(
            "create network",
            wanted.name,
            "user-defined networks are not supported yet",
            hint="the networks bridge, host and none exist",
        )

    async def remove(self, name: str) -> None:
        """Forbidden for the three networks that every engine has."""
        record = self._find(name)
        raise Forbidden(
            "remove network",
            record.name,
            "it is pre-defined",
            code="network.predefined",
            facts={"name": record.name},
        )

    async def attach(
        self, container_id: str, mode: str = "", *, mac: str = "", address: str = "", ports: Sequence[Port] = ()
    ) -> Sequence[Endpoint]:
        """Give a container its endpoint for a start; `mode` is `HostConfig.NetworkMode`.

        `container:…` gives none, because that container's namespace has one; `host` and `none` give an endpoint
        without a link. `address` is refused on the default bridge, as Docker does. What a container had is released.
        `ports` are published where there is a bridge; Conflict when somebody has one of them, and nothing is kept.
        """
        if mode.startswith("container:"):
            return ()
        record = self._find("bridge" if mode in ("", "default") else mode)
        if address:
            cause = "user specified IP address is supported on user defined networks only"
            raise Invalid("attach", container_id[:12], cause, code="text")
        async with self._lock:
            await self.detach(container_id)
            endpoint = Endpoint(new_id(), record.id, record.name, record.driver, container_id)
            if record.bridge:
                endpoint = await self._plug(endpoint, mac)
            if endpoint.address and ports:
                endpoint = await self._publish(endpoint, ports)
            self._endpoints[container_id] = (endpoint,)
        return (endpoint,)

    async def preview(self, container_id: str, mode: str = "") -> Sequence[Endpoint]:
        """What `attach` would give if nothing came in between; nothing is made or taken."""
        if mode.startswith("container:"):
            return ()
        record = self._find("bridge" if mode in ("", "default") else mode)
        endpoint = Endpoint(new_id(), record.id, record.name, record.driver, container_id)
        if not record.bridge:
            return (endpoint,)
        address = self._addresses[record.id].peek()
        return (self._plugged(endpoint, host_link_name(self._options.instance, container_id, 0), address, ""),)

    async def detach(self, container_id: str) -> None:
        """Release the addresses of a container that has ended; its links go with its namespace."""
        for endpoint in self._endpoints.pop(container_id, ()):
            try:
                if endpoint.ports:
                    await self._kernel(self._withdraw, endpoint)
            finally:
                self._release(endpoint)

    def endpoints(self, container_id: str) -> Sequence[Endpoint]:
        """What a container has now."""
        return tuple(self._endpoints.get(container_id, ()))

    async def restore(self, endpoints: Iterable[Endpoint]) -> None:
        """Take back the endpoints of containers that run, after a restart of the engine."""
        for endpoint in endpoints:
            self._endpoints[endpoint.container_id] = (*self.endpoints(endpoint.container_id), endpoint)
            if endpoint.address and endpoint.network_id in self._addresses:
                with suppress(Invalid, Conflict):  # it has the address, whatever the records say of it
                    self._addresses[endpoint.network_id].reserve(_bare(endpoint))
        async with self._lock:
            for record in self._networks.values():
                if record.bridge and self._members(record):
                    await self._kernel(self._hold_ports, record)
                    await self._kernel(self._make, record)

    async def sweep(self) -> None:
        """Remove what this engine's name is on and no container owns: links on its bridge, and an unused bridge."""
        async with self._lock:
            for record in self._networks.values():
                if record.bridge:
                    owned = {endpoint.host_link for endpoint in self._members(record)}
                    await self._kernel(self._remove_orphans, record.bridge, owned)
            await self._remove_unused()

    async def _remove_unused(self) -> None:
        for record in self._unused_bridges():
            try:
                await self._kernel(self._opened().remove, self._bridge(record))
            except (
                Unavailable
            ) as error:  # without netfilter there is no table either; `none` and `host` work all the same
                _log.warning("%s; networks of the driver bridge will not work (%s)", error, error.hint)

    # inside the event loop

    async def _plug(self, endpoint: Endpoint, mac: str) -> Endpoint:
        """The endpoint with its link and address; the bridge is there when this returns."""
        host_link = await self._kernel(self._ready, self._networks[endpoint.network_id], endpoint.container_id)
        if host_link is None:
            await self._move_aside(self._networks[endpoint.network_id])
            await self._kernel(self._make, self._networks[endpoint.network_id])
            host_link = await self._kernel(self._free_link, endpoint.container_id)
        address = self._addresses[endpoint.network_id].allocate()
        return self._plugged(endpoint, host_link, address, mac)

    def _plugged(self, endpoint: Endpoint, host_link: str, address: IPv4Address, mac: str) -> Endpoint:
        record, pool = self._networks[endpoint.network_id], self._addresses[endpoint.network_id]
        return replace(
            endpoint,
            bridge=record.bridge,
            host_link=host_link,
            container_link="eth0",
            mac=mac or ipam.mac_of(address),
            address=f"{address}/{pool.subnet.prefixlen}",
            gateway=str(pool.gateway),
            mtu=record.mtu,
            ipv6_off=os.path.exists(_IPV6),
        )

    async def _publish(self, endpoint: Endpoint, ports: Sequence[Port]) -> Endpoint:
        """The endpoint with its ports as they were chosen; without them its address is given back."""
        try:
            chosen = await self._kernel(self._lead, endpoint, ports, self._name_of(endpoint.container_id))
        except BaseException:
            self._release(endpoint)
            raise
        return replace(endpoint, ports=chosen)

    def _release(self, endpoint: Endpoint) -> None:
        if endpoint.address and endpoint.network_id in self._addresses:
            self._addresses[endpoint.network_id].release(_bare(endpoint))

    async def _move_aside(self, record: NetworkRecord) -> None:
        """Choose another subnet if the host got a route into this one and no container is in it yet."""
        if self._options.bip or self._members(record):
            return
        occupied = await self._kernel(self._opened().occupied, record.bridge)
        if ipam.overlaps(IPv4Interface(record.address).network, occupied):
            chosen = ipam.choose_subnet(self._options.pools, occupied)
            await self._readdress(record, _first_host(chosen))

    async def _apply_bip(self) -> None:
        """Give the default bridge the address of `--bip`, unless containers live behind another."""
        if not self._options.bip:
            return
        subnet, gateway = ipam.parse_bip(self._options.bip)
        wanted = f"{gateway}/{subnet.prefixlen}"
        for record in list(self._networks.values()):
            if record.is_default and record.bridge and record.address != wanted and not self._members(record):
                await self._readdress(record, wanted)

    async def _readdress(self, record: NetworkRecord, address: str) -> None:
        changed = replace(record, address=address)
        self._networks[record.id] = changed
        self._addresses[record.id] = _addresses(changed)
        await self._kernel(records.save, self._options.path, list(self._networks.values()))

    def _find(self, name: str) -> NetworkRecord:
        """By id, then name, then the start of an id."""
        known = self._networks.values()
        exact = self._networks.get(name) or next((r for r in known if r.name == name), None)
        begun = [exact] if exact else [r for r in known if name and r.id.startswith(name)]
        if len(begun) > 1:
            cause = f"network {name} is ambiguous ({len(begun)} matches found based on ID prefix)"
            raise Invalid("find network", name, cause, code="text")
        if not begun:
            raise NotFound.of("network", name)
        return begun[0]

    def _members(self, record: NetworkRecord) -> Sequence[Endpoint]:
        return [e for endpoints in self._endpoints.values() for e in endpoints if e.network_id == record.id]

    def _unused_bridges(self) -> Sequence[NetworkRecord]:
        return [r for r in self._networks.values() if r.bridge and not self._members(r)]

    def _bridge(self, record: NetworkRecord) -> Bridge:
        return Bridge(record.bridge, self._options.instance, record.address, record.mtu)

    async def _kernel(self, action: Callable[..., T], *arguments: object) -> T:
        """Run in the one thread that talks to the kernel."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, action, *arguments)

    # inside the worker's thread

    def _opened(self) -> Bridges:
        if self._bridges is None:
            self._bridges = Bridges(Netlink(), Nft(), self._observer)
        return self._bridges

    def _close(self) -> None:
        self._reservations.close()
        if self._bridges:
            self._bridges.close()
        self._bridges = None

    def _default_networks(self) -> Sequence[NetworkRecord]:
        """The three that every engine has, with a subnet that no route of the host leads into."""
        instance, now = self._options.instance, time.time_ns()
        if self._options.bip:
            subnet, gateway = ipam.parse_bip(self._options.bip)
            address = f"{gateway}/{subnet.prefixlen}"
        else:
            address = _first_host(
                ipam.choose_subnet(self._options.pools, self._opened().occupied(bridge_name(instance)))
            )
        bridge = NetworkRecord(
            new_id(), "bridge", "bridge", now, bridge_name(instance), address, self._options.mtu, is_default=True
        )
        plain = (NetworkRecord(new_id(), n, d, now, is_default=True) for n, d in (("host", "host"), ("none", "null")))
        return [bridge, *plain]

    def _ready(self, record: NetworkRecord, container_id: str) -> str | None:
        """The free name for the container's link, if the bridge lacks nothing."""
        return self._free_link(container_id) if self._opened().is_intact(self._bridge(record)) else None

    def _make(self, record: NetworkRecord) -> None:
        """The bridge, with the containers that run back on it if it had gone."""
        bridges, bridge = self._opened(), self._bridge(record)
        published = [(_bare(endpoint), endpoint.ports) for endpoint in self._members(record) if endpoint.ports]
        if bridges.ensure(bridge, published):
            for endpoint in self._members(record):
                if bridges.netlink.find_link(endpoint.host_link):
                    bridges.enslave(bridge, endpoint.host_link)

    def _hold_ports(self, record: NetworkRecord) -> None:
        for endpoint in self._members(record):
            if endpoint.ports:
                with suppress(Conflict):  # a process took the port while no engine ran; the rules still lead to us
                    self._reservations.reserve(endpoint.container_id, endpoint.ports, name=endpoint.container_id[:12])

    def _lead(self, endpoint: Endpoint, ports: Sequence[Port], name: str) -> tuple[Port, ...]:
        chosen = self._reservations.reserve(endpoint.container_id, ports, name=name)
        try:
            self._opened().publish(self._bridge(self._networks[endpoint.network_id]), _bare(endpoint), chosen)
        except BaseException:
            self._reservations.release(endpoint.container_id)
            raise
        return chosen

    def _withdraw(self, endpoint: Endpoint) -> None:
        self._reservations.release(endpoint.container_id)
        self._opened().withdraw(self._bridge(self._networks[endpoint.network_id]), _bare(endpoint), endpoint.ports)

    def _free_link(self, container_id: str) -> str:
        for number in range(_HOST_LINKS):
            name = host_link_name(self._options.instance, container_id, number)
            if self._opened().netlink.find_link(name) is None:
                return name
        raise Conflict("attach", container_id[:12], f"{_HOST_LINKS} links of earlier runs are still there")

    def _remove_orphans(self, bridge: str, owned: set[str]) -> None:
        netlink = self._opened().netlink
        master = netlink.find_link(bridge)
        for link in netlink.links() if master else ():
            if master and link.master == master.index and _HOST_LINK.fullmatch(link.name) and link.name not in owned:
                self._opened().delete_link(link.name)


def _addresses(record: NetworkRecord) -> Addresses:
    interface = IPv4Interface(record.address)
    return Addresses(interface.network, interface.ip, network=record.name)


def _bare(endpoint: Endpoint) -> str:
    """The address without its prefix length."""
    return endpoint.address.partition("/")[0]


def _first_host(subnet: IPv4Network) -> str:
    return f"{subnet.network_address + 1}/{subnet.prefixlen}"
