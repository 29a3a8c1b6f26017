"""The step that says on which processors a process may run: sched_setaffinity(2), `process.execCPUAffinity`.

Loaded with a plan that has one only; what all others do is `surroundings.ResetAffinity`. You come from `entry`.
"""

from __future__ import annotations

import os

from onggi.oci.ranges import parse_ranges
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class SetAffinity:
    """Run on these processors only; from then on, what is forked does so as well."""

    processors: tuple[int, ...]
    why: str

    def describe(self) -> str:
        return f"taskset -pc {','.join(map(str, self.processors))} $$"

    def apply(self, context: Context) -> None:
        os.sched_setaffinity(0, self.processors)


def processors(text: str) -> tuple[int, ...]:
    """`0-3,7` → (0, 1, 2, 3, 7), as cpuset(7) has lists; Invalid says what is no list."""
    mask = parse_ranges(text)
    return tuple(number for number in range(mask.bit_length()) if mask >> number & 1)
