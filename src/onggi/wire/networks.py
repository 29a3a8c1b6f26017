"""Networks on the wire: endpoints, a container's settings, the network document.

Data only. Callers: `host_config`, `containers`, the engine, the API.
"""

# ruff: noqa: RUF012 - msgspec copies a mutable default for each new struct
from __future__ import annotations

from typing import Any, ClassVar

from onggi.wire.document import Document, Int64


class PortBinding(Document, frozen=True, kw_only=True):
    """A port of the host; an empty `host_port` is chosen by the engine."""

    host_ip: str = ""
    host_port: str = ""


class EndpointIPAM(Document, frozen=True, kw_only=True):
    """Addresses that were asked for."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"ipv4_address", "ipv6_address", "link_local_ips"})
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: list[str] | None = None


class EndpointSettings(Document, frozen=True, kw_only=True):
    """A container's end on one network: what was asked for, and what it got."""

    ipam_config: EndpointIPAM | None = None
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: Int64 = 0
    network_id: str = ""
    endpoint_id: str = ""
    gateway: str = ""
    ip_address: str = ""
    ip_prefix_len: Int64 = 0
    ipv6_gateway: str = ""
    global_ipv6_address: str = ""
    global_ipv6_prefix_len: Int64 = 0
    dns_names: list[str] | None = None


class NetworkingConfig(Document, frozen=True, kw_only=True):
    """The networks that a container is made on, by name."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class NetworkSettings(Document, frozen=True, kw_only=True):
    """A container's whole network, as inspect shows it; the flat fields repeat the default bridge's endpoint."""

    bridge: str = ""
    sandbox_id: str = ""
    sandbox_key: str = ""
    ports: dict[str, list[PortBinding] | None] = {}
    hairpin_mode: bool = False
    link_local_ipv6_address: str = ""
    link_local_ipv6_prefix_len: Int64 = 0
    secondary_ip_addresses: list[Any] | None = None
    secondary_ipv6_addresses: list[Any] | None = None
    endpoint_id: str = ""
    gateway: str = ""
    global_ipv6_address: str = ""
    global_ipv6_prefix_len: Int64 = 0
    ip_address: str = ""
    ip_prefix_len: Int64 = 0
    ipv6_gateway: str = ""
    mac_address: str = ""
    networks: dict[str, EndpointSettings] = {}


class SummaryNetworks(Document, frozen=True, kw_only=True):
    """The networks of a container in the list."""

    networks: dict[str, EndpointSettings] = {}


class IPAMPool(Document, frozen=True, kw_only=True):
    """One pool of addresses."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"subnet", "ip_range", "gateway", "auxiliary_addresses"})
    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None


class IPAM(Document, frozen=True, kw_only=True):
    """Who gives addresses out, and which."""

    driver: str = "default"
    options: dict[str, str] | None = None
    config: list[IPAMPool] | None = None


class ConfigReference(Document, frozen=True, kw_only=True):
    """The network whose configuration another one takes."""

    network: str = ""


class NetworkContainer(Document, frozen=True, kw_only=True):
    """A container as its network shows it; addresses carry their prefix length."""

    name: str = ""
    endpoint_id: str = ""
    mac_address: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""


class Network(Document, frozen=True, kw_only=True):
    """A network: `GET /networks/{id}`, and an element of `GET /networks`."""

    name: str = ""
    id: str = ""
    created: str = "0001-01-01T00:00:00Z"
    scope: str = "local"
    driver: str = ""
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam: IPAM = IPAM()
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = ConfigReference()
    config_only: bool = False
    containers: dict[str, NetworkContainer] = {}
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class NetworkCreate(Document, frozen=True, kw_only=True):
    """The body of `POST /networks/create`."""

    name: str = ""
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    ipam: IPAM | None = None
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference | None = None
    config_only: bool = False
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreated(Document, frozen=True, kw_only=True):
    """The answer to `POST /networks/create`."""

    id: str
    warning: str = ""
