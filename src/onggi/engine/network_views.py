"""Networks and endpoints as Docker's documents: pure functions from what `networks` keeps to what the API sends.

Callers: `networks`, the engine's container inspect. Read next: `networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Interface

from onggi.network.endpoint import Endpoint
from onggi.network.records import NetworkRecord
from onggi.wire.filters import Filters
from onggi.wire.gotime import rfc3339
from onggi.wire.networks import (
    IPAM,
    EndpointSettings,
    IPAMPool,
    Network,
    NetworkContainer,
    NetworkSettings,
    PortBinding,
)

_BRIDGE = "com.docker.network.bridge"


def network(record: NetworkRecord, endpoints: Iterable[Endpoint], name_of: Callable[[str], str]) -> Network:
    """A network with its containers; `name_of` gives a container's name by its id."""
    return Network(
        name=record.name,
        id=record.id,
        created=rfc3339(record.created),
        driver=record.driver,
        ipam=IPAM(config=_pools(record)),
        containers={endpoint.container_id: _member(endpoint, name_of) for endpoint in endpoints},
        options=_options(record),
        labels=dict(record.labels),
    )


def matches(record: NetworkRecord, filters: Filters) -> bool:
    """Whether a network is in a list that is narrowed by `filters`."""
    kind = "builtin" if record.is_default else "custom"
    if "dangling" in filters and filters.flag("dangling", default=False):
        return False  # what every engine has is never dangling
    return (
        filters.match_pattern("name", record.name)
        and filters.match_prefix("id", record.id)
        and filters.match("driver", record.driver)
        and filters.match("scope", "local")
        and filters.match("type", kind)
        and filters.match_labels(record.labels)
    )


def network_settings(
    endpoints: Sequence[Endpoint], *, sandbox_key: str = "", exposed: Iterable[str] = ()
) -> NetworkSettings:
    """A container's whole network; the flat fields repeat its endpoint on the default bridge.

    `exposed` are the ports (`80/tcp`) that the image or the user named: shown although nobody published them.
    """
    flat = next((endpoint for endpoint in endpoints if endpoint.network_name == "bridge"), None)
    shown = endpoint_settings(flat) if flat else EndpointSettings()
    return NetworkSettings(
        sandbox_id=flat.id if flat else "",
        sandbox_key=sandbox_key,
        ports=port_map(endpoints, exposed),
        endpoint_id=shown.endpoint_id,
        gateway=shown.gateway,
        global_ipv6_address=shown.global_ipv6_address,
        global_ipv6_prefix_len=shown.global_ipv6_prefix_len,
        ip_address=shown.ip_address,
        ip_prefix_len=shown.ip_prefix_len,
        ipv6_gateway=shown.ipv6_gateway,
        mac_address=shown.mac_address,
        networks={endpoint.network_name: endpoint_settings(endpoint) for endpoint in endpoints},
    )


def port_map(endpoints: Sequence[Endpoint], exposed: Iterable[str] = ()) -> dict[str, list[PortBinding] | None]:
    """What is published where, by the container's port; None for a port that is only exposed."""
    found: dict[str, list[PortBinding] | None] = dict.fromkeys(exposed)
    for port in (port for endpoint in endpoints for port in endpoint.ports):
        binding = PortBinding(host_ip=port.host_ip, host_port=str(port.host_port))
        found[port.inside] = [*(found.get(port.inside) or ()), binding]
    return found


def endpoint_settings(endpoint: Endpoint) -> EndpointSettings:
    """One endpoint, as a container's inspect and list show it."""
    address, _, length = endpoint.address.partition("/")
    address6, _, length6 = endpoint.address6.partition("/")
    return EndpointSettings(
        mac_address=endpoint.mac,
        network_id=endpoint.network_id,
        endpoint_id=endpoint.id,
        gateway=endpoint.gateway,
        ip_address=address,
        ip_prefix_len=int(length or 0),
        ipv6_gateway=endpoint.gateway6,
        global_ipv6_address=address6,
        global_ipv6_prefix_len=int(length6 or 0),
    )


def _member(endpoint: Endpoint, name_of: Callable[[str], str]) -> NetworkContainer:
    return NetworkContainer(
        name=name_of(endpoint.container_id),
        endpoint_id=endpoint.id,
        mac_address=endpoint.mac,
        ipv4_address=endpoint.address,
        ipv6_address=endpoint.address6,
    )


def _pools(record: NetworkRecord) -> list[IPAMPool] | None:
    if not record.address:
        return None
    interface = IPv4Interface(record.address)
    return [IPAMPool(subnet=str(interface.network), gateway=str(interface.ip))]


def _options(record: NetworkRecord) -> dict[str, str]:
    if not record.bridge:
        return {}
    return {
        f"{_BRIDGE}.default_bridge": "true" if record.is_default else "false",
        f"{_BRIDGE}.enable_icc": "true",
        f"{_BRIDGE}.enable_ip_masquerade": "true",
        f"{_BRIDGE}.host_binding_ipv4": "0.0.0.0",
        f"{_BRIDGE}.name": record.bridge,
        "com.docker.network.driver.mtu": str(record.mtu),
    }
