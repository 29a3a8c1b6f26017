"""`onggi-oci exec` and `ps`: one more process in a container that runs, as a shell or a container manager asks for it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.oci import SECONDS, Oci
from harness.probes import needs
from onggi.kernel.cgroup.detect import detect

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


@pytest.fixture
def sleeping(oci: Oci) -> Oci:
    """A container `c` in which nothing happens."""
    return start(oci)


def start(oci: Oci, *args: str, **changes: Any) -> Oci:
    """The container `c`, detached."""
    oci.configure(*(args or ("/bin/sleep", "1000")), changes=changes)
    oci.detached()
    return oci


def said(oci: Oci, *words: str) -> str:
    """What an exec that goes well prints."""
    done = oci("exec", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def pid_of(oci: Oci) -> int:
    """The container's first process."""
    pid: int = json.loads(oci("state", "c").stdout)["pid"]
    return pid


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket for one connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(SECONDS)
        yield listener


def descriptor_from(listener: socket.socket) -> int:
    """What somebody sends to it."""
    connection, _ = listener.accept()
    with connection:
        _, (number,), _, _ = socket.recv_fds(connection, 100, 1)
    return number


def wait_until(condition: Any) -> None:
    """Poll until it holds; no longer than a test may take."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_streams_and_exit_status_are_the_programs(sleeping: Oci) -> None:
    """Standard input, both outputs, the exit status; a signal's end is 128 and its number."""
    done = subprocess.run(
        [*sleeping.words, "exec", "c", "/bin/sh", "-c", "read x; echo got $x; echo err >&2; exit 7"],
        input="word\n", capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (7, "got word\n", "err\n")
    assert sleeping("exec", "c", "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nobody", "true"), "container does not exist"),
        (("c",), "args cannot be empty"),
        (("c", "nonsense"), "executable file not found in $PATH"),
        (("c", "/etc"), "is a directory"),
        (("c", "/etc/passwd"), "permission denied"),
        (("--cwd", "bin", "c", "true"), "Cwd must be an absolute path"),
        (("--cwd", "/nowhere", "c", "true"), "no such file or directory"),
        (("--user", "root", "c", "true"), "bad uid"),
        (("--user", "1:x", "c", "true"), "bad gid"),
        (("--user", "-1", "c", "true"), "bad uid"),
        (("--additional-gids", "-5", "c", "true"), "bad additional-gids"),
        (("--cap", "CAP_NONSENSE", "c", "true"), "CAP_NONSENSE"),
        (("--process", "/nowhere/process.json", "c"), "no such file or directory"),
        (("--process", "/etc/passwd", "c"), "/etc/passwd"),
        (("--cgroup", "..", "c", "true"), "bad sub cgroup path"),
        (("--cgroup", "../c2", "c", "true"), "bad sub cgroup path"),
        (("--cgroup", "nonsense:x", "c", "true"), "unknown controller"),
        (("--cgroup", ":x", "c", "true"), "empty <controller> prefix"),
        (("--cgroup", "nowhere", "c", "true"), "no such file or directory"),
        (("--detach", "--tty", "c", "true"), "console socket"),
        (("--console-socket", "/s", "c", "true"), "console socket"),
        (("--pid-file", "/nowhere/pid", "c", "sleep", "1000"), "/nowhere"),
        (("--preserve-fds", "many", "c", "true"), "--preserve-fds"),
        (("--nonsense", "c", "true"), "flag provided but not defined"),
    ],
)
def test_our_own_failures_are_255_and_leave_nothing(sleeping: Oci, words: tuple[str, ...], why: str) -> None:
    """Whatever was wrong is named, and no process of it is in the container."""
    done = sleeping("exec", *words)
    assert (done.returncode, done.stdout) == (255, "")
    assert why in done.stderr
    assert json.loads(sleeping("ps", "-f", "json", "c").stdout) == [pid_of(sleeping)]


