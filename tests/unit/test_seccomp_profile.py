"""Docker's default profile, Docker's profile format, and what they compile to."""

from __future__ import annotations

import errno
import json

import pytest

from classic_bpf import ALLOW, ERRNO, KILL_THREAD, answer
from onggi.engine.seccomp_profile import default_profile, from_docker_json
from onggi.errors import Invalid
from onggi.kernel import capability, seccomp, seccomp_compiler, seccomp_tree

EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS

# Numbers of x86_64 and what Docker 26 answers to a container with the default capabilities.
ALLOWED = {
    "read": 0, "write": 1, "open": 2, "mmap": 9, "ioctl": 16, "socketpair": 53, "fork": 57, "execve": 59, "kill": 62,
    "chmod": 90, "chown": 92, "ptrace": 101, "setuid": 105, "mknod": 133, "prctl": 157, "chroot": 161, "sync": 162,
    "futex": 202, "epoll_wait": 232, "mq_open": 240, "inotify_init": 253, "openat": 257, "splice": 275,
    "fanotify_mark": 301, "prlimit64": 302, "name_to_handle_at": 303, "process_vm_readv": 310, "sched_setattr": 314,
    "seccomp": 317, "getrandom": 318, "memfd_create": 319, "execveat": 322, "copy_file_range": 326, "statx": 332,
    "rseq": 334, "pidfd_open": 434, "openat2": 437, "landlock_create_ruleset": 444, "memfd_secret": 447,
    "futex_waitv": 449, "cachestat": 451, "fchmodat2": 452,
}  # fmt: skip
DENIED = {
    "get_mempolicy": 239, "mbind": 237, "modify_ldt of others": 134, "uselib": 134, "sysfs": 139, "pivot_root": 155,
    "_sysctl": 156, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175,
    "delete_module": 176, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227,
    "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "move_pages": 279,
    "perf_event_open": 298, "fanotify_init": 300, "open_by_handle_at": 304, "setns": 308, "kcmp": 312,
    "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "vhangup": 153,
}  # fmt: skip


@pytest.fixture(scope="module")
def default() -> bytes:
    """The default profile, compiled for the default capabilities."""
    return seccomp_compiler.compile_filter(default_profile(capability.DEFAULT, "x86_64"))


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(default: bytes, name: str) -> None:
    """What Docker allows is allowed."""
    assert answer(default, ALLOWED[name]) == ALLOW


@pytest.mark.parametrize("name", DENIED)
def test_denied(default: bytes, name: str) -> None:
    """What Docker denies is denied with EPERM."""
    assert answer(default, DENIED[name]) == EPERM


def test_arguments(default: bytes) -> None:
    """clone without namespaces, sockets but AF_VSOCK, personality but for its switches."""
    thread, new_user, new_time = 0x3D0F00, 0x10000011, 0x80
    assert answer(default, 56, (thread,)) == ALLOW
    assert answer(default, 56, (new_user,)) == EPERM
    assert answer(default, 56, (new_time,)) == ALLOW  # as Docker: its mask does not hold CLONE_NEWTIME
    assert answer(default, 41, (2,)) == ALLOW
    assert answer(default, 41, (40,)) == EPERM
    assert answer(default, 135, (0xFFFFFFFF,)) == ALLOW
    assert answer(default, 135, (0x40000,)) == EPERM


def test_the_upper_half_of_an_argument_counts(default: bytes) -> None:
    """A comparison is of 64 bits: personality(8) is allowed, 8 with a bit above 32 is not."""
    assert answer(default, 135, (8,)) == ALLOW
    assert answer(default, 135, (1 << 33 | 8,)) == EPERM


def test_every_namespace_flag_is_stopped(default: bytes) -> None:
    """Each of the seven namespace flags alone makes clone fail."""
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(default, 56, (flag | 17,)) == EPERM, hex(flag)


def test_clone3_and_later_calls_are_not_there(default: bytes) -> None:
    """clone3, and every number above the last known one, is ENOSYS; also for 32-bit and x32 programs."""
    assert answer(default, 435) == ENOSYS
    assert answer(default, 1000) == ENOSYS
    assert answer(default, 1000, arch="x86") == ENOSYS
    assert answer(default, 0x40000000 | 1000) == ENOSYS


