"""What lies around a start: links, files, host name, and whose namespaces are joined.

Callers: `creation`, `lifecycle`. Read next: `spec`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from onggi.engine import spec
from onggi.engine.container import Container
from onggi.engine.files import network_files
from onggi.engine.parts import Parts
from onggi.errors import Conflict, Invalid
from onggi.network.endpoint import Endpoint, links


def surroundings(parts: Parts, container: Container, endpoints: Sequence[Endpoint]) -> spec.Surroundings:
    """The surroundings of a container with these endpoints; its files are written."""
    body = container.body
    hostname = body.config.hostname or container.id[:12]
    shared = body.host_config.network_mode.partition("container:")[2]
    if body.host_config.network_mode == "host" and not body.config.hostname:
        hostname = os.uname().nodename
    directory = parts.instance.container_dir(container.id)
    if shared:
        other = parts.instance.container_dir(parts.directory.find(shared).id)
        files = {f"/etc/{name}": str(other / name) for name in ("hosts", "resolv.conf", "hostname")}
    else:
        files = network_files(directory, hostname, body, endpoints)
    return spec.Surroundings(links(endpoints), files, hostname, lambda ref, kind: _pid_of(parts, ref, kind))


def _pid_of(parts: Parts, ref: str, kind: str) -> int:
    """The first process of a container whose namespace of this kind another one joins."""
    other = parts.directory.find(ref)
    joining = f"failed to join {kind.upper()} namespace: container {other.id}"
    if not other.is_running:
        stopped = f"cannot join network of a non running container: {other.id}"
        cause = stopped if kind == "network" else f"{joining} is not running"
        raise Conflict("join", ref, cause, code="text")
    if kind == "ipc" and other.body.host_config.ipc_mode == "private":
        cause = f"{joining}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
        raise Invalid("join", ref, cause, code="text")
    return other.record.state.pid
