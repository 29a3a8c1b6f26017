"""What a create request wants of its network beyond the mode: a MAC address is given, the rest refused by name.

Pure. Callers: `refusals`, `creation`, `lifecycle`. Read next: `networks`.
"""

from __future__ import annotations

import re

from onggi.errors import Invalid, Unsupported
from onggi.wire.containers import ContainerCreate
from onggi.wire.networks import EndpointSettings

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")


def check(body: ContainerCreate) -> None:
    """Invalid in Docker's words, Unsupported for what does not exist yet."""
    network = _network(body)
    for name, settings in _endpoints(body).items():
        if _normal(name) != network:
            cause = f"{name!r} beside {network!r}: more than the network of --network is not supported yet"
            raise Unsupported("create container with", "NetworkingConfig.EndpointsConfig", cause)
        _check_settings(network, settings)
    _check_mac(body, network)


def mac(body: ContainerCreate) -> str:
    """The MAC address that was asked for, empty for any."""
    of_endpoint = next((settings.mac_address for settings in _endpoints(body).values()), "")
    return (of_endpoint or body.config.mac_address).lower().replace("-", ":")


def _network(body: ContainerCreate) -> str:
    return _normal(body.host_config.network_mode)


def _normal(name: str) -> str:
    return "bridge" if name in ("", "default") else name


def _endpoints(body: ContainerCreate) -> dict[str, EndpointSettings]:
    found = body.networking_config.endpoints_config or {}
    return {name: settings for name, settings in found.items() if settings is not None}


def _check_settings(network: str, settings: EndpointSettings) -> None:
    wrong = f"invalid config for network {network}: invalid endpoint settings:\n"
    address = settings.ipam_config
    if address and (address.ipv4_address or address.ipv6_address):
        raise _invalid(wrong + "user specified IP address is supported on user defined networks only")
    if settings.aliases:
        raise _invalid(wrong + "network-scoped alias is supported only for containers in user defined networks")
    for field in ("links", "driver_opts"):
        if value := getattr(settings, field):
            name = f"NetworkingConfig.EndpointsConfig.{field}"
            raise Unsupported("create container with", name, f"{value!r} is not supported yet")


def _check_mac(body: ContainerCreate, network: str) -> None:
    wanted = mac(body)
    if wanted and not _MAC.fullmatch(wanted):
        raise _invalid(f"invalid config for network {network}: invalid MAC address {wanted}")
    own = body.config.mac_address.lower().replace("-", ":")
    if own and own != wanted:
        raise _invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
            "or be left empty"
        )


def _invalid(text: str) -> Invalid:
    return Invalid("create", "container", text, code="text")
