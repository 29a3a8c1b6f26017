"""Steps that say how a process is scheduled: policy, I/O priority, memory policy; and its personality.

`steps` reads them from the specification and refuses what cannot be meant; the messages hold what runc's and crun's
clients look for. Loaded with a plan that has one of them only. You come from `becoming`; read next: `kernel/attributes`.
"""

from __future__ import annotations

import errno

from onggi.errors import Invalid, KernelError, StartFailed
from onggi.kernel import attributes as kernel
from onggi.oci.ranges import parse_ranges
from onggi.runtime.steps import Context
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeAlias

    from onggi.oci.runtime import Process
    from onggi.runtime.steps import Step

    Json: TypeAlias = Mapping[str, Any]

_LEAST, _MOST = 1024, 2**63
"""Nanoseconds of a deadline's times (sched(7))."""
_TIMES = ("runtime", "deadline", "period")


def steps(process: Process, persona: Json | None, policy: Json | None, cpus: str) -> Iterator[Step]:
    """The steps for `process`, `linux.personality` and `linux.memoryPolicy`; Invalid names what cannot be meant."""
    if process.scheduler is not None:
        yield scheduler(process.scheduler, cpus)
    if process.io_priority is not None:
        yield io_priority(process.io_priority)
    if persona is not None:
        yield personality(persona)
    if policy is not None:
        yield memory_policy(policy)


@dataclass(frozen=True, slots=True)
class SetScheduler:
    """sched_setattr(2)."""

    policy: str
    flags: tuple[str, ...]
    nice: int
    priority: int
    runtime: int
    deadline: int
    period: int
    cpus: str
    """The processors that the container may use, if they are limited: with a deadline the kernel refuses that."""
    why: str

    def describe(self) -> str:
        words = [f"chrt --{self.policy.removeprefix('SCHED_').lower()}"]
        words += ["--reset-on-fork"] if "SCHED_FLAG_RESET_ON_FORK" in self.flags else []
        times = zip(_TIMES, (self.runtime, self.deadline, self.period), strict=True)
        words += [f"--sched-{name} {value}" for name, value in times if value]
        return " ".join([*words, f"--pid {self.priority} $$", *([f"; renice {self.nice} $$"] if self.nice else [])])

    def apply(self, context: Context) -> None:
        try:
            kernel.set_scheduler(
                kernel.POLICIES[self.policy],
                sum(kernel.SCHED_FLAGS[flag] for flag in set(self.flags)),
                nice=self.nice,
                priority=self.priority,
                runtime=self.runtime,
                deadline=self.deadline,
                period=self.period,
            )
        except KernelError as error:
            if error.errno == errno.EPERM and self.cpus:
                cause = f"process scheduler can't be used together with AllowedCPUs ({self.cpus})"
                raise StartFailed("set scheduler", self.policy, cause) from error
            raise


def scheduler(given: Json, cpus: str = "") -> SetScheduler:
    """`process.scheduler` as a step; Invalid says which of its members does not fit the policy."""
    policy = _word(given, "policy", "process.scheduler", kernel.POLICIES, missing="scheduler policy is required")
    flags = _words(given, "flags", "process.scheduler", kernel.SCHED_FLAGS)
    nice, priority = _number(given, "nice", "process.scheduler"), _number(given, "priority", "process.scheduler")
    runtime, deadline, period = (_number(given, name, "process.scheduler") for name in _TIMES)
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= nice <= 19:
        raise _invalid("process.scheduler", f"invalid scheduler.nice: {nice} when scheduler.policy is {policy}")
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise _invalid(
            "process.scheduler", "scheduler.priority can only be specified for SCHED_FIFO or SCHED_RR policy"
        )
    if policy == "SCHED_DEADLINE":
        _check_deadline(given, runtime, deadline, period)
    elif runtime or deadline or period:
        cause = "scheduler runtime/deadline/period can only be specified for SCHED_DEADLINE policy"
        raise _invalid("process.scheduler", cause)
    return SetScheduler(policy, flags, nice, priority, runtime, deadline, period, cpus, "process.scheduler")


def _check_deadline(given: Json, runtime: int, deadline: int, period: int) -> None:
    """What the kernel would answer with EINVAL, in words."""

    def refuse(cause: str) -> Invalid:
        return _invalid("process.scheduler", f"sched_setattr: `SCHED_DEADLINE` {cause}")

    for name, value in (("runtime", runtime), ("deadline", deadline)):
        if given.get(name) is None:
            raise refuse(f"requires `{name}`")
        if not value:
            raise refuse(f"{name} must be greater than 0")
    if runtime > deadline:
        raise refuse(f"runtime ({runtime}) must be <= deadline ({deadline})")
    if period and deadline > period:
        raise refuse(f"deadline ({deadline}) must be <= period ({period})")
    for name, value in (("runtime", runtime), ("deadline", deadline), ("period", period)):
        if (value or name != "period") and not _LEAST <= value < _MOST:
            raise refuse(f"{name} ({value}) must be between {_LEAST} and {_MOST - 1}")


