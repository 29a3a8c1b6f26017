"""Steps for `process.rlimits`, and for a user namespace that may not raise them. Loaded with a plan that has some only.

The specification makes a limit that cannot be set an error; an engine that is lent fewer rights than it was asked to
give goes on with a warning. Which of the two holds is the request's `best_effort`. You come from `plan`; read next:
`kernel/limits`.
"""

from __future__ import annotations

import errno

from onggi.errors import Invalid, KernelError, StartFailed
from onggi.kernel import limits as kernel
from onggi.oci.runtime import Rlimit
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class SetRlimits:
    """Limits of one process: prlimit(2)."""

    limits: tuple[Rlimit, ...]
    best_effort: bool
    why: str

    def describe(self) -> str:
        return "prlimit " + " ".join(
            f"--{r.type.removeprefix('RLIMIT_').lower()}={r.soft}:{r.hard}" for r in self.limits
        )

    def apply(self, context: Context) -> None:
        for limit in self.limits:
            soft, hard = _value(limit.soft), _value(limit.hard)
            try:
                kernel.put(limit.type, soft, hard)
            except KernelError as error:
                if error.errno != errno.EPERM:  # above our own hard limit, without CAP_SYS_RESOURCE
                    raise _refused(limit, error) from error
                if not self.best_effort:
                    raise _refused(limit, error) from error
                own = kernel.get(limit.type)[1]
                kernel.put(limit.type, min(soft, own), own)
                context.warnings.append(f"{limit.type} {limit.hard} is above the engine's own hard limit: {own} it is")


@dataclass(frozen=True, slots=True)
class RaiseRlimits:
    """In the keeper: let the init's hard limits be as high as it will set them.

    In a user namespace of its own nobody may raise them; to lower them it needs no right. Nothing is lowered here: the
    init still has to open files.
    """

    limits: tuple[Rlimit, ...]
    best_effort: bool
    why: str

    def describe(self) -> str:
        words = (f"--{r.type.removeprefix('RLIMIT_').lower()}=:{r.hard}" for r in self.limits)
        return "prlimit --pid $INIT " + " ".join(words)

    def apply(self, context: Context) -> None:
        for limit in self.limits:
            soft, hard = kernel.get(limit.type, context.child)
            if _value(limit.hard) <= hard:
                continue
            try:
                kernel.put(limit.type, soft, _value(limit.hard), context.child)
            except KernelError as error:
                if error.errno != errno.EPERM or not self.best_effort:
                    raise _refused(limit, error) from error


def checked(limits: tuple[Rlimit, ...]) -> tuple[Rlimit, ...]:
    """The limits, if the kernel has them all and each is there once; Invalid otherwise."""
    seen: set[str] = set()
    for limit in limits:
        if limit.type not in kernel.NUMBERS:
            raise Invalid("read", "process.rlimits", f"wrong rlimit value: {limit.type}")
        if limit.type in seen:
            raise Invalid("read", "process.rlimits", f"{limit.type} is there twice")
        if not all(type(value) is int and -1 <= value < 2**64 for value in (limit.soft, limit.hard)):
            raise Invalid("read", "process.rlimits", f"{limit.type} {limit.soft}:{limit.hard} are no limits")
        seen.add(limit.type)
    return limits


def _value(given: int) -> int:
    return kernel.INFINITY if given < 0 else given


def _refused(limit: Rlimit, error: KernelError) -> StartFailed:
    hint = "to raise a hard limit takes CAP_SYS_RESOURCE" if error.errno == errno.EPERM else ""
    return StartFailed(
        "set", limit.type, f"error setting rlimit: {error}", hint=hint, facts={"errno": error.errno, "call": "prlimit"}
    )
