"""Signals without the standard library's `signal`, which loads `enum` and makes three classes of them: signal(7).

Its C module has the calls; here are the numbers' names. Callers: `runtime`, `runc`. Read next: `process`.
"""

from __future__ import annotations

from onggi.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

KILL, TERM, CHLD, STOP, WINCH, PIPE, URG = (
    int(getattr(_signal, "SIG" + name)) for name in ("KILL", "TERM", "CHLD", "STOP", "WINCH", "PIPE", "URG")
)
ALL: frozenset[int] = frozenset(int(number) for number in _signal.valid_signals())
"""Every signal that may be sent here; not the two that libc keeps for its threads."""
CAN_BE_DEFAULT: tuple[int, ...] = tuple(sorted(ALL - {KILL, STOP}))
END_A_PROCESS: tuple[int, ...] = tuple(
    int(getattr(_signal, "SIG" + name)) for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM")
)
"""What ends a process that has no handler for it, and is sent to end one."""
DEFAULT, BLOCK, UNBLOCK, SET = (
    int(getattr(_signal, name)) for name in ("SIG_DFL", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK")
)

handle = _signal.signal
"""signal(2) by the interpreter: `handle(number, function)`."""
mask = _signal.pthread_sigmask
pending = _signal.sigpending
wait = _signal.sigwait
send_to_pidfd = _signal.pidfd_send_signal


def name(number: int) -> str:
    """`SIGTERM`, `SIGRTMIN+3`; the number for what has no name."""
    word: str
    for word, value in vars(_signal).items():
        if word.startswith("SIG") and not word.startswith("SIG_") and word not in _OTHER_NAMES and value == number:
            return word
    least = int(_signal.SIGRTMIN)
    return f"SIGRTMIN+{number - least}" if least < number <= int(_signal.SIGRTMAX) else str(number)


_OTHER_NAMES = ("SIGCLD", "SIGIOT", "SIGPOLL", "SIGRTMAX")


def number(word: str) -> int:
    """The number of `KILL`, `sigkill`, `9`, `RTMIN+3`; Invalid when there is no such signal. 0 is one: it asks only."""
    if word.isdigit():
        found = int(word)
    else:
        base, plus, offset = word.upper().removeprefix("SIG").partition("+" if "+" in word else "-")
        found = int(getattr(_signal, "SIG" + base, -1)) if base and not base.startswith("_") else -1
        if plus and offset.isdigit() and base in ("RTMIN", "RTMAX"):
            found += int(offset) if plus == "+" else -int(offset)
        elif plus:
            found = -1
    if found != 0 and found not in ALL:
        raise Invalid("send signal", word, f'unknown signal "{word}"')
    return found
