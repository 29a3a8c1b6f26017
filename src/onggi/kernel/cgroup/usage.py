"""What a cgroup uses now, in the few numbers that the engine and the glass show. Read next: `layout`."""

from __future__ import annotations

from onggi.kernel.cgroup.limits import keyed, number, read
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.kernel.cgroup.layout import Layout


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group uses now; None where its controller is not there."""

    memory: int | None = None
    memory_peak: int | None = None
    memory_limit: int | None = None
    """None also for no limit."""
    cpu_ns: int | None = None
    pids: int | None = None
    pids_limit: int | None = None


_MEMORY_FILES = {
    "memory": ("memory.usage_in_bytes", "memory.current"),
    "memory_peak": ("memory.max_usage_in_bytes", "memory.peak"),
    "memory_limit": ("memory.limit_in_bytes", "memory.max"),
}


def usage(layout: Layout, path: str) -> Usage:
    """Memory, processor time and processes of the group, now."""
    memory, cpu, pids = (layout.place(name, path) for name in ("memory", "cpuacct", "pids"))
    found: dict[str, int | None] = {}
    if memory:
        for key, names in _MEMORY_FILES.items():
            found[key] = number(read(memory.directory, names[memory.version - 1]))
    if cpu and cpu.version == 1:
        found["cpu_ns"] = number(read(cpu.directory, "cpuacct.usage"))
    elif cpu:
        found["cpu_ns"] = keyed(read(cpu.directory, "cpu.stat")).get("usage_usec", 0) * 1000
    if pids:
        found["pids"] = number(read(pids.directory, "pids.current"))
        found["pids_limit"] = number(read(pids.directory, "pids.max"))
    return Usage(**found)


def oom_kills(layout: Layout, path: str) -> int:
    """How many processes of the group the kernel killed for want of memory."""
    memory = layout.place("memory", path)
    if memory is None:
        return 0
    file = "memory.oom_control" if memory.version == 1 else "memory.events"
    return keyed(read(memory.directory, file)).get("oom_kill", 0)
