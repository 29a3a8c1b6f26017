"""Between our streams and a container's terminal: what comes in here goes out there, until the container hangs up.

Neither direction waits for the other: a program that does not read may go on writing, and is read. Imported only for a
terminal in the foreground, or a container that is to say when it is ready. Callers: `foreground`. Read next: `ready`.
"""

from __future__ import annotations

import os
import select
import termios
import tty as terminal

from onggi.unwinding import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.runc.ready import Ready

_CHUNK = 64 << 10


def stand_between(console: int, pidfd: int, ready: Ready | None) -> None:
    """Copy between 0 and 1, raw if they are a terminal, and the console (-1 for none; it is closed at the end).

    Meanwhile listen whether the container is ready; without a console, until the process behind `pidfd` ends.
    """
    with ExitStack() as undo:
        relay = _Relay(console if console >= 0 else pidfd, ready)
        if console >= 0:
            undo.callback(os.close, console)
            os.set_blocking(console, False)
            relay.poll.register(0, select.POLLIN)
            if os.isatty(0):
                before = termios.tcgetattr(0)
                undo.callback(termios.tcsetattr, 0, termios.TCSADRAIN, before)
                terminal.setraw(0)
                raw = termios.tcgetattr(0)
                raw[1] = before[1]  # its carriage returns are ours to add: the container's terminal adds none
                termios.tcsetattr(0, termios.TCSADRAIN, raw)
        while relay.step():
            pass


class _Relay:
    def __init__(self, far: int, ready: Ready | None) -> None:
        self.poll = select.poll()
        self._far = far
        """The container's terminal, or its pidfd, which is never written to and has nothing to be read."""
        self._ready = ready
        self._waiting = b""
        """What came in and the terminal has no room for; until it has, nothing more is read."""
        self.poll.register(far, select.POLLIN)
        if ready:
            self.poll.register(ready, select.POLLIN)

    def step(self) -> bool:
        """Wait for one round of events and do them; False when the container has hung up."""
        for number, events in self.poll.poll():
            if number == self._far:
                if events & select.POLLOUT:
                    self._pass_in()
                if events & ~select.POLLOUT and not self._pass_out():
                    return False
            elif number == 0:
                self._read_in()
            elif self._ready and self._ready.heard(os.getpid()):
                self.poll.unregister(self._ready)
        return True

    def _read_in(self) -> None:
        self._waiting = _read(0)
        self.poll.unregister(0)  # until this has gone out; for good when there is no more
        if self._waiting:
            self._pass_in()

    def _pass_in(self) -> None:
        try:
            written = os.write(self._far, self._waiting)
        except BlockingIOError:
            written = 0  # later, when it says that it has room
        except OSError:
            written = len(self._waiting)  # it has hung up, and says so when it is read
        self._waiting = self._waiting[written:]
        if self._waiting:
            self.poll.modify(self._far, select.POLLIN | select.POLLOUT)
        else:
            self.poll.modify(self._far, select.POLLIN)
            self.poll.register(0, select.POLLIN)

    def _pass_out(self) -> bool:
        data = _read(self._far)
        rest = data
        while rest:
            rest = rest[os.write(1, rest) :]
        return bool(data)


def _read(number: int) -> bytes:
    try:
        return os.read(number, _CHUNK)
    except OSError:  # EIO: the last one at the other end is gone
        return b""
