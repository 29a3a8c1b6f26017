"""Which ports a create request publishes: `-p`, and `-P` for every port that the image exposes. Pure.

Callers: `containers`. Read next: `network/ports`.
"""

from __future__ import annotations

from onggi.network.ports import Port, parse
from onggi.wire.containers import ContainerCreate


def ports(body: ContainerCreate) -> tuple[Port, ...]:
    """The ports in the request's order, a range written out; Invalid or Unsupported for one that cannot be."""
    bindings = body.host_config.port_bindings or {}
    found = []
    for inside, places in bindings.items():
        found += [parse(inside, place.host_ip, place.host_port) for place in places or ()]
    if body.host_config.publish_all_ports:
        found += [parse(inside) for inside in sorted(body.config.exposed_ports or {}) if inside not in bindings]
    return tuple(found)