def test_it_is_where_the_container_is(sleeping: Oci) -> None:
    """The namespaces and groups of the container's first process, its root, and no other process of ours to be seen."""
    first = pid_of(sleeping)
    links = said(sleeping, "c", "sh", "-c", f"for k in {' '.join(KINDS)}; do readlink /proc/self/ns/$k; done")
    groups = said(sleeping, "c", "cat", "/proc/self/cgroup")
    assert links.split() == [os.readlink(f"/proc/{first}/ns/{kind}") for kind in KINDS]
    assert groups == said(sleeping, "c", "cat", "/proc/1/cgroup")
    assert len(said(sleeping, "c", "sh", "-c", "echo /proc/[0-9]*").split()) == 2


def test_a_network_of_somebody_else_is_the_containers_too(oci: Oci) -> None:
    """A namespace that the container joined by its path is joined by exec."""
    namespaces = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "cgroup")]
    shared = {"type": "network", "path": "/proc/self/ns/net"}
    start(oci, **{"linux.namespaces": [*namespaces, shared]})
    assert said(oci, "c", "readlink", "/proc/self/ns/net").strip() == os.readlink("/proc/self/ns/net")


def test_ids_of_its_own(oci: Oci) -> None:
    """In a user namespace root is root inside, and a file that it makes is its id's outside; --user means ids inside."""
    maps = [{"containerID": 0, "hostID": 3_000_000, "size": 65536}]
    oci.give_to(3_000_000)
    kinds = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup", "user")]
    start(oci, **{"linux.namespaces": kinds, "linux.uidMappings": maps, "linux.gidMappings": maps})
    os.chmod(oci.bundle / "rootfs/tmp", 0o1777)
    told = said(oci, "c", "sh", "-c", "id -u; id -g; echo > /tmp/root; readlink /proc/self/ns/user")
    assert told.split() == ["0", "0", os.readlink(f"/proc/{pid_of(oci)}/ns/user")]
    assert said(oci, "--user", "7:8", "c", "sh", "-c", "id -u; id -g; echo > /tmp/seven").split() == ["7", "8"]
    assert [os.stat(oci.bundle / "rootfs/tmp" / name).st_uid for name in ("root", "seven")] == [3_000_000, 3_000_007]


