"""System calls by ctypes: libc's symbol where it has one, `syscall(2)` by number where it lacks one.

Everything else in `kernel/` binds its calls here, once, with their full prototype and the shared errcheck. What Python's
`os` has is not bound again. `find_library` is never used: it runs a compiler and `ldconfig`; `CDLL(None)` is the process
itself. The calls of this module keep the interpreter lock (`PyDLL`): launcher, keeper and init have one thread, and a
`clone3` must not come back in a child that waits for a lock which nobody holds.
Callers: the files beside this one. Read next: `flags`, `fd`.
"""

from __future__ import annotations

import os

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

libc = ctypes.PyDLL(None, use_errno=True)
"""For calls that return at once."""
libc_blocking = ctypes.CDLL(None, use_errno=True)
"""For calls that may wait: the interpreter lock is released around them."""

# Numbers of the calls that libc 2.36 lacks. From 424 on they are the same on every architecture (asm-generic).
_GENERIC = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}
# fmt: off
_BY_MACHINE = {
    "x86_64": {
        "pivot_root": 155, "seccomp": 317, "bpf": 321, "keyctl": 250, "capset": 126, "capget": 125,
        "sched_setattr": 314, "ioprio_set": 251, "set_mempolicy": 238,
    },
    "aarch64": {
        "pivot_root": 41, "seccomp": 277, "bpf": 280, "keyctl": 219, "capset": 91, "capget": 90,
        "sched_setattr": 274, "ioprio_set": 30, "set_mempolicy": 237,
    },
}
# fmt: on
NUMBERS = _GENERIC | _BY_MACHINE.get(os.uname().machine, _BY_MACHINE["aarch64"])


def fail(call: str, arguments: tuple[Any, ...]) -> KernelError:
    """The error of a call that just returned -1, with errno as the call left it."""
    shown = ", ".join(_show(a) for a in arguments)
    return KernelError(call, shown, ctypes.get_errno())


def _show(argument: Any) -> str:
    value = getattr(argument, "value", argument)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else type(argument).__name__


def bind(name: str, result: type[Any], *parameters: type[Any], library: ctypes.CDLL = libc) -> Callable[..., Any]:
    """libc's function `name` with its prototype; -1 raises `KernelError`."""
    function = library[name]
    function.restype = result
    function.argtypes = parameters
    function.errcheck = _errcheck(name)
    return function


def bind_number(name: str, *parameters: type[Any], library: ctypes.CDLL = libc) -> Callable[..., int]:
    """The system call `name` through syscall(2); -1 raises `KernelError`."""
    function = library["syscall"]  # indexing gives a function object of its own each time
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, *parameters)
    number = NUMBERS[name]
    check = _errcheck(name)

    def call(*arguments: Any) -> int:
        result: int = function(number, *arguments)
        return check(result, function, arguments)  # type: ignore[no-any-return]

    return call


def _errcheck(name: str) -> Callable[[Any, Any, tuple[Any, ...]], Any]:
    def check(result: Any, _function: Any, arguments: tuple[Any, ...]) -> Any:
        if result == -1:
            raise fail(name, arguments)
        return result

    return check
