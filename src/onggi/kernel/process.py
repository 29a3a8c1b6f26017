"""Processes and namespaces: clone3(2), unshare(2), setns(2), prctl(2), pidfds, keyrings.

`clone` is used where os.fork would be: the interpreter's own fork hooks run around it, so the child is a sound
interpreter. It is only for processes with one thread (launcher, keeper): a lock that another thread held at that moment
would stay locked in the child. Callers: `runtime/`. Read next: `runtime/launch`.
"""

from __future__ import annotations

import os
import select

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel import signals
from onggi.kernel.flags import CLONE_INTO_CGROUP, Clone, names
from onggi.kernel.syscall import bind, bind_number
from onggi.unwinding import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_c_int, _c_ulong = ctypes.c_int, ctypes.c_ulong

_clone3 = bind_number("clone3", ctypes.c_void_p, ctypes.c_size_t)
_unshare = bind("unshare", _c_int, _c_int)
_setns = bind("setns", _c_int, _c_int, _c_int)
_prctl = bind("prctl", _c_int, _c_int, _c_ulong, _c_ulong, _c_ulong, _c_ulong)
_sethostname = bind("sethostname", _c_int, ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = bind("setdomainname", _c_int, ctypes.c_char_p, ctypes.c_size_t)
_keyctl = bind_number("keyctl", _c_int, ctypes.c_char_p)
_setfsuid = bind("setfsuid", _c_int, ctypes.c_uint)
_setfsgid = bind("setfsgid", _c_int, ctypes.c_uint)
_pidfd_getfd = bind_number("pidfd_getfd", _c_int, _c_int, ctypes.c_uint)
_close_range = bind("close_range", _c_int, ctypes.c_uint, ctypes.c_uint, _c_int)

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_GET_SECUREBITS = 27
_PR_SET_SECUREBITS = 28
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CLOSE_RANGE_CLOEXEC = 4
_SECBIT_NO_SETUID_FIXUP = 4
_SIGCHLD = 17


_CLONE_ARGS = (
    "flags",
    "pidfd",
    "child_tid",
    "parent_tid",
    "exit_signal",
    "stack",
    "stack_size",
    "tls",
    "set_tid",
    "set_tid_size",
    "cgroup",
)
"""The fields of `struct clone_args`, each of 64 bits (clone3(2))."""


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in _CLONE_ARGS)


def clone(flags: Clone, cgroup_fd: int = -1, *, for_parent: bool = False) -> tuple[int, int]:
    """clone3(2) as a fork: `(0, -1)` in the child, `(pid, pidfd)` in the parent, who owns the pidfd.

    With `cgroup_fd` the child is born in that cgroup (v2 only, CLONE_INTO_CGROUP). With `for_parent` it is our parent's
    child, and our sibling (CLONE_PARENT).
    """
    pidfd = _c_int(-1)
    arguments = _CloneArgs(flags=int(flags | Clone.PIDFD), pidfd=ctypes.addressof(pidfd), exit_signal=_SIGCHLD)
    if for_parent:
        arguments.flags |= Clone.PARENT
        arguments.exit_signal = 0  # it has ours, as the man page demands
    if cgroup_fd >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    ctypes.pythonapi.PyOS_BeforeFork()
    try:
        pid = _clone3(ctypes.byref(arguments), ctypes.sizeof(arguments))
    except KernelError as error:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        raise KernelError("clone3", names(flags), error.errno or 0) from error
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid, pidfd.value


def kill(pid: int, pidfd: int, *, for_parent: bool) -> None:
    """SIGKILL by pidfd, and wait until it is dead; the pidfd is closed. With `for_parent` our parent collects it."""
    signals.send_to_pidfd(pidfd, signals.KILL)
    if for_parent:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll()
    else:
        os.waitpid(pid, 0)
    os.close(pidfd)


def unshare(flags: Clone) -> None:
    """unshare(2)."""
    try:
        _unshare(int(flags))
    except KernelError as error:
        raise KernelError("unshare", names(flags), error.errno or 0) from error


def setns(fd: int, kind: Clone | int = 0) -> None:
    """setns(2): join the namespace that `fd` names; `kind` must match if given."""
    _setns(fd, int(kind))


def take_descriptor(pidfd: int, number: int) -> int:
    """pidfd_getfd(2): a descriptor of ours for what another process has as `number`, close-on-exec; the caller owns it."""
    return _pidfd_getfd(pidfd, number, 0)


def set_hostname(name: str) -> None:
    """sethostname(2) in this UTS namespace."""
    _sethostname(name.encode(), len(name.encode()))


def set_domainname(name: str) -> None:
    """setdomainname(2) in this UTS namespace."""
    _setdomainname(name.encode(), len(name.encode()))


def set_subreaper() -> None:
    """Orphans below this process become its children: PR_SET_CHILD_SUBREAPER."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_death_signal(signal: int) -> None:
    """Be sent `signal` when the parent thread dies: PR_SET_PDEATHSIG. A change of credentials clears it."""
    _prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)


def set_not_dumpable() -> None:
    """Nobody with fewer capabilities than ours may trace us or follow /proc/PID/fd, exe, root: PR_SET_DUMPABLE. execve(2)
    undoes it.
    """
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def set_no_new_privileges() -> None:
    """No exec gains privileges from here on: PR_SET_NO_NEW_PRIVS."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


@contextmanager
def file_system_ids(uid: int, gid: int) -> Iterator[None]:
    """setfsuid(2), setfsgid(2) for the body, with all capabilities kept (SECBIT_NO_SETUID_FIXUP): who makes a file is
    `uid`, what may be done is root's. An id-mapped mount refuses makers whose id its map does not know (EOVERFLOW).
    """
    old = _prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0)
    _prctl(_PR_SET_SECUREBITS, old | _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    try:
        _setfsgid(gid)
        _setfsuid(uid)
        yield
    finally:
        _setfsuid(os.geteuid())
        _setfsgid(os.getegid())
        _prctl(_PR_SET_SECUREBITS, old, 0, 0, 0)


def set_name(name: str) -> None:
    """The name that ps shows, 15 bytes: PR_SET_NAME."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0)


def join_session_keyring(name: str) -> None:
    """A session keyring of its own, so that the host's keys are out of reach: keyctl(2) JOIN_SESSION_KEYRING."""
    _keyctl(1, name.encode())


def close_on_exec_from(first: int) -> None:
    """close_range(2) with CLOEXEC: whatever descriptor is open from `first` on does not survive execve."""
    _close_range(first, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)
