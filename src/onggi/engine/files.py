"""The three files by which a container knows names: written beside its data, shown in its /etc.

Callers: `containers`. Read next: `network/files`, which makes their contents.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from onggi.network import files
from onggi.network.endpoint import Endpoint
from onggi.wire.containers import ContainerCreate


def network_files(
    directory: Path, hostname: str, body: ContainerCreate, endpoints: Sequence[Endpoint]
) -> dict[str, str]:
    """Write hosts, resolv.conf and hostname; destination -> source."""
    host = body.host_config
    is_host = host.network_mode == "host"
    gateway = next((e.gateway for e in endpoints if e.gateway), "")
    contents = {
        "hosts": files.hosts(
            hostname,
            domainname=body.config.domainname,
            addresses=[e.address for e in endpoints if e.address],
            extra=host.extra_hosts or (),
            host_gateway=gateway,
            host_text=_read("/etc/hosts") if is_host else None,
        ),
        "resolv.conf": files.resolv_conf(
            _resolv_conf(),
            dns=host.dns or (),
            search=host.dns_search or (),
            options=host.dns_options or (),
            is_host_network=is_host,
        ),
        "hostname": files.hostname(hostname),
    }
    found = {}
    for name, text in contents.items():
        path = found[f"/etc/{name}"] = f"{directory}/{name}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    return found


def _resolv_conf() -> str:
    text = _read("/etc/resolv.conf")
    return _read(files.SYSTEMD_RESOLV_CONF) if files.names_only_the_stub(text) else text


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # a host may have none
        return ""
