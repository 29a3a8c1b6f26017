"""System calls of a container that are forbidden, and those that somebody else answers (`SCMP_ACT_NOTIFY`)."""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import threading
from typing import Any

import pytest

from harness.oci import SECONDS, Oci
from harness.probes import needs
from onggi.kernel import seccomp

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
_REQUEST, _ANSWER = struct.Struct("=QII64x"), struct.Struct("=QqiI")
_CONTINUE = 1
MKDIR = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}


class Agent:
    """Answers the calls of one filter: with an errno, or by letting them go on; what it was told is kept."""

    def __init__(self, place: str, *, error: int = 0) -> None:
        self.path = f"{place}/agent"
        self.error = error
        self.told: list[dict[str, Any]] = []
        self.calls = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen()
        self._socket.settimeout(SECONDS)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while True:
            for number, event in poll.poll():
                if number == self._socket.fileno():
                    poll.register(self._accept(), select.POLLIN)
                elif event & select.POLLIN:
                    self._answer(number)
                else:
                    poll.unregister(number)  # the filter's last process is gone

    def _accept(self) -> int:
        connection, _ = self._socket.accept()
        with connection:
            numbers = array.array("i")
            data, beside, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            for _, _, content in beside:
                numbers.frombytes(content)
            while more := connection.recv(1 << 16):
                data += more
        self.told.append(json.loads(data))
        assert len(numbers) == 1
        return numbers[0]

    def _answer(self, listener: int) -> None:
        request = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, request)
            self.calls += 1
            number, _, _ = _REQUEST.unpack(bytes(request))
            answer = _ANSWER.pack(number, 0, -self.error, 0 if self.error else _CONTINUE)
            fcntl.ioctl(listener, _SEND, bytearray(answer))
        except OSError:  # the process was killed while it waited
            return


@pytest.fixture
def agent(oci: Oci) -> Agent:
    """One that answers ENOSPC."""
    needs(seccomp.has_action("SCMP_ACT_NOTIFY"), "SECCOMP_RET_USER_NOTIF")
    return Agent(str(oci.place), error=28)


def notifying(path: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The change that gives a container such a filter."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules) or [MKDIR], "listenerPath": path}
    return {"linux.seccomp": {**profile, **more}}


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_an_agent_answers_for_the_container(oci: Oci, agent: Agent, no_new_privs: bool) -> None:
    """It gets the listener, once, with the state that the specification says, before the program's first instruction."""
    changes = notifying(agent.path, listenerMetadata="opaque") | {"process.noNewPrivileges": no_new_privs}
    done = oci.run("/bin/mkdir", "/made", changes={**changes, "annotations": {"k": "v"}})
    (told,) = agent.told
    assert "No space left on device" in done.stderr
    assert agent.calls == 1
    assert told["fds"] == ["seccompFd"]
    assert told["metadata"] == "opaque"
    assert told["state"] == {
        "ociVersion": "1.2.0", "id": "c", "status": "creating", "pid": told["pid"], "bundle": str(oci.bundle),
        "annotations": {"k": "v"},
    }  # fmt: skip
    assert oci.left() == []


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_calls_of_ours_may_wait_for_an_answer_as_well(oci: Oci, no_new_privs: bool) -> None:
    """All that we do between the filter and the program, but for the write that tells of the listener."""
    needs(seccomp.has_action("SCMP_ACT_NOTIFY"), "SECCOMP_RET_USER_NOTIF")
    agent = Agent(str(oci.place))
    rule = {
        **MKDIR,
        "names": ["execve", "openat", "open", "read", "close", "fcntl", "sendmsg", "sendto", "close_range"],
    }
    changes = notifying(agent.path, rule) | {"process.noNewPrivileges": no_new_privs}
    done = oci.run("/bin/echo", "ran", changes=changes)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
    assert agent.calls > 0


def test_one_more_process_tells_the_agent_again(oci: Oci, agent: Agent) -> None:
    """`exec`: a filter of its own, the state of a container that runs, the process's own pid."""
    oci.configure("/bin/sleep", "1000", changes=notifying(agent.path))
    oci.detached()
    done = oci("exec", "c", "/bin/mkdir", "/made")
    first, second = agent.told
    assert "No space left on device" in done.stderr
    assert (second["state"]["status"], second["state"]["pid"]) == ("running", first["pid"])
    assert second["pid"] != first["pid"]
    assert oci("delete", "--force", "c").returncode == 0


def test_without_its_agent_nothing_runs(oci: Oci) -> None:
    """A program whose calls nobody answers must not begin; nothing is left of it."""
    needs(seccomp.has_action("SCMP_ACT_NOTIFY"), "SECCOMP_RET_USER_NOTIF")
    for path in (str(oci.place / "nobody"), "@onggi-nobody"):
        done = oci.run("/bin/touch", "/began", changes=notifying(path))
        assert done.returncode == 1
        assert "failed to connect with seccomp agent" in done.stderr
        assert not (oci.bundle / "rootfs/began").exists()
        assert oci.left() == []


def test_an_agent_that_hangs_up_stops_nobody(oci: Oci) -> None:
    """When the listener is closed the kernel says ENOSYS, and does not keep the caller waiting."""
    needs(seccomp.has_action("SCMP_ACT_NOTIFY"), "SECCOMP_RET_USER_NOTIF")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(oci.place / "agent"))
        listener.listen()  # what comes waits in the queue, and goes with the socket
        oci.configure("/bin/sh", "-c", "read x; mkdir /made", changes=notifying(str(oci.place / "agent")))
        running = oci.popen("run", "-b", str(oci.bundle), "c", stdin=-1, stderr=-1)
        connection, _ = listener.accept()
        assert connection.recv(1)
        connection.close()
    _, said = running.communicate("go\n", timeout=SECONDS)
    assert "Function not implemented" in said


