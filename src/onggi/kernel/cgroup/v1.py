"""What the runtime spec's limits are on cgroup v1: which file of which controller gets which value, in which order.

Pure. One function a section of `linux.resources`; `layout` calls those whose controller is a v1 hierarchy here.
Read next: `v2`. See cgroups(7), the kernel's Documentation/admin-guide/cgroup-v1/.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.kernel.cgroup.devices import fold, unknown_letters
from onggi.kernel.cgroup.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Section: TypeAlias = Mapping[str, Any]


def memory(limits: Limits, given: Section) -> None:
    """`linux.resources.memory`. The kernel keeps limit ≤ limit with swap at every moment, so the limit comes first."""
    limit, swap = given.get("limit") or None, given.get("swap") or None
    limits.add("memory", "memory.limit_in_bytes", limit, "memory.limit")
    if limit == -1 and swap is None:  # or a group without a memory limit would be limited by the other one after all
        limits.add("memory", "memory.memsw.limit_in_bytes", -1, "", soft=True)
    limits.add("memory", "memory.memsw.limit_in_bytes", swap, "memory.swap")
    limits.add("memory", "memory.soft_limit_in_bytes", given.get("reservation") or None, "memory.reservation")
    limits.add("memory", "memory.kmem.tcp.limit_in_bytes", given.get("kernelTCP"), "memory.kernelTCP", soft=True)
    limits.add("memory", "memory.swappiness", _swappiness(given.get("swappiness")), "memory.swappiness")
    if given.get("kernel"):
        limits.lack("memory.kernel", "kernels since 5.16 have no limit of their own for kernel memory")
    if given.get("disableOOMKiller"):
        limits.add("memory", "memory.oom_control", 1, "memory.disableOOMKiller")


def _swappiness(given: int | None) -> int | None:
    if given is None or given in (-1, 0xFFFF_FFFF_FFFF_FFFF):  # what Docker sends for none
        return None
    if not 0 <= given <= 100:
        cause = f"invalid memory swappiness value: {given} (valid range is 0-100)"
        raise Invalid("read", "linux.resources.memory.swappiness", cause)
    return given


def cpu(limits: Limits, given: Section) -> None:
    """`linux.resources.cpu` without its sets. A period is set before the quota that is measured in it."""
    limits.add("cpu", "cpu.shares", _shares(given.get("shares") or None), "cpu.shares")
    limits.add("cpu", "cpu.rt_period_us", given.get("realtimePeriod") or None, "cpu.realtimePeriod")
    limits.add("cpu", "cpu.rt_runtime_us", given.get("realtimeRuntime") or None, "cpu.realtimeRuntime")
    limits.add("cpu", "cpu.cfs_period_us", given.get("period") or None, "cpu.period")
    limits.add("cpu", "cpu.cfs_quota_us", given.get("quota") or None, "cpu.quota")
    limits.add("cpu", "cpu.cfs_burst_us", given.get("burst"), "cpu.burst", soft=True)
    limits.add("cpu", "cpu.idle", given.get("idle"), "cpu.idle")


def _shares(given: int | None) -> int | None:
    """As they are, if the kernel would not bend them silently."""
    for bound, most in ((2, False), (262144, True)):
        if given is not None and (given > bound if most else given < bound):
            cause = f"the {'maximum' if most else 'minimum'} allowed cpu-shares is {bound}"
            raise Invalid("read", "linux.resources.cpu.shares", cause)
    return given


def cpuset(limits: Limits, given: Section) -> None:
    """The sets of `linux.resources.cpu`."""
    limits.add("cpuset", "cpuset.cpus", given.get("cpus") or None, "cpu.cpus")
    limits.add("cpuset", "cpuset.mems", given.get("mems") or None, "cpu.mems")


def pids(limits: Limits, given: Section) -> None:
    """`linux.resources.pids`: below 0 is no limit; 0 is 1, since systemd knows no 0, and who is inside is no fork away."""
    limit = given.get("limit")
    if limit is not None:
        limits.add("pids", "pids.max", max(limit, 1) if limit >= 0 else "max", "pids.limit")


def block_io(limits: Limits, given: Section) -> None:
    """`linux.resources.blockIO`. The weight's file has another name under the BFQ scheduler."""
    weight = given.get("weight")
    if weight:
        bfq = ("blkio.bfq.weight", str(weight))
        limits.add("blkio", "blkio.weight", weight, "blockIO.weight", otherwise=bfq)
    limits.add("blkio", "blkio.leaf_weight", given.get("leafWeight") or None, "blockIO.leafWeight")
    for device in given.get("weightDevice") or ():
        number = f"{device['major']}:{device['minor']}"
        if device.get("weight"):
            value = f"{number} {device['weight']}"
            bfq = ("blkio.bfq.weight_device", value)
            limits.add("blkio", "blkio.weight_device", value, "blockIO.weightDevice", otherwise=bfq)
        if device.get("leafWeight"):
            value = f"{number} {device['leafWeight']}"
            limits.add("blkio", "blkio.leaf_weight_device", value, "blockIO.weightDevice")
    for name, file in _THROTTLES:
        for device in given.get(name) or ():
            value = f"{device['major']}:{device['minor']} {device['rate']}"
            limits.add("blkio", file, value, "blockIO." + name)


_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def huge_pages(limits: Limits, given: list[Section]) -> None:
    """`linux.resources.hugepageLimits`, of pages in use and, where the kernel counts them (5.7), of pages reserved."""
    for item in given:
        size, limit = item["pageSize"], item["limit"]
        limits.add("hugetlb", f"hugetlb.{size}.limit_in_bytes", limit, f"hugepageLimits.{size}")
        limits.add("hugetlb", f"hugetlb.{size}.rsvd.limit_in_bytes", limit, "", soft=True)


def rdma(limits: Limits, given: Mapping[str, Section]) -> None:
    """`linux.resources.rdma`: the same file on v1 and v2."""
    for device, item in given.items():
        parts = [device]
        parts += [f"hca_handle={item['hcaHandles']}"] if item.get("hcaHandles") is not None else []
        parts += [f"hca_object={item['hcaObjects']}"] if item.get("hcaObjects") is not None else []
        limits.add("rdma", "rdma.max", " ".join(parts), f"rdma.{device}")


def network(limits: Limits, given: Section) -> None:
    """`linux.resources.network`."""
    limits.add("net_cls", "net_cls.classid", given.get("classID") or None, "network.classID")
    for item in given.get("priorities") or ():
        value = f"{item['name']} {item['priority']}"
        limits.add("net_prio", "net_prio.ifpriomap", value, "network.priorities")


def devices(limits: Limits, given: list[Section]) -> None:
    """`linux.resources.devices`: first the default for all, which empties the list; then each exception."""
    folded = fold(given)
    name_unknown(limits, given)
    first, then = ("allow", "deny") if folded.allowed_by_default else ("deny", "allow")
    limits.add("devices", f"devices.{first}", "a", "devices", must=True)
    for exception in folded.exceptions:
        limits.add("devices", f"devices.{then}", exception.text(), "devices", must=True)


def name_unknown(limits: Limits, given: list[Section]) -> None:
    """What in device rules means nothing is told, as a warning."""
    letters = unknown_letters(given)
    if letters:
        limits.lack("devices", f"an access has letters other than r, w and m: `{letters}`")
