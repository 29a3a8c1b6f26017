"""What the runtime spec's limits are on cgroup v2. The spec speaks v1; this is where it is translated.

Pure. One function a section of `linux.resources`; `layout` calls those whose controller is in the v2 tree here.
Read next: `layout`. See the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.kernel.cgroup.devices import fold
from onggi.kernel.cgroup.limits import Limits
from onggi.kernel.cgroup.v1 import name_unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Section: TypeAlias = Mapping[str, Any]


def memory(limits: Limits, given: Section) -> None:
    """`linux.resources.memory`. v1 limits memory and swap together, v2 swap alone: the difference is what counts."""
    limits.add("memory", "memory.max", _or_max(given.get("limit")), "memory.limit")
    swap = swap_of(given)
    optional = swap in (0, "max")  # a kernel without swap swaps nothing
    limits.add("memory", "memory.swap.max", swap, "" if optional else "memory.swap", soft=optional)
    limits.add("memory", "memory.low", _or_max(given.get("reservation")), "memory.reservation")
    for name in ("kernel", "kernelTCP"):
        if given.get(name):
            limits.lack(f"memory.{name}", "cgroup v2 has no limit of its own for kernel memory")
    if given.get("swappiness") is not None:
        limits.lack("memory.swappiness", "cgroup v2 has no swappiness of a group")
    if given.get("disableOOMKiller"):
        limits.lack("memory.disableOOMKiller", "cgroup v2 cannot switch the OOM killer off")


def swap_of(given: Section) -> int | str | None:
    """The swap that limits of memory, and of memory with swap, leave: bytes, `max`, or None for nothing said.

    A 0 says nothing beside a limit, as Docker and runc have it; alone it is no swap, as crun has it.
    """
    limit: int | None = given.get("limit")
    swap: int | None = given.get("swap")
    if swap == 0 and limit is None:
        return 0
    if limit == -1 and not swap:
        return "max"
    if not swap or swap == -1:
        return "max" if swap else None
    if limit == -1:
        return swap
    if not limit:
        raise Invalid("read", "linux.resources.memory.swap", "unable to set swap limit without memory limit")
    if swap < limit:
        raise Invalid("read", "linux.resources.memory.swap", "memory+swap limit should be >= memory limit")
    return swap - limit


def cpu(limits: Limits, given: Section) -> None:
    """`linux.resources.cpu` without its sets."""
    shares, quota, period = given.get("shares"), given.get("quota"), given.get("period")
    if shares:
        limits.add("cpu", "cpu.weight", weight_of_shares(shares), "cpu.shares")
    if quota or period:
        budget = str(quota) if quota and quota > 0 else "max"
        limits.add("cpu", "cpu.max", f"{budget} {period or 100000}", "cpu.quota" if quota else "cpu.period")
    limits.add("cpu", "cpu.max.burst", given.get("burst"), "cpu.burst")
    limits.add("cpu", "cpu.idle", given.get("idle"), "cpu.idle")
    for name in ("realtimePeriod", "realtimeRuntime"):
        if given.get(name):
            limits.lack(f"cpu.{name}", "cgroup v2 has no real-time budget of a group")


def weight_of_shares(shares: int) -> int:
    """v1 shares (2 to 262144, 1024 by default) as a v2 weight (1 to 10000, 100 by default).

    A curve through the three pairs least, default and most, so that a group which nobody touched weighs as much as its
    neighbours. It is the one that runc and crun took in 2025; the straight line that they had before made 1024 into 39.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    import math

    power = math.log2(shares)
    exponent = (power * power + 125 * power) / 612 - 7 / 34
    return math.ceil(round(10**exponent, 9))  # rounded first: 1024 gives 100.00000000000001


def block_io(limits: Limits, given: Section) -> None:
    """`linux.resources.blockIO`. BFQ keeps v1's weights, 10 to 1000; io.weight stretches them to 1 to 10000."""
    weight = given.get("weight")
    if weight:
        stretched = ("io.weight", f"default {1 + (weight - 10) * 9999 // 990}")
        limits.add("io", "io.bfq.weight", weight, "blockIO.weight", otherwise=stretched)
    if given.get("leafWeight"):
        limits.lack("blockIO.leafWeight", "cgroup v2 has no leaf weight")
    for device in given.get("weightDevice") or ():
        if device.get("weight"):
            value = f"{device['major']}:{device['minor']} {device['weight']}"
            limits.add("io", "io.bfq.weight", value, "blockIO.weightDevice", soft=True)
    for name, key in _THROTTLES:
        for device in given.get(name) or ():
            limits.add("io", "io.max", f"{device['major']}:{device['minor']} {key}={device['rate']}", "blockIO." + name)


_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def huge_pages(limits: Limits, given: list[Section]) -> None:
    """`linux.resources.hugepageLimits`, of pages in use and, where the kernel counts them (5.7), of pages reserved."""
    for item in given:
        size, limit = item["pageSize"], item["limit"]
        limits.add("hugetlb", f"hugetlb.{size}.max", limit, f"hugepageLimits.{size}")
        limits.add("hugetlb", f"hugetlb.{size}.rsvd.max", limit, "", soft=True)


def network(limits: Limits, given: Section) -> None:
    """`linux.resources.network`: v2 has neither; a packet filter by cgroup does the work."""
    for name in ("classID", "priorities"):
        if given.get(name):
            limits.lack(f"network.{name}", "cgroup v2 has no network controllers")


def devices(limits: Limits, given: list[Section]) -> None:
    """`linux.resources.devices`: one eBPF program for all rules."""
    limits.program(fold(given))
    name_unknown(limits, given)


def _or_max(limit: int | None) -> int | str | None:
    return "max" if limit == -1 else limit or None
