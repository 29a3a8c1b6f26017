"""What a starter makes for its keeper, whatever it started: the facts, the descriptors, and how to undo it.

Callers: `starter`, `entrance`. Read next: `keeper`, which takes it.
"""

from __future__ import annotations

import os

from onggi.runtime.mapped import host_root
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from onggi.oci.runtime import IdMap


@dataclass(frozen=True, slots=True)
class Made:
    """A process that runs and that the keeper does not know of yet."""

    facts: dict[str, Any]
    """As `Keeper` takes them."""
    pidfd: int
    descriptors: list[int]
    """The log; then the terminal's master, or the outputs and, when it is open, the input."""
    rows: Callable[[], list[list[Any]]]
    """The trace of the start."""
    abandon: Callable[[], None]
    """Nobody will ever know of the process, so there must be none."""


def pipes(*, open_stdin: bool, id_maps: tuple[IdMap, ...], for_others: bool) -> tuple[tuple[int, int, int], list[int]]:
    """A process's three streams, and our ends of them: the two outputs, then the input if it is open.

    With `id_maps` they belong to who is root inside, and `for_others` lets a user who is not root open them again as
    /dev/stdout.
    """
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    err_r, err_w = os.pipe2(os.O_CLOEXEC)
    ours = [out_r, err_r]
    if open_stdin:
        in_r, in_w = os.pipe2(os.O_CLOEXEC)
        ours.append(in_w)
    else:
        in_r = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    if id_maps:
        for descriptor in (in_r, out_w, err_w) if open_stdin else (out_w, err_w):
            os.fchown(descriptor, host_root(id_maps), -1)
    if for_others:
        for descriptor in (out_w, err_w):
            os.fchmod(descriptor, 0o622)
    return (in_r, out_w, err_w), ours
