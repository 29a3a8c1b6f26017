"""What a container finds of us: no descriptor, no module, no file that it could write to. And what a failure leaves."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from forked import in_child
from harness import plans
from harness.jar import Jar
from onggi.runtime import init


def test_a_program_has_three_descriptors(jar: Jar) -> None:
    """0, 1 and 2: nothing of the keeper's, launcher's or engine's is open."""
    running = jar.start(jar.document("/bin/sleep", "1000"))
    found = sorted(os.listdir(f"/proc/{running.pid}/fd"))
    running.close()
    assert found == ["0", "1", "2"]


def test_a_program_on_a_terminal_has_three_descriptors(jar: Jar) -> None:
    """All three are the container's own terminal."""
    running = jar.start(jar.document("/bin/sleep", "1000", changes={"config.process.terminal": True}))
    found = {
        number: os.readlink(f"/proc/{running.pid}/fd/{number}") for number in os.listdir(f"/proc/{running.pid}/fd")
    }
    running.close()
    assert found == dict.fromkeys(("0", "1", "2"), "/dev/pts/0")


def test_a_descriptor_that_the_host_left_open_stays_out(jar: Jar) -> None:
    """Even one that somebody made inheritable before the launcher started."""
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    other = Jar()
    try:
        running = other.start(other.document("/bin/sleep", "1000"))
        assert sorted(os.listdir(f"/proc/{running.pid}/fd")) == ["0", "1", "2"]
    finally:
        os.close(leak)
        other.close()


def test_no_module_is_imported_once_the_door_is_shut(tmp_path: Path) -> None:
    """A Python file in the image is never found in place of one of ours."""
    (tmp_path / "onggi_planted.py").write_text("")

    def attempt() -> list[str]:
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
        init.shut_imports()
        failed = []
        for name in ("onggi_planted", "colorsys", "_xxtestfuzz", "encodings.idna"):
            sys.modules.pop(name, None)  # another test may have loaded it
            try:
                __import__(name)
            except ModuleNotFoundError:
                failed.append(name)
        return failed

    assert in_child(attempt) == ["onggi_planted", "colorsys", "_xxtestfuzz", "encodings.idna"]


@pytest.fixture
def own_interpreter(tmp_path: Path) -> Path:
    """A Python that nobody else executes, so that only a read-only mount can keep it from being written."""
    copy = tmp_path / "bin" / "python3"
    copy.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), copy)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(sys.executable))}\n")
    return copy


ATTACK = """
exec 9</proc/{pid}/exe; (: >>/proc/{pid}/exe) 2>&1; touch /opened
while :; do
    said=$( (: >>/proc/self/fd/9) 2>&1 )
    case "$said" in *busy*) ;; *) echo "${{said:-written}}"; exit;; esac
done
"""


