"""Limits of one process: prlimit(2), by the kernel's names and with all 64 bits.

The standard library's `resource` has neither every name nor the upper half of the values. Loaded by a plan that sets
limits only. Callers: `runtime/limits`. Read next: `attributes`.
"""

from __future__ import annotations

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel.syscall import bind

NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
"""asm-generic/resource.h, which x86, arm64, s390, powerpc and riscv share."""
INFINITY = 2**64 - 1
"""RLIM_INFINITY; as the specification has it, -1 too."""


class _Rlimit(ctypes.Structure):
    _fields_ = (("soft", ctypes.c_uint64), ("hard", ctypes.c_uint64))


_pointer = ctypes.POINTER(_Rlimit)
_prlimit = bind("prlimit64", ctypes.c_int, ctypes.c_int, ctypes.c_uint, _pointer, _pointer)


def get(kind: str, pid: int = 0) -> tuple[int, int]:
    """The soft and the hard limit of a process, 0 for the caller."""
    found = _Rlimit()
    _prlimit(pid, NUMBERS[kind], None, ctypes.byref(found))
    return found.soft, found.hard


def put(kind: str, soft: int, hard: int, pid: int = 0) -> None:
    """Set both. EPERM: a hard limit above the present one, without CAP_SYS_RESOURCE; EINVAL: soft is above hard."""
    try:
        _prlimit(pid, NUMBERS[kind], ctypes.byref(_Rlimit(soft, hard)), None)
    except KernelError as error:
        raise KernelError("prlimit", f"{kind}={soft}:{hard}", error.errno or 0) from error
