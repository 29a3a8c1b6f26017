"""seccomp: which system calls a process may make, as a program that the kernel runs before each of them.

Two halves that never meet in one process: `compile_filter` turns the runtime spec's `linux.seccomp` into a BPF program
with libseccomp (in the engine, or in `onggi-oci` before it forks; milliseconds, worth a cache by `digest`), and
`load_filter` hands the finished program to the kernel (in the init, after its root has changed: seccomp(2) alone, no
library, no file).

libseccomp would answer a call that the profile does not name with the default action. That would be EPERM also for
calls that are younger than the profile, where a C library expects ENOSYS to fall back to an older one. So every number
above the last one that the profile knows gets ENOSYS, as runc does. Calls whose answer does not depend on arguments are
decided by `seccomp_tree`, a third of libseccomp's size and loaded in half the time; libseccomp compiles the rest, which
stands behind it, and names every call.

Callers: `engine/spec`, `runtime/init`. Read next: `seccomp_tree`.
See seccomp(2), seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import errno
import os

from onggi.errors import Invalid, KernelError, Unavailable
from onggi.kernel.seccomp_tree import INSTRUCTION, program, ranges
from onggi.kernel.syscall import bind_number, libc
from onggi.unwinding import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from onggi.kernel.seccomp_tree import Answer, Ranges

SPEC_ALLOW = 1 << 2
"""SECCOMP_FILTER_FLAG_SPEC_ALLOW: no speculation brake, which costs much and which kernels since 5.16 leave off too."""

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": 1 << 3,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}

_ACTIONS = {
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
_WITH_NUMBER = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}
_PERMISSIVE = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"}  # no ENOSYS prelude: a tracer answers for itself
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_X32_BIT = 0x40000000
_X32_TOKEN = 0x4000003E
_AUDIT_X86_64 = 0xC000003E
_ARCH_NAMES = {
    "SCMP_ARCH_X86": b"x86",
    "SCMP_ARCH_X86_64": b"x86_64",
    "SCMP_ARCH_X32": b"x32",
    "SCMP_ARCH_ARM": b"arm",
    "SCMP_ARCH_AARCH64": b"aarch64",
    "SCMP_ARCH_MIPS": b"mips",
    "SCMP_ARCH_MIPS64": b"mips64",
    "SCMP_ARCH_MIPS64N32": b"mips64n32",
    "SCMP_ARCH_MIPSEL": b"mipsel",
    "SCMP_ARCH_MIPSEL64": b"mipsel64",
    "SCMP_ARCH_MIPSEL64N32": b"mipsel64n32",
    "SCMP_ARCH_PPC": b"ppc",
    "SCMP_ARCH_PPC64": b"ppc64",
    "SCMP_ARCH_PPC64LE": b"ppc64le",
    "SCMP_ARCH_S390": b"s390",
    "SCMP_ARCH_S390X": b"s390x",
    "SCMP_ARCH_PARISC": b"parisc",
    "SCMP_ARCH_PARISC64": b"parisc64",
    "SCMP_ARCH_RISCV64": b"riscv64",
}
ACTIONS, OPERATORS, ARCHITECTURES = tuple(_ACTIONS), tuple(_OPERATORS), tuple(_ARCH_NAMES)
"""The runtime spec's words that `compile_filter` knows."""
_SET_MODE_FILTER = 1

_MULTIPLEXERS = {
    "socketcall": """socket bind connect listen accept accept4 getsockname getpeername socketpair send recv sendto
        recvfrom shutdown setsockopt getsockopt sendmsg recvmsg recvmmsg sendmmsg""",
    "ipc": "semop semget semctl semtimedop msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl",
}
"""Calls that hide others behind an argument on some architectures, where libseccomp makes one rule of both."""
_HIDDEN = range(320, 420)
"""Where those architectures have the later, direct numbers of the hidden calls (i386: 337 to 402)."""