def test_a_clock_of_its_own(oci: Oci) -> None:
    """The time namespace, with its offset."""
    needs(os.path.exists("/proc/self/ns/time"), "time namespaces")
    kinds = [{"type": kind} for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup", "time")]
    start(oci, **{"linux.namespaces": kinds, "linux.timeOffsets": {"boottime": {"secs": 1_000_000, "nanosecs": 0}}})
    assert float(said(oci, "c", "cat", "/proc/uptime").split()[0]) > 1_000_000


def test_environment_directory_and_user(sleeping: Oci) -> None:
    """The container's own, changed by flags; HOME is the user's, and an empty one is none."""
    script = "echo $A $HOME; pwd; id -u; id -g; id -G"
    words = ("-e", "A=1", "--env", "A=2", "--env", "HOME=", "--cwd", "/tmp", "-u", "1234:5", "-g", "9", "-g", "10")
    assert said(sleeping, *words, "c", "sh", "-c", script).splitlines() == [
        "2 /home/who",
        "/tmp",
        "1234",
        "5",
        "5 9 10",
    ]
    assert said(sleeping, "-u", "77", "c", "sh", "-c", "echo $HOME $PATH").split() == ["/", "/bin"]


def test_a_process_from_a_file_is_all_of_it(sleeping: Oci) -> None:
    """Nothing of the configuration's own environment; what it lacks of rights is the container's."""
    path = sleeping.place / "process.json"
    path.write_text(json.dumps({"args": ["/bin/env"], "cwd": "/", "env": ["A=1"]}))
    assert set(said(sleeping, "-p", str(path), "c").split()) == {"A=1", "HOME=/root"}
    path.write_text(json.dumps({"args": ["/bin/grep", "CapBnd", "/proc/self/status"], "cwd": "/"}))
    assert said(sleeping, "-p", str(path), "c") == said(sleeping, "c", "grep", "CapBnd", "/proc/self/status")


def test_rights_are_the_containers(oci: Oci) -> None:
    """Capabilities and limits; --cap adds to them, --no-new-privs is in force."""
    limits = [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]
    start(oci, **{"process.rlimits": limits})
    plain, more = (
        said(
            oci, *words, "c", "sh", "-c", "grep -E 'CapEff|NoNewPrivs' /proc/self/status; ulimit -n; ulimit -Hn"
        ).split()
        for words in ((), ("--cap", "cap_syslog", "--no-new-privs"))
    )
    assert plain[4:] == more[4:] == ["50", "60"]
    assert int(more[1], 16) == int(plain[1], 16) | 1 << 34
    assert (plain[3], more[3]) == ("0", "1")


def test_a_container_without_capabilities_gives_none(oci: Oci) -> None:
    """A configuration that says nothing grants nothing, to its first process and to later ones."""
    start(oci, **{"process.capabilities": None})
    assert [line.split()[1] for line in said(oci, "c", "grep", "Cap", "/proc/1/status").splitlines()] == ["0" * 16] * 5
    assert [line.split()[1] for line in said(oci, "c", "grep", "Cap", "/proc/self/status").splitlines()] == [
        "0" * 16
    ] * 5


@pytest.mark.parametrize("nnp", [True, False])
def test_the_containers_filter_is_in_force(oci: Oci, nnp: bool) -> None:
    """With and without no_new_privs, which decides when it is loaded."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    start(oci, **{"linux.seccomp": profile, "process.noNewPrivileges": nnp})
    done = oci("exec", "c", "mkdir", "/x")
    assert (done.returncode, "No space left" in done.stderr) == (1, True)
    assert said(oci, "c", "grep", "NoNewPrivs", "/proc/self/status").split()[1] == str(int(nnp))


def test_limits_of_the_group_hold(oci: Oci) -> None:
    """Of as many processes as the group allows, no more can be had by exec."""
    start(oci, **{"linux.resources.pids": {"limit": 4}})
    done = oci("exec", "c", "sh", "-c", "for n in 1 2 3 4 5 6; do sleep 1000 > /dev/null 2>&1 & done; true")
    assert done.returncode != 0
    assert len(json.loads(oci("ps", "-f", "json", "c").stdout)) <= 4


def test_a_group_below_the_containers(sleeping: Oci) -> None:
    """By path in all hierarchies, or by controller in one."""
    layout = detect()
    below = [f"{directory}/below" for directory in layout.directories(f"{sleeping.group}/c")]
    for directory in below:
        os.mkdir(directory)
        for name in ("cpuset.cpus", "cpuset.mems"):
            own = Path(directory).parent / name
            if own.exists() and layout.mode != "v2":
                (Path(directory) / name).write_text(own.read_text())
    words = [*sleeping.words, "exec", "--cgroup", "below", "c", "sh", "-c", "echo up; read x"]
    with subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        inside = [len((Path(directory) / "cgroup.procs").read_text().split()) for directory in below]
        running.communicate("\n", timeout=SECONDS)
    assert inside == [1] * len(below)


def test_a_terminal_of_the_containers_own(sleeping: Oci) -> None:
    """Of the size of ours, controlling, the user's; what is typed arrives, and ours is as before at the end."""
    master, slave = pty.openpty()
    subprocess.run(["stty", "rows", "33", "cols", "99"], stdin=slave, check=True)
    before = subprocess.run(["stty", "-g"], stdin=slave, check=True, capture_output=True).stdout
    script = "tty; stty size; stat -c %u $(tty); ps -o tty | tail -1; read x; echo got $x; exit 4"
    words = ("exec", "-t", "-u", "1234", "c", "sh", "-c", script)
    running = sleeping.popen(*words, stdin=slave, stdout=slave, stderr=slave)
    seen = b""
    while b"1234" not in seen:
        seen += os.read(master, 4096)
    os.write(master, b"word\r")
    while b"got word" not in seen:
        seen += os.read(master, 4096)
    assert running.wait(SECONDS) == 4
    after = subprocess.run(["stty", "-g"], stdin=slave, check=True, capture_output=True).stdout
    os.close(master)
    os.close(slave)
    assert b"/dev/pts/0\r\n33 99\r\n1234" in seen
    assert after == before


def test_a_detached_process_is_handed_over(sleeping: Oci) -> None:
    """Pid, pidfd and terminal go to whom the caller named; the process outlives the command."""
    console, pidfd, pid_file = (sleeping.place / name for name in ("console", "pidfd", "pid"))
    with listening(console) as for_console, listening(pidfd) as for_pidfd:
        running = sleeping.popen(
            "exec", "-d", "-t", "--console-socket", str(console), "--pidfd-socket", str(pidfd),
            "--pid-file", str(pid_file), "c", "sh", "-c", "read x; echo got $x; exec sleep 1000",
        )  # fmt: skip
        master, process = descriptor_from(for_console), descriptor_from(for_pidfd)
    assert running.wait(SECONDS) == 0
    os.write(master, b"word\n")
    seen = b""
    while b"got word" not in seen:
        seen += os.read(master, 100)
    pid = int(pid_file.read_text())
    assert f"Pid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{process}").read_text()
    assert set(json.loads(sleeping("ps", "-f", "json", "c").stdout)) == {pid, pid_of(sleeping)}
    signal.pidfd_send_signal(process, signal.SIGKILL)
    wait_until(lambda: json.loads(sleeping("ps", "-f", "json", "c").stdout) == [pid_of(sleeping)])
    os.close(process)
    os.close(master)


