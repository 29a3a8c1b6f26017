"""A container's limits against what it uses and what it used at most, and its rights, as facts.

Callers: `explain`. Read next: `facts`.
"""

from __future__ import annotations

from onggi.glass.facts import Fact, several, size
from onggi.glass.namespaces import Status
from onggi.kernel import capability
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.cgroup.limits import read
from onggi.kernel.cgroup.usage import oom_kills, usage

_SECONDS = 1_000_000_000


def limit_facts(layout: Layout, path: str) -> tuple[Fact, ...]:
    """Memory, processor and processes of the group at `path`."""
    used = usage(layout, path)
    facts = []
    if used.memory is not None:
        limit = f"{size(used.memory_limit)} at most" if used.memory_limit is not None else "no limit"
        peak = f", {size(used.memory_peak)} at its peak" if used.memory_peak is not None else ""
        kills = oom_kills(layout, path)
        killed = f"; the kernel killed {several(kills, 'process', 'processes')} for want of it" if kills else ""
        facts.append(Fact("memory", f"{limit}; {size(used.memory)} now{peak}{killed}"))
    if used.cpu_ns is not None:
        facts.append(Fact("processor", f"{_share(layout, path)}; {used.cpu_ns / _SECONDS:.2f} s used"))
    if used.pids is not None:
        limit = f"{used.pids_limit} at most" if used.pids_limit is not None else "no limit"
        facts.append(Fact("processes", f"{limit}; {used.pids} now"))
    return tuple(facts)


def _share(layout: Layout, path: str) -> str:
    """How much processor time the group may take."""
    directory = layout.directory("cpu", path)
    if directory is None:
        return "no limit"
    both = read(directory, "cpu.max").split()
    if not both:
        both = [read(directory, "cpu.cfs_quota_us"), read(directory, "cpu.cfs_period_us")]
    quota, period = both
    if not (quota.isdigit() and period.isdigit()):
        return "no limit"
    share = f"{int(quota) / int(period):.2f}".rstrip("0").rstrip(".")
    of_each = f"{int(quota) / 1000:g} ms of every {int(period) / 1000:g} ms"
    return f"{share} processors at most ({of_each})" if share != "1" else f"one processor at most ({of_each})"


def right_facts(status: Status) -> tuple[Fact, ...]:
    """Capabilities kept and dropped, the seccomp filter, no_new_privs."""
    kept = capability.names(status.bounding)
    dropped = tuple(name for name in capability.NAMES if name not in kept)
    return (
        Fact("capabilities kept", ", ".join(_short(name) for name in kept) or "none"),
        Fact("capabilities dropped", ", ".join(_short(name) for name in dropped) or "none"),
        Fact("in effect now", ", ".join(_short(n) for n in capability.names(status.effective)) or "none"),
        Fact("system calls", _seccomp(status)),
        Fact("no_new_privs", _no_new_privs(status)),
    )


def _short(name: str) -> str:
    return name.removeprefix("CAP_").lower()


def _seccomp(status: Status) -> str:
    if status.seccomp == 2:
        filters = several(status.filters, "filter") if status.filters else "a filter"
        return f"{filters} decides before each call; what it denies fails with an error (seccomp mode 2)"
    if status.seccomp == 1:
        return "only read, write, exit and sigreturn (seccomp mode 1)"
    return "none is filtered (seccomp mode 0)"


def _no_new_privs(status: Status) -> str:
    if status.no_new_privs:
        return "on: no program that it executes can gain rights, whatever its set-user-ID bit says"
    return "off: a set-user-ID program runs with its owner's id, within the capabilities that were kept"
