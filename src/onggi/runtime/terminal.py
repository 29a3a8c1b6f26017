"""Steps that give a process a terminal. Loaded with a plan that has one only.

It comes from the container's own devpts, its master goes to the keeper. You come from `steps`; the order is the plans'; read
next: `kernel/tty`.
"""

from __future__ import annotations

import os

from onggi.kernel import sockets, tty
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class OpenTerminal:
    """A terminal from the container's own devpts, its master sent to whoever asked for the process."""

    size: tuple[int, int] | None
    """Rows, columns."""
    relayed: bool
    """Somebody copies it to another terminal, which adds the carriage returns."""
    why: str

    def describe(self) -> str:
        return "open /dev/pts/ptmx"

    def apply(self, context: Context) -> None:
        master = tty.open_master(context.root)
        try:
            tty.unlock(master)
            if self.size:
                tty.set_size(master, *self.size)
            if self.relayed:
                tty.leave_newlines(master)
            context.console = tty.open_peer(master)
            assert context.keeper is not None
            sockets.send_descriptors(context.keeper, b'{"console": true}', [master])
        finally:
            os.close(master)


@dataclass(frozen=True, slots=True)
class TakeTerminal:
    """The terminal becomes the session's controlling one, and the process's streams."""

    why: str

    def describe(self) -> str:
        return "setsid --ctty"

    def apply(self, context: Context) -> None:
        tty.take_control(context.console)
        for number in (0, 1, 2):
            os.dup2(context.console, number)