def test_32_bit_programs_are_under_the_same_rules(default: bytes) -> None:
    """int 0x80 is no way around: i386's mount is denied, its read allowed, clone with a new user namespace denied."""
    assert answer(default, 3, arch="x86") == ALLOW
    assert answer(default, 21, arch="x86") == EPERM
    assert answer(default, 120, (0x10000011,), arch="x86") == EPERM


def test_a_foreign_architecture_is_killed() -> None:
    """A program compiled for x86_64 alone kills who calls as i386."""
    program = seccomp_compiler.compile_filter({**default_profile((), "x86_64"), "architectures": ["SCMP_ARCH_X86_64"]})
    assert answer(program, 3, arch="x86") == KILL_THREAD


@pytest.mark.parametrize(
    ("name", "number"),
    [("CAP_SYS_ADMIN", 165), ("CAP_SYS_ADMIN", 435), ("CAP_BPF", 321), ("CAP_SYS_TIME", 164), ("CAP_SYS_PTRACE", 438),
     ("CAP_SYS_BOOT", 169), ("CAP_SYS_MODULE", 313), ("CAP_PERFMON", 298), ("CAP_DAC_READ_SEARCH", 304),
     ("CAP_SYS_NICE", 239), ("CAP_SYS_CHROOT", 161), ("CAP_SYS_RAWIO", 172), ("CAP_SYSLOG", 103),
     ("CAP_SYS_PACCT", 163), ("CAP_SYS_TTY_CONFIG", 153)],
)  # fmt: skip
def test_a_capability_opens_its_calls_and_no_others(name: str, number: int) -> None:
    """The call is allowed with the capability, and denied without any."""
    without = seccomp_compiler.compile_filter(default_profile((), "x86_64"))
    with_it = seccomp_compiler.compile_filter(default_profile((name,), "x86_64"))
    assert answer(without, number) != ALLOW
    assert answer(with_it, number) == ALLOW


def test_other_machines() -> None:
    """Each machine gets its own architectures and calls."""
    arm = default_profile((), "aarch64")
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    names = {name for rule in arm["syscalls"] for name in rule["names"]}
    assert "cacheflush" in names
    assert "arch_prctl" not in names
    clones = [rule for rule in default_profile((), "s390x")["syscalls"] if rule["names"] == ["clone"]]
    assert clones[0]["args"][0]["index"] == 1


DOCKER_FILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
    ],
    "syscalls": [
        {"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"name": "chmod", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_FOWNER"]}},
        {"names": ["chown"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["link"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["arm64"]}},
        {"names": ["symlink"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "6.0"}},
        {"names": ["unlink"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "6.0"}},
    ],
}


def test_docker_s_format() -> None:
    """Rules come and go by capability, architecture and kernel; archMap becomes architectures."""
    got = from_docker_json(json.dumps(DOCKER_FILE), ["CAP_FOWNER"], "x86_64", "5.15.0-91-generic")
    assert [rule["names"][0] for rule in got["syscalls"]] == ["mkdir", "unlink"]
    assert got["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    got = from_docker_json(json.dumps(DOCKER_FILE), ["CAP_SYS_ADMIN"], "x86_64", "6.10.3")
    assert [rule["names"][0] for rule in got["syscalls"]] == ["mkdir", "chmod", "chown", "symlink"]


def test_a_call_that_nobody_knows_is_left_out() -> None:
    """An unknown name does not fail the profile; the known one beside it counts, with its own errno."""
    program = seccomp_compiler.compile_filter(from_docker_json(json.dumps(DOCKER_FILE), [], "x86_64", "6.1"))
    assert answer(program, 83) == ERRNO | 13
    assert answer(program, 999) == ALLOW  # no ENOSYS prelude where everything is allowed


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"defaultAction": ""}', "root:x:0:0", '{"defaultAction": "SCMP_ACT_ALLOW"'],
)
def test_what_is_no_profile_is_refused(text: str) -> None:
    """Text that is no profile is refused, not taken for an empty one."""
    with pytest.raises(Invalid, match="seccomp profile"):
        from_docker_json(text, [])


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_FOO"},
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "DENY"}]},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "EQ"}]}
            ],
        },
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]},
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused(profile: dict[str, object]) -> None:
    """An unknown action, architecture, operator or argument never becomes a weaker filter."""
    with pytest.raises(Invalid):
        seccomp_compiler.compile_filter(profile)


