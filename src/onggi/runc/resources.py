"""`linux.resources` as it is written in a bundle or for `update`: checked, its names as the specification spells them.

Go's decoder, which every container manager is used to, takes names in any case, so `CPU` and `pagesize` must be understood.
What the specification does not know is passed over, as it says. Pure. Callers: `bundle`, `update`. Read next:
`kernel/cgroup/resources`, and the runtime specification's config-linux.md.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.runtime.plan_mounts import DEFAULT_DEVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Json: TypeAlias = dict[str, Any]

_WORDS = {int: "a whole number", str: "a string", bool: "true or false", dict: "an object", list: "a list"}
_THROTTLES = [{"major": int, "minor": int, "rate": int}, ("major", "minor", "rate")]
# A member's type, or the members of an object, or in a list those of each object in it and which must be there.
_RESOURCES: Json = {
    "devices": [{"allow": bool, "type": str, "major": int, "minor": int, "access": str}, ("allow",)],
    "memory": {
        **dict.fromkeys(("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"), int),
        **dict.fromkeys(("disableOOMKiller", "useHierarchy", "checkBeforeUpdate"), bool),
    },
    "cpu": {
        **dict.fromkeys(("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle"), int),
        **dict.fromkeys(("cpus", "mems"), str),
    },
    "pids": {"limit": int},
    "blockIO": {
        **dict.fromkeys(("weight", "leafWeight"), int),
        "weightDevice": [{"major": int, "minor": int, "weight": int, "leafWeight": int}, ("major", "minor")],
        "throttleReadBpsDevice": _THROTTLES,
        "throttleWriteBpsDevice": _THROTTLES,
        "throttleReadIOPSDevice": _THROTTLES,
        "throttleWriteIOPSDevice": _THROTTLES,
    },
    "hugepageLimits": [{"pageSize": str, "limit": int}, ("pageSize", "limit")],
    "network": {"classID": int, "priorities": [{"name": str, "priority": int}, ("name", "priority")]},
    "rdma": dict,
    "unified": dict,
}
_OTHER_NODES = ((5, 2), (10, 200))
"""ptmx; and tun, which runc has always allowed."""


def read(given: Mapping[str, Any], where: str = "linux.resources") -> Json:
    """The resources with the specification's names only; Invalid names a member that has not its type."""
    found = _object(given, _RESOURCES, where)
    for file, value in (found.get("unified") or {}).items():
        _typed(value, str, f"{where}.unified.{file}")
    for device, value in (found.get("rdma") or {}).items():
        found["rdma"][device] = _object(value, {"hcaHandles": int, "hcaObjects": int}, f"{where}.rdma.{device}")
    return found


def _object(given: Any, members: Mapping[str, Any], where: str) -> Json:
    found: Json = {}
    for key, value in _typed(given, dict, where).items():
        name = key if key in members else next((name for name in members if name.lower() == key.lower()), "")
        if not name or value is None:
            continue
        kind, place = members[name], f"{where}.{name}"
        if isinstance(kind, dict):  # twice, in two spellings: the later one has the last word on each of its members
            found[name] = {**found.get(name, {}), **_object(value, kind, place)}
        elif isinstance(kind, list):
            found[name] = [_item(item, kind, f"{place}[{n}]") for n, item in enumerate(_typed(value, list, place))]
        else:
            found[name] = _typed(value, kind, place)
    return found


def _item(given: Any, kind: list[Any], where: str) -> Json:
    members, required = kind
    found = _object(given, members, where)
    for name in required:
        if name not in found:
            raise Invalid("read", where, f"it must have `{name}`")
    return found


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Invalid("read", where, f"it must be {_WORDS[kind]}")
    return value


def with_default_devices(rules: list[Json] | None) -> list[Json]:
    """The container's device rules, and after them what every container may use: nodes may be made, the promised ones opened."""
    nodes = (*((major, minor) for _, major, minor in DEFAULT_DEVICES), *_OTHER_NODES)
    return [
        *(rules or ()),
        *({"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")),
        *({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in nodes),
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
    ]


def merged(old: Json, new: Json) -> Json:
    """The resources of a container after an update: what is new beside what stays."""
    found = {**old}
    for section, given in new.items():
        if isinstance(given, dict):
            before = found.get(section) or {}
            found[section] = {**before, **{name: _upserted(before.get(name), value) for name, value in given.items()}}
        else:
            found[section] = _upserted(found.get(section), given) if section != "devices" else given
    if (new.get("cpu") or {}).get("idle") is not None and "shares" not in new["cpu"]:
        found["cpu"].pop("shares", None)  # the kernel keeps one of the two
    return found


def _upserted(old: Any, new: Any) -> Any:
    """A list with what is said of some devices or page sizes put in the place of what was said of them."""
    if not isinstance(new, list):
        return new
    changed = {_identity(item): item for item in new}
    kept = {_identity(item): {**item, **changed.pop(_identity(item), {})} for item in old or ()}
    return [*kept.values(), *changed.values()]


def _identity(item: Json) -> tuple[Any, ...]:
    return tuple(item.get(name) for name in ("major", "minor", "pageSize", "name"))


def to_write(old: Json, new: Json) -> Json:
    """What an update has to write: what is new, and what the kernel wants told together with it.

    A quota means nothing without its period and, on v2, swap nothing without memory: the other one is what it was.
    """
    found = {**new}
    for section, one, other in (("cpu", "quota", "period"), ("memory", "limit", "swap")):
        given, before = dict(new.get(section) or {}), old.get(section) or {}
        for name, partner in ((one, other), (other, one)):
            if given.get(name) and given.get(partner) is None and before.get(partner):
                given[partner] = before[partner]
        if section == "memory" and (new.get("memory") or {}).get("limit") == -1 and "swap" not in new["memory"]:
            given.pop("swap", None)  # no limit at all: neither of the two
        if given:
            found[section] = given
    if found.get("devices") == old.get("devices"):
        found.pop("devices", None)  # managers send the whole list each time; what plugins added to the group shall stay
    return found
