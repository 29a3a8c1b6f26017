"""A machine of the test's own: a namespace with engines' networks on it, and others in the place of containers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from network_world import Namespace
from onggi.engine.networks import Networks, Options
from onggi.kernel.netlink import Route
from onggi.kernel.nft import Nft
from onggi.network.endpoint import Endpoint, links
from onggi.trace import Trace

T = TypeVar("T")


class Machine:
    """A namespace that plays the machine, with engines on it and containers in namespaces of their own."""

    def __init__(self, directory: Path, undo: ExitStack) -> None:
        self.directory = directory
        self.undo = undo
        self.netns = Namespace()
        undo.callback(self.netns.close)
        self.trace = Trace()
        self._loop = asyncio.new_event_loop()
        undo.callback(self._loop.close)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in here; a thread that the work starts is in here, too."""
        with self.netns.inside():
            return self._loop.run_until_complete(work)

    def engine(self, instance: str = "onggi", **options: Any) -> Networks:
        """An engine's networks, not started yet."""
        path = str(self.directory / f"{instance}.json")
        return Networks(Options(instance, path, **options), self.trace)

    def started(self, instance: str = "onggi", endpoints: Sequence[Endpoint] = (), **options: Any) -> Networks:
        """An engine's networks."""
        networks = self.engine(instance, **options)
        self.do(networks.start(endpoints))
        return networks

    def container(self, endpoints: Sequence[Endpoint]) -> Namespace:
        """What keeper and init do with an endpoint, in a namespace of its own."""
        namespace = Namespace()
        with self.netns.netlink() as host, namespace.netlink() as inside:
            for link in links(endpoints):
                host.veth(
                    link["host_name"],
                    link["name"],
                    peer_netns_fd=namespace.fd,
                    master=link["bridge"],
                    mac=link["mac"],
                    mtu=link["mtu"],
                    hairpin=link["hairpin"],
                )
                routes = [Route(**route, link=link["name"]) for route in link["routes"]]
                for key, value in link["sysctls"].items():
                    with namespace.inside():
                        Path("/proc/sys", *key.split(".")).write_text(value)
                inside.configure(link["name"], link["addresses"], routes)
        return namespace

    def run(self, networks: Networks, container_id: str) -> tuple[Namespace, Endpoint]:
        """Attach and start a container, until the test's end."""
        endpoints = self.do(networks.attach(container_id))
        namespace = self.container(endpoints)
        self.undo.callback(namespace.close)
        return namespace, endpoints[0]

    def nft(self, text: str) -> str:
        """Run nft in here."""
        with self.netns.inside():
            nft = Nft()
            try:
                return nft.run(text)
            finally:
                nft.close()

    def state(self) -> tuple[list[str], list[str], list[Route], str]:
        """Links, addresses, routes and rules."""
        with self.netns.netlink() as netlink:
            names = sorted(link.name for link in netlink.links())
            return names, sorted(a.address for a in netlink.addresses()), netlink.routes(), self.nft("list ruleset")

    def outside(self) -> Namespace:
        """A neighbour of the machine in 203.0.113.0/24 that knows no way back to any container."""
        outside = Namespace()
        self.undo.callback(outside.close)
        with self.netns.netlink() as netlink, outside.netlink() as inside:
            netlink.veth("uplink", "eth0", peer_netns_fd=outside.fd)
            netlink.configure("uplink", ["203.0.113.1/24"], [Route(gateway="203.0.113.2", link="uplink")])
            inside.configure("eth0", ["203.0.113.2/24"])
        return outside