class _Argument(ctypes.Structure):
    _fields_ = (("index", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


_free = libc["free"]
_free.restype = None
_free.argtypes = (ctypes.c_void_p,)
_seccomp = bind_number("seccomp", ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(_Program))


def load_filter(bpf: bytes, flags: int = SPEC_ALLOW) -> int:
    """seccomp(2), SECCOMP_SET_MODE_FILTER: put the calling thread under the program, for good.

    Needs `no_new_privs` or CAP_SYS_ADMIN. Returns 0; with SECCOMP_FILTER_FLAG_NEW_LISTENER the listener's descriptor.
    """
    instructions = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // INSTRUCTION.size, ctypes.addressof(instructions))
    try:
        return _seccomp(_SET_MODE_FILTER, flags, ctypes.byref(program))
    except KernelError as error:
        if error.errno == errno.EINVAL and flags & SPEC_ALLOW:  # a kernel before 4.17 does not know this flag
            return _seccomp(_SET_MODE_FILTER, flags & ~SPEC_ALLOW, ctypes.byref(program))
        raise


def filter_flags(profile: Mapping[str, Any]) -> int:
    """The runtime spec's `flags` as bits; SPEC_ALLOW where it names none."""
    bits = 0
    for name in profile.get("flags") or ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",):
        if name not in FLAGS:
            raise Invalid("read seccomp profile", str(name), "unknown flag", hint="known are " + ", ".join(FLAGS))
        bits |= FLAGS[name]
    return bits


def digest(profile: Mapping[str, Any]) -> str:
    """A key for caching the compiled program: equal profiles have equal digests."""
    import hashlib  # here, since the init imports this module and must not pay for OpenSSL
    import json

    return hashlib.sha256(json.dumps(profile, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def compile_filter(profile: Mapping[str, Any]) -> bytes:
    """The runtime spec's `linux.seccomp` as a BPF program (an array of `struct sock_filter`).

    A call that this libseccomp does not know is left out, as runc does. `Invalid` for a profile that cannot be meant,
    `Unavailable` where libseccomp is not installed.
    """
    library = _library()
    default_name = profile.get("defaultAction", "")
    default = _action(default_name, profile.get("defaultErrnoRet"))
    if default_name == "SCMP_ACT_NOTIFY":
        raise Invalid("read seccomp profile", "defaultAction", "SCMP_ACT_NOTIFY cannot be the default")
    tokens = [library.seccomp_arch_native(), *(_architecture(library, n) for n in profile.get("architectures") or ())]
    tokens = list(dict.fromkeys(tokens))
    rules = [rule for rule in profile.get("syscalls") or () if _checked_action(rule) != default]
    plain, left = _split(rules)
    rest = _compile(library, rules, left, default, tokens)
    enosys = _ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
    names = [name.encode() for rule in profile.get("syscalls") or () for name in rule.get("names") or ()]
    beyond: Answer = (
        default if default_name in _PERMISSIVE or profile.get("defaultErrnoRet") == errno.ENOSYS else enosys
    )
    parts = {token: _part(library, token, plain, left, default, (names, beyond)) for token in tokens}
    x32 = parts.pop(_X32_TOKEN, [(_X32_BIT, None)])
    if _AUDIT_X86_64 in parts:  # x32 calls come under the same architecture, with one more bit set
        parts[_AUDIT_X86_64] = [*parts[_AUDIT_X86_64], *x32]
    return program(list(parts.items()), rest)


def _checked_action(rule: Mapping[str, Any]) -> int:
    return _action(rule["action"], rule.get("errnoRet"))


def _split(rules: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], set[str]]:
    """Names that have one action whatever their arguments, and the names that are left to libseccomp."""
    actions: dict[str, set[int]] = {}
    left: set[str] = set()
    for rule in rules:
        for name in rule.get("names") or ():
            actions.setdefault(name, set()).add(_checked_action(rule))
            if rule.get("args"):
                left.add(name)
    left |= {name for name, several in actions.items() if len(several) > 1}
    for multiplexer, members in _MULTIPLEXERS.items():
        named = [name for name in members.split() if name in actions]
        same = multiplexer not in left and all(actions[name] == actions.get(multiplexer) for name in named)
        if named and not same:
            left |= {multiplexer, *named}
    return {name: next(iter(several)) for name, several in actions.items() if name not in left}, left


def _part(
    library: Any,
    token: int,
    plain: Mapping[str, int],
    left: set[str],
    default: int,
    end: tuple[Sequence[bytes], Answer],
) -> Ranges:
    """One architecture's numbers as ranges; above the last number of `end`'s names comes `end`'s answer."""

    resolve = _Numbers(library, token)
    answers: dict[int, Answer] = {resolve(name.encode()): action for name, action in plain.items()}
    answers |= {resolve(name.encode()): None for name in left}
    answers = {number: answer for number, answer in answers.items() if number >= 0}  # below 0: not on this architecture
    first = _X32_BIT if token == _X32_TOKEN else 0
    names, beyond = end
    last = max((resolve(name) for name in names), default=-1)
    if last < 0:
        return [(first, default)]
    return [*ranges(answers, default, first), (last + 1, beyond)]


class _Numbers:
    """The numbers of names on one architecture; below 0 for a call that it does not have."""

    def __init__(self, library: Any, token: int) -> None:
        self._library = library
        self._token = token
        self._hidden: dict[bytes, int] | None = None

    def __call__(self, name: bytes) -> int:
        number = int(self._library.seccomp_syscall_resolve_name_arch(self._token, name))
        if number < -1 and any(name.decode() in members.split() for members in _MULTIPLEXERS.values()):
            return self._hidden_number(name)
        return number

    def _hidden_number(self, name: bytes) -> int:
        """The number of a call that also stands behind a multiplexer: libseccomp's table tells it the other way only."""
        if self._hidden is None:
            self._hidden = {}
            for number in _HIDDEN:
                text = self._library.seccomp_syscall_resolve_num_arch(self._token, number)
                if text:
                    self._hidden[ctypes.string_at(text)] = number
                    _free(text)
        return self._hidden.get(name, -1)


def _compile(
    library: Any, rules: Sequence[Mapping[str, Any]], left: set[str], default: int, tokens: list[int]
) -> bytes:
    """libseccomp's program for the names that are left; it also answers for architectures that nobody named."""
    with ExitStack() as undo:
        context = library.seccomp_init(default)
        if not context:
            raise Invalid("compile seccomp profile", hex(default), "libseccomp refused the default action")
        undo.callback(library.seccomp_release, context)
        for token in tokens:
            _check(library.seccomp_arch_add(context, token), "add architecture", hex(token), accept=errno.EEXIST)
        for rule in rules:
            _add_rule(library, context, rule, left)
        return _export(library, context)


def _library() -> Any:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise Unavailable(
            "compile seccomp profile",
            "libseccomp.so.2",
            "the library is not installed",
            hint="install it (Debian: libseccomp2), or run with `--security-opt seccomp=unconfined`",
        ) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.restype = None
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_arch_native.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Argument),
    )
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise Invalid("read seccomp profile", name, "unknown action", hint="known are " + ", ".join(_ACTIONS))
    if name not in _WITH_NUMBER:
        return _ACTIONS[name]
    return _ACTIONS[name] | (errno.EPERM if number is None else number) & 0xFFFF


def _architecture(library: Any, name: str) -> int:
    token: int = library.seccomp_arch_resolve_name(_ARCH_NAMES.get(name, b""))
    if not token:
        raise Invalid("read seccomp profile", name, "unknown architecture")
    return token


def _add_rule(library: Any, context: int, rule: Mapping[str, Any], wanted: set[str]) -> None:
    action = _checked_action(rule)
    arguments = [_argument(a) for a in rule.get("args") or ()]
    indices = [a.index for a in arguments]
    # Conditions on different arguments must all hold; two on the same argument are alternatives (runtime spec).
    groups = [[a] for a in arguments] if len(set(indices)) < len(indices) else [arguments]
    for name in rule.get("names") or ():
        if rule["action"] == "SCMP_ACT_NOTIFY" and name == "write":
            raise Invalid("read seccomp profile", name, "SCMP_ACT_NOTIFY cannot be used for it")
        if name not in wanted:
            continue
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            continue  # this libseccomp does not know it
        for group in groups:
            array = (_Argument * len(group))(*group)
            _check(library.seccomp_rule_add_array(context, action, number, len(group), array), "add rule for", name)


def _argument(given: Mapping[str, Any]) -> _Argument:
    operator = given.get("op", "")
    if operator not in _OPERATORS:
        raise Invalid("read seccomp profile", operator, "unknown operator", hint="known are " + ", ".join(_OPERATORS))
    if not 0 <= given["index"] <= 5:
        raise Invalid("read seccomp profile", f"args index {given['index']}", "a system call has arguments 0 to 5")
    return _Argument(given["index"], _OPERATORS[operator], given["value"], given.get("valueTwo") or 0)


def _check(result: int, verb: str, obj: str, *, accept: int = 0) -> None:
    if result < 0 and -result != accept:
        raise Invalid(f"compile seccomp profile: {verb}", obj, os.strerror(-result))


def _export(library: Any, context: int) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, descriptor), "export", "BPF program")
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