def test_the_path_counts_for_nothing_without_such_calls(oci: Oci) -> None:
    """config-linux.md: "If the SCMP_ACT_NOTIFY action is not used this value is ignored"."""
    rule = {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO"}
    done = oci.run("/bin/mkdir", "/made", changes=notifying("/nobody", rule))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_listener_is_not_the_programs(oci: Oci) -> None:
    """Neither it nor another descriptor of ours is open in the container, nor in a hook of its."""
    needs(seccomp.has_action("SCMP_ACT_NOTIFY"), "SECCOMP_RET_USER_NOTIF")
    agent = Agent(str(oci.place))
    script = "ls /proc/self/fd | wc -l"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"{script} > /hook"]}
    leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)  # what a caller forgot to close
    try:
        oci.configure("/bin/sh", "-c", script, changes=notifying(agent.path) | {"hooks": {"startContainer": [hook]}})
        running = oci.popen("run", "-b", str(oci.bundle), "c", stdout=-1, pass_fds=(leak,))
        said, _ = running.communicate(timeout=SECONDS)
    finally:
        os.close(leak)
    assert int(said) == 4  # 0, 1, 2 and the directory that ls reads
    assert int((oci.bundle / "rootfs/hook").read_text()) == 4


def test_a_filter_that_forbids_what_we_need_late(oci: Oci) -> None:
    """With no_new_privs next to nothing of ours comes after the filter: a profile need not allow it."""
    words = "close_range setresuid setgroups capset chdir openat2 sendto sendmsg fsopen seccomp pidfd_open"
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": words.split(), "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    done = oci.run("/bin/echo", "ran", changes={"linux.seccomp": profile, "process.noNewPrivileges": True})
    assert (done.returncode, done.stdout) == (0, "ran\n")


@pytest.mark.parametrize(("action", "status"), [("SCMP_ACT_KILL_PROCESS", 159), ("SCMP_ACT_TRAP", 159)])
def test_a_call_that_ends_the_program(oci: Oci, action: str, status: int) -> None:
    """SIGSYS; the exit status says so."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**MKDIR, "action": action}]}
    changes = {"linux.seccomp": profile, "process.rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]}
    assert oci.run("/bin/mkdir", "/made", changes=changes).returncode == status


def test_the_flags_that_are_in_force_are_told(oci: Oci) -> None:
    """With --debug, as runc does: TSYNC says nothing to one thread, no member at all means SPEC_ALLOW."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**MKDIR, "action": "SCMP_ACT_ERRNO"}]}
    words = {None: 4, (): 0, ("SECCOMP_FILTER_FLAG_TSYNC",): 0, ("SECCOMP_FILTER_FLAG_LOG",): 2}
    for flags, bits in words.items():
        given = profile if flags is None else {**profile, "flags": list(flags)}
        oci.configure("/bin/true", changes={"linux.seccomp": given})
        done = oci("--debug", "run", "-b", str(oci.bundle), "c")
        assert f'"seccomp filter flags: {bits}"' in done.stderr
        assert done.returncode == 0


def test_other_architectures_have_the_rules_as_well(oci: Oci) -> None:
    """A call by the i386 table of an x86_64 kernel, whose number is another."""
    needs(os.uname().machine == "x86_64" and _runs_int80(), "i386 system calls")
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    program = oci.bundle / "rootfs/bin/int80"
    program.write_bytes(_int80_mkdir())
    program.chmod(0o755)
    assert oci.run("/bin/int80", changes={"linux.seccomp": profile}).returncode == 28
    assert oci.run("/bin/int80").returncode == 0


_CODE = bytes.fromhex(
    "b827000000"  # mov eax, 39       mkdir of i386
    "bbb0004000"  # mov ebx, 0x4000b0 the path
    "b9ed010000"  # mov ecx, 0755
    "cd80"  # int 0x80
    "f7d8"  # neg eax           the errno
    "89c3"  # mov ebx, eax
    "b801000000"  # mov eax, 1        exit
    "cd80"
)


def _int80_mkdir() -> bytes:
    """A static x86_64 program of one page that makes the directory /i by the i386 table and ends with the errno."""
    base, header = 0x400000, 64 + 56
    body = _CODE.ljust(0xB0 - header, b"\x90") + b"/i\0"
    size = header + len(body)
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, base + header, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + body


def _runs_int80() -> bool:
    """Whether this kernel has the i386 table: a child that asks for a pid by it lives."""
    import mmap

    pid = os.fork()
    if pid == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        os._exit(0 if ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid() else 1)
    return os.waitpid(pid, 0)[1] == 0
