"""The default filter on a real process."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable

import pytest

from forked import in_child
from onggi.engine.seccomp_profile import default_profile
from onggi.kernel import capability, seccomp, seccomp_compiler

_NUMBERS = {  # x86_64
    "mount": 165, "unshare": 272, "keyctl": 250, "add_key": 248, "bpf": 321, "clone3": 435, "ptrace": 101,
    "kexec_load": 246, "init_module": 175, "perf_event_open": 298, "userfaultfd": 323, "setns": 308, "pivot_root": 155,
    "io_uring_setup": 425, "open_by_handle_at": 304, "swapon": 167, "reboot": 169, "settimeofday": 164,
    "personality": 135, "fsopen": 430, "open_tree": 428, "name_to_handle_at": 303, "getpid": 39, "later": 5000,
}  # fmt: skip
pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers above are of x86_64")


def _under_default(act: Callable[[], object], capabilities: tuple[str, ...] = capability.DEFAULT) -> object:
    bpf = seccomp_compiler.compile_filter(default_profile(capabilities))

    def child() -> object:
        seccomp.load_filter(bpf)
        return act()

    return in_child(child)


def _errno(name: str, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_long(a) for a in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(_NUMBERS[name]), *padded) == -1 else 0


@pytest.mark.parametrize(
    "name",
    ["mount", "unshare", "keyctl", "add_key", "bpf", "kexec_load", "init_module", "perf_event_open", "userfaultfd",
     "setns", "pivot_root", "io_uring_setup", "open_by_handle_at", "swapon", "reboot", "settimeofday", "fsopen",
     "open_tree"],
)  # fmt: skip
def test_denied(name: str) -> None:
    """A call that the default profile denies gives EPERM to root with every capability."""
    assert _under_default(lambda: _errno(name)) == errno.EPERM


def test_no_user_namespace_by_unshare() -> None:
    """unshare(CLONE_NEWUSER), the first step of many attacks on the kernel, is denied."""
    assert _under_default(lambda: _errno("unshare", 0x10000000)) == errno.EPERM


def test_clone3_is_not_there() -> None:
    """clone3 gives ENOSYS, so that the C library falls back to clone."""
    assert _under_default(lambda: _errno("clone3")) == errno.ENOSYS


def test_a_call_of_a_later_kernel_is_not_there() -> None:
    """A number above all that the profile knows gives ENOSYS and not EPERM."""
    assert _under_default(lambda: _errno("later")) == errno.ENOSYS


def test_no_socket_to_the_hypervisor() -> None:
    """socket(AF_VSOCK) is denied, socket(AF_UNIX) is not."""

    def act() -> list[int]:
        socket.socket(socket.AF_UNIX).close()
        try:
            socket.socket(socket.AF_VSOCK)
        except OSError as error:
            return [error.errno or 0]
        return [0]

    assert _under_default(act) == [errno.EPERM]


@pytest.mark.parametrize(("persona", "expected"), [(0xFFFFFFFF, 0), (0, 0), (0x0040000, errno.EPERM)])
def test_personality(persona: int, expected: int) -> None:
    """personality may be asked, but address randomization not be switched off (0x0040000)."""
    assert _under_default(lambda: _errno("personality", persona)) == expected


def test_ordinary_life_goes_on() -> None:
    """Files, processes, exec and threads work under the filter."""

    def act() -> str:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        return os.popen("echo works").read()

    assert _under_default(act) == "works\n"


def test_a_capability_opens_its_calls() -> None:
    """With CAP_SYS_ADMIN among the capabilities mount(2) and clone3(2) reach the kernel, which says EFAULT."""
    got = _under_default(lambda: [_errno("mount"), _errno("clone3")], ("CAP_SYS_ADMIN",))
    assert isinstance(got, list)
    assert not {errno.EPERM, errno.ENOSYS, 0} & set(got)


def test_a_filter_outlives_exec() -> None:
    """What is denied stays denied to a program that is executed."""
    out = _under_default(lambda: os.popen("mount -t tmpfs none /mnt 2>&1; echo $?").read())
    assert isinstance(out, str)
    assert not out.endswith("\n0\n")
    assert out != "0\n"


def test_an_action_that_kills() -> None:
    """SCMP_ACT_KILL_PROCESS ends the process with SIGSYS."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    bpf = seccomp_compiler.compile_filter(profile)
    pid = os.fork()
    if pid == 0:
        seccomp.load_filter(bpf)
        os.getpriority(os.PRIO_PROCESS, 0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -31


def test_without_privilege_it_needs_no_new_privs() -> None:
    """Without CAP_SYS_ADMIN and without no_new_privs the kernel refuses the filter."""
    bpf = seccomp_compiler.compile_filter(default_profile(()))

    def act() -> int:
        capability.apply([], [], [], [], [])
        try:
            seccomp.load_filter(bpf)
        except OSError as error:
            return error.errno or -1
        return 0

    assert in_child(act) == errno.EACCES