@dataclass(frozen=True, slots=True)
class SetIoPriority:
    """ioprio_set(2), for the process group of the session that was just begun."""

    io_class: str
    priority: int
    why: str

    def describe(self) -> str:
        return f"ionice -c {kernel.IO_CLASSES[self.io_class]} -n {self.priority} -P $$"

    def apply(self, context: Context) -> None:
        kernel.set_io_priority(kernel.IO_CLASSES[self.io_class], self.priority)


def io_priority(given: Json) -> SetIoPriority:
    """`process.ioPriority` as a step."""
    io_class = given.get("class") or ""
    priority = _number(given, "priority", "process.ioPriority")
    if not 0 <= priority <= 7:
        raise _invalid("process.ioPriority", f"invalid ioPriority.priority: {priority}")
    if io_class not in kernel.IO_CLASSES:
        raise _invalid("process.ioPriority", f'invalid ioPriority.class: "{io_class}"')
    return SetIoPriority(io_class, priority, "process.ioPriority")


@dataclass(frozen=True, slots=True)
class SetPersonality:
    """personality(2)."""

    domain: str
    ignored: tuple[str, ...]
    """Flags that were asked for: the specification knows none."""
    why: str

    def describe(self) -> str:
        return "setarch linux32" if self.domain == "LINUX32" else "setarch linux64"

    def apply(self, context: Context) -> None:
        kernel.set_personality(kernel.PERSONALITIES[self.domain])
        if self.ignored:
            context.warnings.append(f"ignoring unsupported personality flags: [{' '.join(self.ignored)}]")


def personality(given: Json) -> SetPersonality:
    """`linux.personality` as a step."""
    domain = given.get("domain") or ""
    if domain not in kernel.PERSONALITIES:
        raise _invalid("linux.personality", f"invalid personality domain {domain}")
    return SetPersonality(domain, tuple(map(str, given.get("flags") or ())), "linux.personality")


@dataclass(frozen=True, slots=True)
class SetMemoryPolicy:
    """set_mempolicy(2)."""

    mode: str
    flags: tuple[str, ...]
    nodes: str
    mask: int
    why: str

    def describe(self) -> str:
        words = ("numactl", f"--{self.mode.removeprefix('MPOL_').lower().replace('_', '-')}={self.nodes}", *self.flags)
        return " ".join(words).rstrip("=")

    def apply(self, context: Context) -> None:
        flags = sum(kernel.MEMORY_FLAGS[flag] for flag in set(self.flags))
        kernel.set_memory_policy(kernel.MEMORY_MODES[self.mode] | flags, self.mask)


def memory_policy(given: Json) -> SetMemoryPolicy:
    """`linux.memoryPolicy` as a step; what a mode makes of flags the kernel knows best."""
    mode, nodes = given.get("mode") or "", given.get("nodes") or ""
    if mode not in kernel.MEMORY_MODES:
        raise _invalid("linux.memoryPolicy", f'invalid memory policy mode "{mode}"')
    flags = tuple(given.get("flags") or ())
    for flag in flags:
        if flag not in kernel.MEMORY_FLAGS:
            raise _invalid("linux.memoryPolicy", f'invalid memory policy flag "{flag}"')
    try:
        mask = parse_ranges(nodes)
    except Invalid as error:
        raise _invalid("linux.memoryPolicy", f'invalid memory policy nodes "{nodes}": {error.cause}') from error
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") and mask:
        cause = f"memory policy mode requires 0 nodes but got {mask.bit_count()}"
        raise _invalid("linux.memoryPolicy", cause)
    if mode not in ("MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED") and not mask:
        raise _invalid("linux.memoryPolicy", "memory policy mode requires at least one node but got 0")
    return SetMemoryPolicy(mode, flags, nodes, mask, "linux.memoryPolicy")


def _word(given: Json, name: str, member: str, known: Mapping[str, int], *, missing: str) -> str:
    word = given.get(name) or ""
    if not word:
        raise _invalid(member, missing)
    if word not in known:
        raise _invalid(member, f"invalid {member.partition('.')[2]} {name} `{word}`")
    return str(word)


def _words(given: Json, name: str, member: str, known: Mapping[str, int]) -> tuple[str, ...]:
    words = tuple(given.get(name) or ())
    for word in words:
        if word not in known:
            raise _invalid(member, f"invalid {member.partition('.')[2]} option `{word}`")
    return words


def _number(given: Json, name: str, member: str) -> int:
    value = given.get(name)
    if value is None:
        return 0
    if type(value) is not int:
        raise _invalid(member, f"{name} is no whole number: {value!r}")
    return value


def _invalid(member: str, cause: str) -> Invalid:
    return Invalid("read", member, cause)
