"""Steps that fetch the compiled seccomp filter and put it in force. Loaded with a plan that has one only.

You come from `steps`; the order is `plan`'s; read next: `kernel/seccomp`.
"""

from __future__ import annotations

from onggi.kernel import seccomp
from onggi.runtime import sync
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class ReadFilter:
    """Fetch the compiled seccomp filter while the host's files can still be seen."""

    path: str
    why: str

    def describe(self) -> str:
        return f"cat {self.path}"

    def apply(self, context: Context) -> None:
        with open(self.path, "rb") as file:
            context.filter = file.read()


@dataclass(frozen=True, slots=True)
class LoadFilter:
    """Put the seccomp filter in force: seccomp(2)."""

    flags: int
    why: str

    def describe(self) -> str:
        return "setpriv --seccomp-filter filter.bpf"

    def apply(self, context: Context) -> None:
        listener = seccomp.load_filter(context.filter, self.flags)
        if self.flags & seccomp.NEW_LISTENER:
            assert context.keeper is not None
            sync.offer(context.keeper, listener)
