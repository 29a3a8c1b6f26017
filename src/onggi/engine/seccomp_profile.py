"""Which seccomp profile a container gets: Docker's default, a profile in Docker's format, or none.

Pure: in go the capabilities that the container will have and the machine; out comes the runtime spec's `linux.seccomp`,
or None for unconfined. Compiling is `kernel/seccomp`'s work. Callers: `engine/spec`. Read next: `seccomp_calls`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any

from onggi.engine import seccomp_calls as calls
from onggi.errors import Invalid

Profile = dict[str, Any]

_ALLOW = "SCMP_ACT_ALLOW"
_EPERM, _ENOSYS = 1, 38


def default_profile(capabilities: Collection[str], machine: str | None = None) -> Profile:
    """Docker's default: every call denied with EPERM but those named, of which some need a capability.

    `capabilities` are the bounding set, in canonical names; `machine` is uname(2)'s word, by default this machine's.
    """
    architecture = _architecture(machine)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": list(calls.ARCHITECTURES.get(architecture, ())),
        "syscalls": [
            _rule(calls.ALWAYS),
            _rule("socket", args=[_argument(0, calls.FORBIDDEN_FAMILY, "SCMP_CMP_NE")]),
            *(_rule("personality", args=[_argument(0, value, "SCMP_CMP_EQ")]) for value in calls.PERSONALITIES),
            *([_rule(calls.BY_ARCHITECTURE[architecture])] if architecture in calls.BY_ARCHITECTURE else []),
            *(_rule(names) for capability, names in calls.BY_CAPABILITY.items() if capability in capabilities),
            *([] if "CAP_SYS_ADMIN" in capabilities else _no_new_namespaces(architecture)),
        ],
    }


def _no_new_namespaces(architecture: str) -> list[Profile]:
    """clone without namespace flags; clone3 as if the kernel had none: a filter cannot see flags in memory."""
    flags = 1 if architecture in ("s390", "s390x") else 0  # where the first two arguments change places
    argument = _argument(flags, calls.NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ")
    return [
        _rule("clone", args=[argument]),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
    ]


def _rule(names: str, **more: Any) -> Profile:
    return {"names": names.split(), "action": _ALLOW, **more}


def _argument(index: int, value: int, operator: str) -> Profile:
    return {"index": index, "value": value, "op": operator}


def _architecture(machine: str | None) -> str:
    name = machine or os.uname().machine
    return calls.MACHINES.get(name, name)


def from_docker_json(
    text: str, capabilities: Collection[str], machine: str | None = None, kernel: str | None = None
) -> Profile:
    """A profile as `--security-opt seccomp=FILE` takes it: the runtime spec's, plus what a rule includes and excludes.

    `kernel` is uname(2)'s release, by default this machine's; it is what a rule's `minKernel` is about. `Invalid` for
    text that is no profile.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Invalid("decode seccomp profile", "", str(error), code="seccomp.decode") from error
    if not isinstance(given, dict) or not given.get("defaultAction"):
        raise Invalid("decode seccomp profile", "", "it has no defaultAction", code="seccomp.decode")
    architecture = _architecture(machine)
    facts = _Facts(architecture, frozenset(capabilities), _version(kernel or os.uname().release))
    rules = [_named(rule) for rule in given.get("syscalls") or ()]
    kept = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
    return {
        **{key: given[key] for key in kept if given.get(key) is not None},
        "architectures": _architectures(given, architecture),
        "syscalls": [_plain(rule) for rule in rules if facts.fit(rule)],
    }


class _Facts:
    """What a rule's conditions are about."""

    def __init__(self, architecture: str, capabilities: frozenset[str], kernel: tuple[int, int]) -> None:
        self._architecture = architecture
        self._capabilities = capabilities
        self._kernel = kernel

    def fit(self, rule: Mapping[str, Any]) -> bool:
        """Whether the rule counts: all of what it includes, and nothing of what it excludes."""
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        return (
            (not includes.get("arches") or self._architecture in includes["arches"])
            and all(name in self._capabilities for name in includes.get("caps") or ())
            and (not includes.get("minKernel") or self._kernel >= _version(includes["minKernel"]))
            and self._architecture not in (excludes.get("arches") or ())
            and not any(name in self._capabilities for name in excludes.get("caps") or ())
            and not (excludes.get("minKernel") and self._kernel >= _version(excludes["minKernel"]))
        )


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.split(".")[0].split("-")[0]
    if not (major.isdigit() and minor.isdigit()):
        raise Invalid("read kernel version", text, "not of the form <major>.<minor>")
    return int(major), int(minor)


def _architectures(given: Mapping[str, Any], architecture: str) -> list[str]:
    if given.get("architectures") and given.get("archMap"):
        cause = "both 'architectures' and 'archMap' are given, use either"
        raise Invalid("read seccomp profile", "architectures", cause, code="seccomp.decode")
    own = calls.ARCHITECTURES.get(architecture, ("",))[0]
    for item in given.get("archMap") or ():
        if item.get("architecture") == own:
            return [own, *(item.get("subArchitectures") or ())]
    return list(given.get("architectures") or ())


def _named(rule: Mapping[str, Any]) -> Profile:
    """The rule with `names`: Docker's older profiles have one `name`."""
    if rule.get("name") and rule.get("names"):
        raise Invalid("read seccomp profile", rule["name"], "both 'name' and 'names' are given, use either")
    return {**rule, "names": [rule["name"]] if rule.get("name") else list(rule.get("names") or ())}


def _plain(rule: Mapping[str, Any]) -> Profile:
    kept = ("names", "action", "errnoRet", "args")
    return {key: rule[key] for key in kept if rule.get(key) is not None}
