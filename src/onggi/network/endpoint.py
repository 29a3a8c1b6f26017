"""A container's end on one network: the record of it, and what the runtime must do to make it real.

The engine decides and records; it makes no link of a container. The keeper makes the veth pair, with the peer born in
the container's namespace, and the init gives it address and route inside: both from the values of `links`. Nobody takes
a link down: it goes with the container's namespace, in the kernel's own time (an explicit removal would hold the caller
for 10 to 50 ms). Callers: `engine/networks`, the engine's spec. Read next: `runtime/steps`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onggi.network.ports import Port, from_records

CONTAINER_LINK = "eth"
"""The start of a link's name inside: `eth0` for the first network."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One container on one network; an endpoint of the drivers `host` and `null` has no link, so no address either."""

    id: str
    network_id: str
    network_name: str
    driver: str
    """`bridge`, `host` or `null`."""
    container_id: str
    bridge: str = ""
    host_link: str = ""
    container_link: str = ""
    mac: str = ""
    address: str = ""
    """With its prefix length: `172.17.0.2/16`."""
    gateway: str = ""
    address6: str = ""
    gateway6: str = ""
    mtu: int = 0
    ipv6_off: bool = False
    """Whether IPv6 is to be switched off inside: the kernel has it, and the network does not."""
    ports: tuple[Port, ...] = ()
    """Published ports, with the host's numbers as they were chosen."""

    def to_record(self) -> dict[str, Any]:
        """The endpoint as a JSON-able value, to be kept with the container."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Endpoint:
        """The endpoint that `to_record` took apart."""
        return cls(**{**record, "ports": from_records(record.get("ports", ()))})


def new_id() -> str:
    """A random identity of 64 hex digits, as Docker gives networks and endpoints."""
    return secrets.token_hex(32)


def host_link_name(instance: str, container_id: str, number: int) -> str:
    """The host's end: `v`, eight digits that stand for engine and container, and a number from 0 to 9."""
    return f"v{hashlib.sha256(f'{instance} {container_id}'.encode()).hexdigest()[:8]}{number}"


def links(endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    """What the runtime carries out, one JSON-able value for each link; the first gateway is the default route's.

    `kind`, `host_name`, `bridge`, `mtu` and `hairpin` are for the keeper; `name`, `mac`, `addresses`, `routes`
    and `sysctls` (written before the link goes up) for the inside.
    """
    made: list[dict[str, Any]] = []
    for endpoint in endpoints:
        if endpoint.driver == "bridge":
            made.append(_link(endpoint, is_first=not made))
    return made


def _link(endpoint: Endpoint, *, is_first: bool) -> dict[str, Any]:
    gateways = [g for g in (endpoint.gateway, endpoint.gateway6) if g] if is_first else []
    return {
        "kind": "veth",
        "host_name": endpoint.host_link,
        "name": endpoint.container_link,
        "bridge": endpoint.bridge,
        "mac": endpoint.mac,
        "mtu": endpoint.mtu,
        "addresses": [a for a in (endpoint.address, endpoint.address6) if a],
        "routes": [{"destination": "default", "gateway": gateway} for gateway in gateways],
        "hairpin": bool(endpoint.ports),
        # Without an IPv6 address no link-local one either: it would be a way round the rules, and a neighbour's router
        # advertisements would be believed (CVE-2020-13401).
        "sysctls": {f"net.ipv6.conf.{endpoint.container_link}.disable_ipv6": "1"} if endpoint.ipv6_off else {},
    }
