"""A HostConfig in which nothing is left open: what `inspect` shows is what the container got.

Docker settles the same fields at create. Pure. Callers: `engine/creation`. Read next: `security`, `resources`.
"""

from __future__ import annotations

import msgspec

from onggi.engine.resources import shm_size
from onggi.engine.security import hidden_paths
from onggi.wire.host_config import HostConfig

RUNTIME = "onggi"
_LOG_DRIVER = "json-file"


def settle(host: HostConfig, *, network_disabled: bool = False) -> HostConfig:
    """The defaults in place of what was left out; a config that disables the network has none."""
    network_mode = "bridge" if host.network_mode in ("", "default") else host.network_mode
    if network_disabled and network_mode == "bridge":
        network_mode = "none"
    masked, readonly = hidden_paths(host)
    shared_memory = shm_size(host)
    swappiness = host.memory_swappiness
    limit = host.pids_limit
    return msgspec.structs.replace(
        host,
        network_mode=network_mode,
        ipc_mode=host.ipc_mode or "private",
        cgroupns_mode=host.cgroupns_mode or "private",
        runtime=host.runtime or RUNTIME,
        log_config=msgspec.structs.replace(host.log_config, type=host.log_config.type or _LOG_DRIVER),
        shm_size=shared_memory,
        memory_swap=host.memory_swap or 2 * max(host.memory, 0),
        memory_swappiness=None if swappiness == -1 else swappiness,
        pids_limit=None if limit is not None and limit <= 0 else limit,
        masked_paths=None if host.privileged and not masked else list(masked),
        readonly_paths=None if host.privileged and not readonly else list(readonly),
    )