def test_a_signal_is_passed_on(sleeping: Oci) -> None:
    """SIGTERM to us is SIGTERM to the program."""
    words = ("exec", "c", "sh", "-c", "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.1; done")
    running = sleeping.popen(*words, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    running.send_signal(signal.SIGTERM)
    assert running.stdout.read() == "got\n"
    assert running.wait(SECONDS) == 3


def test_a_created_container_can_be_entered(oci: Oci) -> None:
    """As with runc: its namespaces are there, its program has not begun, and what waits there gives nothing away."""
    oci.configure("/bin/sh", "-c", "echo ran > /made; exec sleep 1000")
    words = [*oci.words, "create", "-b", str(oci.bundle), "c"]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=SECONDS, check=True)
    script = "ls /made; : >> /proc/1/exe && echo overwritten; ls /proc/1/root /proc/1/fd/ && echo looked"
    done = oci("exec", "c", "sh", "-c", script)
    assert done.stdout == ""
    assert oci("start", "c").returncode == 0
    assert oci("exec", "c", "cat", "/made").stdout == "ran\n"


def test_a_stopped_container_is_refused(sleeping: Oci) -> None:
    """With runc's words."""
    assert sleeping("kill", "c", "KILL").returncode == 0
    wait_until(lambda: json.loads(sleeping("state", "c").stdout)["status"] == "stopped")
    done = sleeping("exec", "c", "true")
    assert (done.returncode, "cannot exec in a stopped container" in done.stderr) == (255, True)


