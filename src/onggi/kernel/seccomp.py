"""seccomp: which system calls a process may make, as a program that the kernel runs before each of them.

This half hands a finished program to the kernel (in the init, after its root has changed: seccomp(2) alone, no library, no
file), and says what this kernel can do. The other half, `seccomp_compiler`, makes the program; they never meet in one
process. Callers: `runtime/filters`, `runc/bundle`, `engine/security`. Read next: `seccomp_compiler`. See seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno

from onggi.errors import Invalid, KernelError
from onggi.kernel.syscall import bind_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SPEC_ALLOW = 1 << 2
"""SECCOMP_FILTER_FLAG_SPEC_ALLOW: no speculation brake, which costs much and which kernels since 5.16 leave off too."""
NEW_LISTENER = 1 << 3
"""SECCOMP_FILTER_FLAG_NEW_LISTENER: calls with the action SCMP_ACT_NOTIFY wait for whoever has the descriptor."""
_WAIT_KILLABLE_RECV = 1 << 5

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # for all threads at once: who loads a filter here has only one
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": _WAIT_KILLABLE_RECV,
}
"""The runtime spec's words and what they are to seccomp(2)."""
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
"""The runtime spec's words and the kernel's SECCOMP_RET_*, which are libseccomp's too."""
INSTRUCTION = 8
"""Bytes of a struct sock_filter."""
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


_seccomp = bind_number("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p)


def load_filter(bpf: bytes, flags: int = SPEC_ALLOW) -> int:
    """seccomp(2), SECCOMP_SET_MODE_FILTER: put the calling thread under the program, for good.

    Needs `no_new_privs` or CAP_SYS_ADMIN. Returns 0; with NEW_LISTENER the listener's descriptor, close-on-exec.
    """
    instructions = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // INSTRUCTION, ctypes.addressof(instructions))
    try:
        return _seccomp(_SET_MODE_FILTER, flags, ctypes.byref(program))
    except KernelError as error:
        if error.errno == errno.EINVAL and flags & SPEC_ALLOW:  # a kernel before 4.17 does not know this flag
            return _seccomp(_SET_MODE_FILTER, flags & ~SPEC_ALLOW, ctypes.byref(program))
        raise KernelError("seccomp", f"flags {flags:#x}", error.errno or 0) from error


def filter_flags(profile: Mapping[str, Any]) -> int:
    """The runtime spec's `flags` as bits; SPEC_ALLOW where there is no such member; with NEW_LISTENER where it needs one."""
    given = profile.get("flags")
    bits = NEW_LISTENER if needs_listener(profile) else 0
    for name in ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",) if given is None else given:
        if name not in FLAGS:
            raise Invalid("read seccomp profile", str(name), "unknown flag", hint="known are " + ", ".join(FLAGS))
        bits |= FLAGS[name]
    return bits


def needs_listener(profile: Mapping[str, Any]) -> bool:
    """Whether some call waits for somebody else's answer."""
    return any(rule.get("action") == "SCMP_ACT_NOTIFY" and rule.get("names") for rule in profile.get("syscalls") or ())


def listener(profile: Mapping[str, Any]) -> tuple[str, str] | None:
    """`listenerPath` and `listenerMetadata` of a profile with calls that wait for an answer; None for any other.

    config-linux.md: where SCMP_ACT_NOTIFY is not used the path is ignored; metadata must not be there without a path.
    """
    path, metadata = profile.get("listenerPath") or "", profile.get("listenerMetadata") or ""
    if metadata and not path:
        raise Invalid("read seccomp profile", "listenerMetadata", "it is for a listener, and listenerPath is not set")
    if not needs_listener(profile):
        return None
    if not path:
        cause = "seccomp listenerPath is not set, and SCMP_ACT_NOTIFY is used"
        raise Invalid("read seccomp profile", "listenerPath", cause)
    return path, metadata


def has_action(name: str) -> bool:
    """Whether this kernel can do what an action says."""
    return _takes(_GET_ACTION_AVAIL, 0, ctypes.c_uint32(ACTIONS[name]))


def has_flag(name: str) -> bool:
    """Whether this kernel knows a flag: with it, and no program, it complains of the program (EFAULT)."""
    bits = FLAGS[name] | (NEW_LISTENER if FLAGS[name] == _WAIT_KILLABLE_RECV else 0)
    return _takes(_SET_MODE_FILTER, bits, None)


def _takes(operation: int, flags: int, argument: ctypes.c_uint32 | None) -> bool:
    try:
        _seccomp(operation, flags, argument and ctypes.byref(argument))
    except KernelError as error:
        return error.errno == errno.EFAULT
    return True