def test_two_conditions_on_one_argument_are_alternatives() -> None:
    """Conditions on the same argument are tried one by one; on different ones all must hold."""
    either = [{"index": 0, "value": v, "op": "SCMP_CMP_EQ"} for v in (3, 5)]
    both = [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "args": either},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": both},
        ],
    }
    program = seccomp_compiler.compile_filter(profile)
    assert [answer(program, 140, (v,)) for v in (3, 4, 5)] == [EPERM, ALLOW, EPERM]
    assert [answer(program, 62, v) for v in ((3, 5), (3, 4), (0, 5))] == [EPERM, ALLOW, ALLOW]


@pytest.mark.parametrize(
    ("operator", "value", "two", "denied"),
    [
        ("SCMP_CMP_NE", 5, 0, {4, 6}), ("SCMP_CMP_LT", 5, 0, {4}), ("SCMP_CMP_LE", 5, 0, {4, 5}),
        ("SCMP_CMP_EQ", 5, 0, {5}), ("SCMP_CMP_GE", 5, 0, {5, 6}), ("SCMP_CMP_GT", 5, 0, {6}),
        ("SCMP_CMP_MASKED_EQ", 1, 1, {5}),
    ],
)  # fmt: skip
def test_operators(operator: str, value: int, two: int, denied: set[int]) -> None:
    """Each operator means what its name says."""
    argument = {"index": 0, "value": value, "valueTwo": two, "op": operator}
    rule = {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "args": [argument]}
    program = seccomp_compiler.compile_filter({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    assert {v for v in (4, 5, 6) if answer(program, 140, (v,)) == EPERM} == denied


def test_flags() -> None:
    """Flags by name; without such a member SPEC_ALLOW, with an empty one none; an unknown one is refused."""
    assert seccomp.filter_flags({}) == seccomp.SPEC_ALLOW
    assert seccomp.filter_flags({"flags": []}) == 0
    assert seccomp.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_TSYNC"]}) == 0
    assert seccomp.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}) == 2
    with pytest.raises(Invalid):
        seccomp.filter_flags({"flags": ["SECCOMP_FILTER_FLAG_FOO"]})


def test_equal_profiles_have_equal_digests() -> None:
    """The cache key depends on what a profile says, not on the order of its keys."""
    one = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    two = {"syscalls": [], "defaultAction": "SCMP_ACT_ALLOW"}
    assert (
        seccomp_compiler.digest(one)
        == seccomp_compiler.digest(two)
        != seccomp_compiler.digest({**one, "defaultErrnoRet": 1})
    )


