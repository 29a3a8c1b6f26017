"""HostConfig's limits as the runtime specification's `linux.resources`, checked as Docker checks them. Pure.

Callers: `engine/spec`. Read next: `kernel/cgroup/layout`.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from onggi.engine.default_devices import default_rules, device_rule, privileged_rules
from onggi.errors import Invalid
from onggi.wire.host_config import HostConfig, ThrottleDevice, WeightDevice

_CPUSETS = {
    "cpus": ("CPUs", "/sys/devices/system/cpu/online"),
    "mems": ("memory nodes", "/sys/devices/system/node/online"),
}
_MOST_CPUS = 8192
_LEAST_MEMORY = 6 << 20
_MEBI = 1 << 20
_PROCESSORS = os.cpu_count() or 1


def resources(host: HostConfig) -> dict[str, Any]:
    """`linux.resources`; Invalid in Docker's words for a value that cannot be meant."""
    found: dict[str, Any] = {
        "devices": _devices(host),
        "memory": _memory(host),
        "cpu": _cpu(host),
        "blockIO": _block_io(host),
    }
    if host.pids_limit is not None and host.pids_limit != 0:
        found["pids"] = {"limit": host.pids_limit}
    return {key: value for key, value in found.items() if value}


def _invalid(text: str) -> Invalid:
    return Invalid("read", "resources", text, code="text")


def _memory(host: HostConfig) -> dict[str, Any]:
    limit, swap, reservation = host.memory, host.memory_swap, host.memory_reservation
    if limit < 0 or 0 < limit < _LEAST_MEMORY:
        raise _invalid("Minimum memory limit allowed is 6MB")
    if swap > 0 and limit == 0:
        raise _invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < limit:
        raise _invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if 0 < reservation < _LEAST_MEMORY:
        raise _invalid("Minimum memory reservation allowed is 6MB")
    if 0 < limit < reservation:
        raise _invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
    swappiness = host.memory_swappiness
    if swappiness is not None and swappiness != -1 and not 0 <= swappiness <= 100:
        raise _invalid(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    found: dict[str, Any] = {}
    if limit:
        found |= {"limit": limit, "swap": swap or 2 * limit}
    if reservation:
        found["reservation"] = reservation
    if swappiness is not None and swappiness >= 0:
        found["swappiness"] = swappiness
    if host.oom_kill_disable:
        found["disableOOMKiller"] = True
    return found


def _cpu(host: HostConfig) -> dict[str, Any]:
    cpus = _PROCESSORS
    if host.nano_cpus and (host.cpu_quota or host.cpu_period):
        other = "CPU Period" if host.cpu_period else "CPU Quota"
        raise _invalid(f"Conflicting options: Nano CPUs and {other} cannot both be set")
    if host.nano_cpus < 0 or host.nano_cpus > cpus * 10**9:
        raise _invalid(f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available")
    if host.cpu_shares < 0:
        raise _invalid(f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer")
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise _invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.cpu_quota < 1000:
        raise _invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    found: dict[str, Any] = {}
    if host.nano_cpus:
        found |= {"period": 100_000, "quota": host.nano_cpus * 100_000 // 10**9}
    for key, value in (("shares", host.cpu_shares), ("period", host.cpu_period), ("quota", host.cpu_quota)):
        if value:
            found[key] = value
    for key, text in (("cpus", host.cpuset_cpus), ("mems", host.cpuset_mems)):
        if text:
            found[key] = _cpuset(text, key)
    return found


def _cpuset(text: str, key: str) -> str:
    wanted = _numbers_of(text)
    if wanted is None:
        raise _invalid(f"Invalid value {text} for cpuset {key}: invalid format: {text}")
    kind, file = _CPUSETS[key]
    with open(file) as online:
        available = online.read().strip()
    if wanted - (_numbers_of(available) or set()):
        raise _invalid(f"Requested {kind} are not available - requested {text}, available: {available}")
    return text


def _numbers_of(text: str) -> set[int] | None:
    """`0-2,7` as numbers; None when it is no such list."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal()) or int(last) >= _MOST_CPUS:
            return None
        found.update(range(int(first), int(last) + 1))
    return found


def _devices(host: HostConfig) -> list[dict[str, Any]]:
    rules = privileged_rules() if host.privileged else default_rules()
    for device in host.devices or ():
        found = stat_device(device.path_on_host)
        kind = "b" if found.st_mode & 0o170000 == 0o060000 else "c"
        access = device.cgroup_permissions or "rwm"
        rules.append(device_rule(kind, os.major(found.st_rdev), os.minor(found.st_rdev), access))
    rules += [_device_rule(text) for text in host.device_cgroup_rules or ()]
    return rules


def stat_device(path: str) -> os.stat_result:
    """What a device node is; Invalid when there is none."""
    cause = f'error gathering device information while adding custom device "{path}": '
    try:
        found = os.stat(path)
    except OSError as error:
        raise Invalid("add device", path, f"{cause}no such file or directory", code="text") from error
    if not (stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise Invalid("add device", path, f"{cause}not a device node", code="text")
    return found


def _device_rule(text: str) -> dict[str, Any]:
    """`c 1:3 mr`, as `--device-cgroup-rule` takes it."""
    kind, _, rest = text.partition(" ")
    numbers, _, access = rest.partition(" ")
    major, _, minor = numbers.partition(":")
    if kind not in ("a", "b", "c") or not access or set(access) - set("rwm"):
        raise _invalid(f"invalid device cgroup rule format: '{text}'")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    for name, value in (("major", major), ("minor", minor)):
        if value != "*":
            if not value.isdigit():
                raise _invalid(f"invalid device cgroup rule format: '{text}'")
            rule[name] = int(value)
    return rule


def _block_io(host: HostConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if host.blkio_weight:
        if not 10 <= host.blkio_weight <= 1000:
            raise _invalid("Range of blkio weight is from 10 to 1000")
        found["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        found["weightDevice"] = [_weight(device) for device in host.blkio_weight_device]
    for key, devices in (
        ("throttleReadBpsDevice", host.blkio_device_read_bps),
        ("throttleWriteBpsDevice", host.blkio_device_write_bps),
        ("throttleReadIOPSDevice", host.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", host.blkio_device_write_iops),
    ):
        if devices:
            found[key] = [_throttle(device) for device in devices]
    return found


def _weight(device: WeightDevice) -> dict[str, Any]:
    return {**_numbers(device.path), "weight": device.weight}


def _throttle(device: ThrottleDevice) -> dict[str, Any]:
    return {**_numbers(device.path), "rate": device.rate}


def _numbers(path: str) -> dict[str, int]:
    try:
        found = os.stat(path).st_rdev
    except OSError as error:
        raise Invalid("find device", path, error.strerror or "", code="") from error
    return {"major": os.major(found), "minor": os.minor(found)}


def shm_size(host: HostConfig) -> int:
    """Bytes of /dev/shm, 64 MiB unless asked otherwise."""
    if host.shm_size < 0:
        raise _invalid("SHM size can not be less than 0")
    return host.shm_size or 64 * _MEBI


def ulimits(host: HostConfig) -> list[dict[str, Any]]:
    """`process.rlimits`; Invalid for a name that getrlimit(2) does not have."""
    found = []
    for limit in host.ulimits or ():
        if limit.name not in _ULIMITS:
            raise _invalid(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            raise _invalid(f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}")
        found.append({"type": "RLIMIT_" + limit.name.upper(), "soft": limit.soft, "hard": limit.hard})
    return found


_ULIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"}
    | {"rttime", "sigpending", "stack"}
)
