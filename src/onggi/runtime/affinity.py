"""Steps that say on which processors a process may run: sched_setaffinity(2), `process.execCPUAffinity`.

A process that is started should not be bound to the processors that whoever started it is bound to; the group it joins
bounds it anyway. You come from `steps`; the order is the plans'.
"""

from __future__ import annotations

import os

from onggi.oci.ranges import parse_ranges
from onggi.runtime.steps import Context
from onggi.values import dataclass

_ALL = range(1024)
"""More than nearly any machine has; the kernel takes those that are there."""


@dataclass(frozen=True, slots=True)
class SetAffinity:
    """Run on these processors only; from then on, what is forked does so as well."""

    processors: tuple[int, ...]
    why: str

    def describe(self) -> str:
        return f"taskset -pc {','.join(map(str, self.processors))} $$"

    def apply(self, context: Context) -> None:
        os.sched_setaffinity(0, self.processors)


@dataclass(frozen=True, slots=True)
class ResetAffinity:
    """Run on any processor that the group has, whatever those are that we run on ourselves."""

    why: str

    def describe(self) -> str:
        return "taskset -pc 0- $$"

    def apply(self, context: Context) -> None:
        try:
            os.sched_setaffinity(0, _ALL)
        except OSError as error:  # some sandboxes do not let anybody choose
            context.warnings.append(f"the processors are those of the runtime: {error.strerror}")


def processors(text: str) -> tuple[int, ...]:
    """`0-3,7` → (0, 1, 2, 3, 7), as cpuset(7) has lists; Invalid says what is no list."""
    mask = parse_ranges(text)
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)