def test_a_paused_container_is_refused_unless_one_wants_to_wait(sleeping: Oci) -> None:
    """With --ignore-paused the process begins when the container goes on; whoever gives up before leaves no process."""
    needs(any("freezer" in mount.controllers for mount in detect().mounts), "a freezer")
    assert sleeping("pause", "c").returncode == 0
    done = sleeping("exec", "c", "true")
    assert (done.returncode, "cannot exec in a paused container" in done.stderr) == (255, True)
    given_up = sleeping.popen("exec", "--ignore-paused", "c", "touch", "/given-up")
    waiting = sleeping.popen("exec", "--ignore-paused", "c", "echo", "here", stdout=subprocess.PIPE)
    wait_until(lambda: len(json.loads(sleeping("ps", "-f", "json", "c").stdout)) == 3)
    given_up.send_signal(signal.SIGTERM)
    assert given_up.wait(SECONDS) in (-signal.SIGTERM, 143)
    assert waiting.poll() is None
    assert sleeping("resume", "c").returncode == 0
    assert waiting.communicate(timeout=SECONDS)[0] == "here\n"
    wait_until(lambda: json.loads(sleeping("ps", "-f", "json", "c").stdout) == [pid_of(sleeping)])
    assert not (sleeping.bundle / "rootfs/given-up").exists()


def test_many_at_once(sleeping: Oci) -> None:
    """Each its own, none in another's way."""
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: said(sleeping, "c", "echo", str(n)), range(24)))
    assert told == [f"{n}\n" for n in range(24)]
    assert json.loads(sleeping("ps", "-f", "json", "c").stdout) == [pid_of(sleeping)]


def test_processors(oci: Oci) -> None:
    """`execCPUAffinity.final` holds for the program; without one it may run wherever the group may, not only where we do."""
    ours = sorted(os.sched_getaffinity(0))
    needs(len(ours) > 1, "two processors")
    start(oci)
    script = ("grep", "Cpus_allowed_list", "/proc/self/status")
    bound = subprocess.run(
        ["taskset", "-c", str(ours[0]), *oci.words, "exec", "c", *script], capture_output=True, text=True, check=True
    )
    path = oci.place / "process.json"
    process = {"args": ["/bin/grep", *script[1:]], "cwd": "/", "execCPUAffinity": {"initial": "0", "final": "1"}}
    path.write_text(json.dumps(process))
    assert (
        bound.stdout.split()[1] == Path("/proc/self/status").read_text().partition("Cpus_allowed_list:\t")[2].split()[0]
    )
    assert said(oci, "-p", str(path), "c").split()[1] == "1"


def test_a_killed_first_process_is_told(oci: Oci) -> None:
    """A container that ends under us is an error or the end of its process, and never a hang."""
    start(oci)
    running = oci.popen("exec", "c", "sleep", "1000")
    wait_until(lambda: len(json.loads(oci("ps", "-f", "json", "c").stdout)) == 2)
    os.kill(pid_of(oci), signal.SIGKILL)
    assert running.wait(SECONDS) == 137


def test_ps_shows_the_containers_processes_only(sleeping: Oci) -> None:
    """As ps(1) has them, with its own words; numbers as JSON; after the end an empty list."""
    pid = pid_of(sleeping)
    table = sleeping("ps", "c").stdout.splitlines()
    chosen = sleeping("ps", "c", "-e", "-o", "pid,comm").stdout.splitlines()
    assert table[0].split()[:3] == ["UID", "PID", "PPID"]
    assert [line.split()[1] for line in table[1:]] == [str(pid)]
    assert [line.split() for line in chosen] == [["PID", "COMMAND"], [str(pid), "sleep"]]
    assert json.loads(sleeping("ps", "--format", "json", "c").stdout) == [pid]
    assert "invalid format option" in sleeping("ps", "-f", "xml", "c").stderr
    assert "PID" in sleeping("ps", "c", "-e", "-o", "comm").stderr
    assert sleeping("ps", "c", "--nonsense").returncode == 1
    sleeping("kill", "c", "KILL")
    wait_until(lambda: json.loads(sleeping("state", "c").stdout)["status"] == "stopped")
    assert sleeping("ps", "c").stdout.split() == table[0].split()
    assert json.loads(sleeping("ps", "-f", "json", "c").stdout) is None
