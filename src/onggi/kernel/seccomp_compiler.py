"""A seccomp profile as a program: the runtime spec's `linux.seccomp` becomes BPF, with libseccomp's help.

In the engine, or in `onggi-oci` before it forks: it takes milliseconds, and is worth a cache by `digest`.

libseccomp would answer a call that the profile does not name with the default action. That would be EPERM also for
calls that are younger than the profile, where a C library expects ENOSYS to fall back to an older one. So every number
above the last one that the profile knows gets ENOSYS, as runc does. Calls whose answer does not depend on arguments are
decided by `seccomp_tree`, a third of libseccomp's size and loaded in half the time; libseccomp compiles the rest, which
stands behind it, and names every call.

Callers: `engine/security`, `runc/bundle`. Read next: `seccomp_tree`. See seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import errno
import os

from onggi import documents
from onggi.errors import Invalid, Unavailable
from onggi.kernel.seccomp import ACTIONS, has_action, needs_listener
from onggi.kernel.seccomp_tree import program, ranges
from onggi.kernel.syscall import libc
from onggi.unwinding import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from onggi.kernel.seccomp_tree import Answer, Ranges

_MOST_NUMBER = 0xFFFF
"""SECCOMP_RET_DATA: what a program can hand on."""
_FORM = 1
"""Of the programs made here: another number for each change of what a profile becomes."""
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
    "SCMP_ARCH_LOONGARCH64": b"loongarch64",
    "SCMP_ARCH_M68K": b"m68k",
    "SCMP_ARCH_SH": b"sh",
    "SCMP_ARCH_SHEB": b"sheb",
}
OPERATORS, ARCHITECTURES = tuple(_OPERATORS), tuple(_ARCH_NAMES)
"""The runtime spec's words that `compile_filter` knows."""

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


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


_free = libc["free"]
_free.restype = None
_free.argtypes = (ctypes.c_void_p,)


def digest(profile: Mapping[str, Any]) -> str:
    """A key for caching the compiled program: of the profile, of libseccomp, which knows more calls each time, and of us."""
    try:
        from _blake2 import blake2b  # hashlib's own; but hashlib loads OpenSSL, which takes longer than all the rest
    except ImportError:
        from hashlib import blake2b

    text = documents.dumps([_FORM, list(version()), dict(profile)], sort_keys=True)
    return blake2b(text, digest_size=32).hexdigest()


def version() -> tuple[int, int, int]:
    """libseccomp's version."""
    found = _library().seccomp_version().contents
    return found.major, found.minor, found.micro


def architectures() -> tuple[str, ...]:
    """The runtime spec's names of those that this libseccomp knows."""
    library = _library()
    return tuple(name for name, known in _ARCH_NAMES.items() if library.seccomp_arch_resolve_name(known))


def unknown_calls(profile: Mapping[str, Any]) -> tuple[str, ...]:
    """The calls of a profile that this libseccomp does not know, and `compile_filter` leaves out."""
    library = _library()
    names = (name for rule in profile.get("syscalls") or () for name in rule.get("names") or ())
    return tuple(name for name in names if library.seccomp_syscall_resolve_name(name.encode()) == -1)


def compile_filter(profile: Mapping[str, Any]) -> bytes:
    """The runtime spec's `linux.seccomp` as a BPF program (an array of `struct sock_filter`).

    A call that this libseccomp does not know is left out, as runc does. `Invalid` for a profile that cannot be meant,
    `Unavailable` where libseccomp is not installed, or where the kernel has nobody to notify.
    """
    try:
        return _filter(profile)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid("read seccomp profile", "linux.seccomp", f"{type(error).__name__}: {error}") from error


def _filter(profile: Mapping[str, Any]) -> bytes:
    if needs_listener(profile) and not has_action("SCMP_ACT_NOTIFY"):
        cause = "seccomp notify unsupported: this kernel has no SECCOMP_RET_USER_NOTIF"
        raise Unavailable("compile seccomp profile", "SCMP_ACT_NOTIFY", cause, hint="Linux has it from 5.0 on")
    library = _library()
    default_name = profile.get("defaultAction", "")
    default = _action(default_name, profile.get("defaultErrnoRet"))
    if default_name == "SCMP_ACT_NOTIFY":
        raise Invalid("read seccomp profile", "defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action")
    tokens = [library.seccomp_arch_native(), *(_architecture(library, n) for n in profile.get("architectures") or ())]
    tokens = list(dict.fromkeys(tokens))
    _check_rules(profile.get("syscalls") or ())
    rules = [rule for rule in profile.get("syscalls") or () if _checked_action(rule) != default]
    plain, left = _split(rules)
    rest = _compile(library, rules, left, default, tokens)
    enosys = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
    names = [name.encode() for rule in profile.get("syscalls") or () for name in rule.get("names") or ()]
    beyond: Answer = (
        default if default_name in _PERMISSIVE or profile.get("defaultErrnoRet") == errno.ENOSYS else enosys
    )
    parts = {token: _part(library, token, plain, left, default, (names, beyond)) for token in tokens}
    x32 = parts.pop(_X32_TOKEN, [(_X32_BIT, None)])
    if _AUDIT_X86_64 in parts:  # x32 calls come under the same architecture, with one more bit set
        parts[_AUDIT_X86_64] = [*parts[_AUDIT_X86_64], *x32]
    return program(list(parts.items()), rest)


def _check_rules(rules: Sequence[Mapping[str, Any]]) -> None:
    """What holds of every rule, whatever becomes of it."""
    for rule in rules:
        names = rule.get("names") or ()
        if not names or not all(names):
            raise Invalid("read seccomp profile", "names", "a rule is for one system call at least")
        # The init tells its keeper of the listener by a write: nobody could ever answer for that one.
        if rule["action"] == "SCMP_ACT_NOTIFY" and "write" in names:
            cause = "SCMP_ACT_NOTIFY cannot be used for the write syscall"
            raise Invalid("read seccomp profile", "write", cause)
        for argument in rule.get("args") or ():
            _argument(argument)


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
    library.seccomp_version.restype = ctypes.POINTER(_Version)
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
    if name not in ACTIONS:
        raise Invalid("read seccomp profile", name, "unknown action", hint="known are " + ", ".join(ACTIONS))
    if name not in _WITH_NUMBER:
        if number is not None:
            raise Invalid("read seccomp profile", name, f"errno value specified for action `{name}`, which has none")
        return ACTIONS[name]
    if number is not None and not 0 <= number <= _MOST_NUMBER:
        raise Invalid("read seccomp profile", name, f"{number} is not an errno from 0 to {_MOST_NUMBER}")
    return ACTIONS[name] | (errno.EPERM if number is None else number)


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
    values = given["value"], given.get("valueTwo") or 0
    if not all(0 <= value < 2**64 for value in values):
        raise Invalid("read seccomp profile", f"args value {values}", "an argument has 64 bits")
    return _Argument(given["index"], _OPERATORS[operator], *values)


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