ODD = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "syscalls": [
        {"names": ["socket", "bind", "shmget", "mkdir"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"names": ["read"], "action": "SCMP_ACT_LOG"},
        {
            "names": ["connect", "kill"],
            "action": "SCMP_ACT_KILL_PROCESS",
            "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


@pytest.mark.parametrize(
    "profile",
    [default_profile(capability.DEFAULT, "x86_64"), default_profile(capability.NAMES, "x86_64"), ODD],
    ids=["default", "all capabilities", "odd"],
)
def test_the_tree_answers_as_libseccomp_alone(profile: dict[str, object]) -> None:
    """For every number of three architectures and several arguments, tree and libseccomp together answer as it alone."""
    library = seccomp_compiler._library()
    mine = seccomp_compiler.compile_filter(profile)
    default = ALLOW if profile["defaultAction"] == "SCMP_ACT_ALLOW" else EPERM
    rules = [rule for rule in profile["syscalls"] if seccomp_compiler._checked_action(rule) != default]  # type: ignore[attr-defined]
    names = {name for rule in rules for name in rule["names"]}
    tokens = [0xC000003E, 0x40000003, 0x4000003E]
    alone = seccomp_compiler._compile(library, rules, names, default, tokens)
    for arch, first in (("x86_64", 0), ("x86", 0), ("x86_64", 0x40000000)):
        for number in range(first, first + 560):
            for arguments in ((0,), (0x10000011, 9), (1, 40), (40, 1), (8,)):
                got, expected = (answer(program, number, arguments, arch) for program in (mine, alone))
                assert got in (expected, ENOSYS), (arch, number, arguments, hex(got), hex(expected))


def test_enosys_only_above_the_last_known_number(default: bytes) -> None:
    """No number up to the last one that the profile names is ENOSYS, but clone3; every one above is."""
    known = [n for n in range(460) if n != 435 and answer(default, n) == ENOSYS]
    first = min(known)
    assert first > 452
    assert known == list(range(first, 460))


@pytest.mark.parametrize("count", [1, 2, 100, 229, 231, 700])
def test_a_tree_of_any_size(count: int) -> None:
    """Ranges are found whether short jumps reach or not."""
    starts = [(n * 3, n % 5 or None) for n in range(count)]
    other = seccomp_tree.INSTRUCTION.pack(0x06, 0, 0, 99)
    program = seccomp_tree.program([(0x40000003, [(0, 7)]), (0xC000003E, starts)], other)
    for number in range(count * 3 + 3):
        expected = starts[min(number // 3, count - 1)][1]
        assert answer(program, number) == (99 if expected is None else expected)
    assert answer(program, 5, arch="x86") == 7


def test_numbers_become_ranges() -> None:
    """Neighbours with one answer are one range, also where a range of the default would be empty."""
    assert seccomp_tree.ranges({0: 1, 1: 1, 2: 2, 5: 1, 6: 9}, 9) == [(0, 1), (2, 2), (3, 9), (5, 1), (6, 9)]
    assert seccomp_tree.ranges({}, 9, 4) == [(4, 9)]


NOTIFY = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}


def test_calls_that_wait_for_an_answer_need_a_listener() -> None:
    """The flag comes by itself; who answers must be named; without such calls the name counts for nothing."""
    named = {**NOTIFY, "listenerPath": "/agent", "listenerMetadata": "data"}
    assert seccomp.filter_flags(NOTIFY) & seccomp.NEW_LISTENER
    assert seccomp.listener(named) == ("/agent", "data")
    assert seccomp.listener({**named, "syscalls": []}) is None
    assert not seccomp.filter_flags({**named, "syscalls": []}) & seccomp.NEW_LISTENER
    with pytest.raises(Invalid, match="listenerPath is not set"):
        seccomp.listener(NOTIFY)
    with pytest.raises(Invalid, match="listenerPath is not set"):
        seccomp.listener({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "data"})


def test_what_waits_for_an_answer_is_in_the_program() -> None:
    """Of the call that was named, and of no other."""
    program = seccomp_compiler.compile_filter(NOTIFY)
    assert (answer(program, 83), answer(program, 84)) == (0x7FC00000, ALLOW)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({**NOTIFY, "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}]}, "cannot be used for the write"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "cannot be used as default action"),
        ({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}, "errno value specified for action `SCMP_ACT_KILL`"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65536}, "65536 is not an errno"),
        (
            {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}]},
            "errno value specified for action `SCMP_ACT_ALLOW`",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_KILL"}]}, "one system call at least"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]}, "action"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 5}, "linux.seccomp"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "SCMP_ARCH_VAX"),
    ],
)  # fmt: skip
def test_what_a_profile_cannot_mean(profile: dict[str, object], words: str) -> None:
    """Refused before anything runs, by name."""
    with pytest.raises(Invalid, match=words):
        seccomp_compiler.compile_filter(profile)


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("SCMP_ACT_KILL", 0), ("SCMP_ACT_KILL_THREAD", 0), ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x00030000), ("SCMP_ACT_LOG", 0x7FFC0000), ("SCMP_ACT_TRACE", 0x7FF00000 | errno.EPERM),
        ("SCMP_ACT_ERRNO", EPERM),
    ],
)  # fmt: skip
def test_every_action(name: str, answered: int) -> None:
    """What the kernel is told for a call with this action, plain and with a condition."""
    condition = [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}]
    rules = [{"names": ["mkdir"], "action": name}, {"names": ["rmdir"], "action": name, "args": condition}]
    program = seccomp_compiler.compile_filter({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
    assert (answer(program, 83), answer(program, 84, (7,)), answer(program, 84, (8,))) == (answered, answered, ALLOW)


def test_calls_that_nobody_knows_are_left_out_and_can_be_named() -> None:
    """So that whoever wants to be strict can be."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read", "nope"], "action": "SCMP_ACT_LOG"}]}
    seccomp_compiler.compile_filter(profile)
    assert seccomp_compiler.unknown_calls(profile) == ("nope",)


def test_what_the_kernel_can_do_is_asked_of_it() -> None:
    """Actions and flags that every kernel since 4.14 has; each question loads nothing."""
    assert seccomp.has_action("SCMP_ACT_ERRNO")
    assert seccomp.has_flag("SECCOMP_FILTER_FLAG_LOG")
