"""What a container may do: capabilities, seccomp filter, masked paths; and the cache of compiled filters.

A filter is compiled once per profile and capability set and kept as a file that the init reads. Callers: `engine/spec`.
Read next: `engine/seccomp_profile`, `kernel/seccomp`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onggi.engine import capabilities, seccomp_profile
from onggi.errors import Invalid, Unsupported
from onggi.kernel import capability, seccomp, seccomp_compiler
from onggi.wire.host_config import HostConfig

MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Security:
    """The rights of one container's process; `filter` is a file, empty for none."""

    capabilities: tuple[str, ...]
    no_new_privileges: bool
    filter: str
    filter_flags: int
    listener: tuple[str, str] | None
    """Of a filter with calls that somebody else answers: that one's socket, and what it is told."""
    masked: tuple[str, ...]
    readonly: tuple[str, ...]


@functools.cache
def held() -> tuple[str, ...]:
    """The capabilities that this host can give: what the engine itself has."""
    return capability.names(capability.bounded())


def decide(host: HostConfig, cache: Path) -> Security:
    """The rights that a HostConfig asks for; Invalid in Docker's words, Unsupported for labels that the kernel lacks."""
    names = capabilities.chosen(host.cap_add, host.cap_drop, privileged=host.privileged, held=held())
    profile, no_new_privileges, _ = _options(host.security_opt or (), host.privileged)
    found: tuple[str, int, tuple[str, str] | None] = "", 0, None
    if profile != "unconfined":
        found = _compile(profile, names, str(cache))
    masked, readonly = hidden_paths(host)
    return Security(names, no_new_privileges, *found, masked, readonly)


def hidden_paths(host: HostConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The paths that are masked, and those that are read-only."""
    _, _, unmask = _options(host.security_opt or (), host.privileged)
    is_open = host.privileged or unmask
    masked = host.masked_paths if host.masked_paths is not None else (() if is_open else MASKED)
    readonly = host.readonly_paths if host.readonly_paths is not None else (() if is_open else READONLY)
    return tuple(masked), tuple(readonly)


def _options(options: Sequence[str], privileged: bool) -> tuple[str, bool, bool]:
    """`--security-opt`: the seccomp profile's text (`builtin`, `unconfined`), no-new-privileges, systempaths open."""
    profile, no_new_privileges, unmask = ("unconfined" if privileged else "builtin"), False, False
    for option in options:
        key, separator, value = option.partition("=")
        if not separator:
            key, separator, value = option.partition(":")
        match key, value:
            case "no-new-privileges", "" | "true" | "false":
                no_new_privileges = value != "false"
            case "seccomp", _ if value:
                profile = value
            case "systempaths", "unconfined":
                unmask = True
            case "label", "disable":
                continue  # there is no label to take away
            case "apparmor", "unconfined":
                continue
            case (("label" | "apparmor"), _) if separator:
                raise Unsupported(
                    "set", option, "this kernel has no such security module, or Onggi does not use it yet"
                )
            case _:
                raise Invalid("read", option, f"invalid --security-opt 2: {json.dumps(option)}", code="text")
    return profile, no_new_privileges, unmask


@functools.lru_cache(maxsize=64)
def _compile(profile: str, names: tuple[str, ...], cache: str) -> tuple[str, int, tuple[str, str] | None]:
    """The file of the compiled filter, made unless it is there; its flags; its listener."""
    builtin = profile == "builtin"
    rules = seccomp_profile.default_profile(names) if builtin else seccomp_profile.from_docker_json(profile, names)
    path = os.path.join(cache, f"{seccomp_compiler.digest(rules)}.bpf")
    new = f"{path}.{os.getpid()}"
    with open(new, "wb") as file:
        file.write(seccomp_compiler.compile_filter(rules))
    os.rename(new, path)
    return path, seccomp.filter_flags(rules), seccomp.listener(rules)
