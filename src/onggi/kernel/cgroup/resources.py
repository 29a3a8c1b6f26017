"""The runtime spec's `linux.resources` as writes, each section the v1 or the v2 way, wherever its controller is. Pure.

Callers: `layout`. Read next: `v1`, `v2`. See the runtime specification's config-linux.md, "Control groups".
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.kernel.cgroup import v1, v2
from onggi.kernel.cgroup.limits import Limits, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from onggi.kernel.cgroup.hierarchy import Mount

# A section of linux.resources, the controller that decides whether it is done the v1 or the v2 way, and both ways: where
# v2 kept v1's files they are one.
_SECTIONS = (
    ("devices", "devices", v1.devices, v2.devices),
    ("memory", "memory", v1.memory, v2.memory),
    ("cpu", "cpu", v1.cpu, v2.cpu),
    ("cpu", "cpuset", v1.cpuset, v1.cpuset),
    ("pids", "pids", v1.pids, v1.pids),
    ("blockIO", "io", v1.block_io, v2.block_io),
    ("hugepageLimits", "hugetlb", v1.huge_pages, v2.huge_pages),
    ("rdma", "rdma", v1.rdma, v1.rdma),
    ("network", "net_cls", v1.network, v2.network),
)


def limits_of(mounts: tuple[Mount, ...], path: str, resources: Mapping[str, Any], *, mode: str) -> Limits:
    """Every write that the group needs, in their order, and what this host cannot do; `Invalid` for what cannot be meant."""
    places = [(mount, mount.at(path)) for mount in mounts]
    limits = Limits({c: directory for mount, directory in places for c in mount.controllers})
    versions = {c: mount.version for mount in mounts for c in mount.controllers}
    default = 2 if mode == "v2" else 1
    for section, controller, old, new in _SECTIONS:
        given = resources.get(section)
        if given:
            way: Any = old if versions.get(controller, default) == 1 else new
            way(limits, given)
    if resources.get("unified"):
        if mode != "v2":
            raise Invalid("read", "linux.resources.unified", "invalid configuration: cannot use unified on cgroup v1")
        _unified(limits, mounts[-1], path, resources["unified"])
    return limits


def _unified(limits: Limits, mount: Mount, path: str, given: Mapping[str, str]) -> None:
    """`linux.resources.unified`: v2 files by their own names; last, so that they win over the translated ones."""
    for file, value in given.items():
        controller, dot, _ = file.partition(".")
        if "/" in file:
            raise Invalid("set", f"unified resource {file}", "it must be a file name, without any slash")
        if not dot:
            raise Invalid("set", "unified resource", f"the specified key has not the form CONTROLLER.VALUE `{file}`")
        if controller != "cgroup" and controller not in mount.controllers:
            cause = f"the requested cgroup controller `{controller}` is not available"
            limits.lack(f"unified.{file}", cause, must=True)
            continue
        lines = filter(None, value.split("\n"))  # one write(2) a line, as the kernel's files want it
        limits.writes += [Write(mount.at(path), file, line, f"unified.{file}") for line in lines]
