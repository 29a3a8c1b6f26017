"""What a process hands on to its children beside its rights: scheduling, I/O priority, memory policy, personality.

Four calls that libc lacks or hides, and the kernel's words for their numbers. All of them survive execve(2). Loaded by a
plan that asks for one of them only. Callers: `runtime/attributes`, `runc/features`. Read next: `process`.
"""

from __future__ import annotations

from onggi.kernel import c_types as ctypes
from onggi.kernel.syscall import bind, bind_number

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
"""linux/sched.h. SCHED_ISO has a number, and no kernel that takes it."""
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
"""linux/ioprio.h."""
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
"""linux/mempolicy.h."""
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
PERSONALITIES = {"LINUX": 0x0, "LINUX32": 0x8}
"""sys/personality.h: PER_LINUX, PER_LINUX32; the runtime specification's names."""

_WHO_PROCESS_GROUP, _CLASS_SHIFT = 2, 13
_WORD = 64
"""Bits of an unsigned long, the unit of a node mask."""


class _SchedAttr(ctypes.Structure):
    """struct sched_attr, as of Linux 5.3 (sched_setattr(2)); an older kernel takes it when what it lacks is zero."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
        ("util_min", ctypes.c_uint32),
        ("util_max", ctypes.c_uint32),
    )


_c_int, _c_ulong = ctypes.c_int, ctypes.c_ulong
_sched_setattr = bind_number("sched_setattr", _c_int, ctypes.POINTER(_SchedAttr), ctypes.c_uint)
_ioprio_set = bind_number("ioprio_set", _c_int, _c_int, _c_int)
_set_mempolicy = bind_number("set_mempolicy", _c_int, ctypes.POINTER(_c_ulong), _c_ulong)
_personality = bind("personality", _c_int, _c_ulong)


def set_scheduler(
    policy: int, flags: int, *, nice: int = 0, priority: int = 0, runtime: int = 0, deadline: int = 0, period: int = 0
) -> None:
    """sched_setattr(2) of the calling thread; the three times in nanoseconds, for SCHED_DEADLINE only.

    EPERM: a real-time policy without CAP_SYS_NICE, or a deadline for a thread that may not run on every processor.
    """
    attributes = _SchedAttr(ctypes.sizeof(_SchedAttr), policy, flags, nice, priority, runtime, deadline, period, 0, 0)
    _sched_setattr(0, ctypes.byref(attributes), 0)


def set_io_priority(io_class: int, priority: int) -> None:
    """ioprio_set(2) of the caller's process group; 0 is the highest priority of a class, 7 the lowest."""
    _ioprio_set(_WHO_PROCESS_GROUP, 0, io_class << _CLASS_SHIFT | priority)


def set_memory_policy(mode: int, nodes: int) -> None:
    """set_mempolicy(2) of the calling thread: `mode` with its flags, `nodes` as a mask, 0 for none."""
    if not nodes:
        _set_mempolicy(mode, None, 0)
        return
    count = -(-nodes.bit_length() // _WORD)
    words = (_c_ulong * count)(*(nodes >> _WORD * place & 2**_WORD - 1 for place in range(count)))
    _set_mempolicy(
        mode, words, count * _WORD + 1
    )  # the kernel takes one less than it is told (get_nodes in mempolicy.c)


def set_personality(domain: int) -> None:
    """personality(2): PER_LINUX32 makes uname(2) name a 32-bit machine."""
    _personality(domain)