@pytest.mark.parametrize("which", ["keeper", "launcher"])
def test_the_interpreter_cannot_be_written_through_a_process(jar: Jar, own_interpreter: Path, which: str) -> None:
    """CVE-2019-5736: a privileged container that sees the host's processes holds /proc/PID/exe until nobody runs it."""
    victim = Jar(interpreter=str(own_interpreter))
    probe = victim.start(victim.document("/bin/sleep", "1000"))
    assert victim.launcher is not None
    pid = probe.facts["keeper"] if which == "keeper" else victim.launcher.pid
    every = [*plans.CAPABILITIES, "CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]
    changes = {
        "config.linux.namespaces": plans.namespaces("mount", "ipc", "uts", "network"),
        "config.process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), every),
    }
    attacker = jar.start(jar.document("/bin/sh", "-c", ATTACK.format(pid=pid), changes=changes))
    while not Path(attacker.document["overlay"]["upper"], "opened").exists():
        assert Path(f"/proc/{attacker.pid}").exists()
    victim.close()
    attacker.wait()
    first, second = attacker.output().splitlines()
    assert first.endswith("Text file busy")
    assert second.endswith("Read-only file system")


def test_a_container_does_not_see_the_interpreter_of_its_own_first_process(jar: Jar) -> None:
    """After the exec /proc/1/exe is the container's own program."""
    assert jar.shell("readlink /proc/1/exe") == "/bin/busybox\n"


def test_a_failing_step_names_itself_and_leaves_nothing(jar: Jar) -> None:
    """Step, call and errno as fields; no group, no mount, no process."""
    binds = [*plans.base_mounts(), plans.mount("/data", "bind", ["rbind"], "/nonexistent/source")]
    error = jar.failure("/bin/true", changes={"config.mounts": binds})
    assert error.facts["step"] == "mount --rbind -o rbind /nonexistent/source /data"
    assert (error.facts["call"], error.facts["errno"], error.facts["why"]) == ("open_tree", 2, "mounts: /data")
    assert jar.traces() == set()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config.linux.sysctl": {"kernel.nonsense": "1"}}, "sysctl -w kernel.nonsense=1"),
        ({"links": [{"host_name": "vtestx", "name": "eth0", "bridge": "nobridge0", "mac": "02:42:ac:11:00:02",
                     "mtu": 1500, "addresses": [], "routes": []}]}, "nobridge0"),
        ({"config.linux.namespaces": plans.namespaces("mount", network="/nonexistent/ns")}, "/nonexistent/ns"),
        ({"config.linux.namespaces": plans.namespaces("mount", pid="/nonexistent/ns")}, "/nonexistent/ns"),
        ({"overlay.lowers": ["/nonexistent/layer"]}, "/nonexistent/layer"),
        ({"config.process.args": ["/bin/nope"]}, "/bin/nope"),
        ({"config.process.args": ["/etc/passwd"]}, "permission denied"),
        ({"user": "ghost"}, "ghost"),
        ({"seccomp": "/nonexistent/filter"}, "/nonexistent/filter"),
    ],
)  # fmt: skip
def test_whatever_fails_says_so_and_leaves_nothing(jar: Jar, changes: dict[str, object], words: str) -> None:
    """Each kind of step, in keeper and init, before and after the pivot."""
    error = jar.failure("/bin/true", changes=changes)
    assert words in str(error)
    assert jar.traces() == set()


def test_a_memory_limit_below_a_process_is_said_to_be_too_low(jar: Jar) -> None:
    """The kernel kills the init, or refuses to let it be born: either way the start fails and says so."""
    error = jar.failure("/bin/true", changes={"config.linux.resources": {"memory": {"limit": 64 << 10}}})
    assert "memory" in f"{error} {error.hint}"
    assert jar.traces() == set()


def test_thousands_of_variables_and_a_megabyte_of_arguments(jar: Jar) -> None:
    """A start has no limit but the kernel's own."""
    words = ["x" * 100_000] * 10
    environment = [f"NAME{number}=value {number}" for number in range(2000)]
    document = jar.document(
        "/bin/sh",
        "-c",
        "echo $# ${#1} $NAME1999",
        "sh",
        *words,
        changes={"config.process.env": ["PATH=/bin", *environment]},
    )
    running = jar.start(document)
    assert running.wait()["code"] == 0
    assert running.output() == "10 100000 value 1999\n"


def test_more_arguments_than_the_kernel_takes_are_its_own_refusal(jar: Jar) -> None:
    """One argument of 200 KB is E2BIG for execve(2), and that is what is said."""
    error = jar.failure("/bin/true", "x" * 200_000)
    assert error.facts["errno"] == 7
    assert jar.traces() == set()


def test_a_long_command_that_fails_still_says_why(jar: Jar) -> None:
    """The failure and the trace fit one message, whatever the command line is."""
    error = jar.failure("/bin/nope", *["x" * 100_000] * 10)
    assert error.code == "exec.no-such-file"


def test_the_trace_of_a_start_tells_every_step(jar: Jar) -> None:
    """What the keeper reports is the plan, with times."""
    running = jar.start(jar.document("/bin/sleep", "1000"))
    message = running.hear()
    running.close()
    steps = [row[1] for row in message["trace"]]
    assert any(step.startswith("pivot_root") for step in steps)
    assert all(row[3] >= 0 and row[4] == "" for row in message["trace"])


def test_limits_hold_from_the_first_instruction(jar: Jar) -> None:
    """The program finds itself in the group whose limit was written."""
    changes = {"config.linux.resources": {"pids": {"limit": 3}}}
    running = jar.start(jar.document("/bin/sh", "-c", "sleep 9 & sleep 9 & sleep 9 & sleep 9 & wait", changes=changes))
    running.wait()
    assert "can't fork" in running.output()
