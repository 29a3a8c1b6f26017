"""`onggi-oci` from the outside: bundles of busybox, as a shell or a container manager runs them."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess

import pytest

from harness import plans
from harness.oci import PROGRAM, SECONDS, Oci


def test_it_ends_as_the_container_ends(oci: Oci) -> None:
    """Streams are the caller's own, the exit code is the container's, nothing is left."""
    done = oci.run("/bin/sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert oci.left() == []


def test_standard_input_is_the_callers(oci: Oci) -> None:
    """No copy in between."""
    oci.configure("/bin/cat")
    done = subprocess.run(
        [*oci.words, "run", "-b", str(oci.bundle), "c"],
        input="in\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout == "in\n"


def test_a_signal_is_passed_on(oci: Oci) -> None:
    """SIGTERM to us is SIGTERM to the container's first process."""
    oci.configure("/bin/sh", "-c", "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.1; done")
    running = oci.popen("run", "-b", str(oci.bundle), "c", stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    running.send_signal(signal.SIGTERM)
    assert running.stdout.read() == "got\n"
    assert running.wait(SECONDS) == 3


def test_state_list_and_kill_know_what_runs(oci: Oci) -> None:
    """The life of one container, seen from another shell."""
    oci.configure("/bin/sh", "-c", "echo up; exec sleep 1000")
    pid_file = oci.place / "pid"
    running = oci.popen("run", "-b", str(oci.bundle), "--pid-file", str(pid_file), "c", stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    found = json.loads(oci("state", "c").stdout)
    listed = json.loads(oci("list", "--format", "json").stdout)
    exe_is_read_only = os.statvfs(f"/proc/{running.pid}/exe").f_flag & os.ST_RDONLY
    assert (found["id"], found["status"], found["bundle"]) == ("c", "running", str(oci.bundle))
    assert found["pid"] == int(pid_file.read_text())
    assert listed == [found]
    assert oci("list", "-q").stdout == "c\n"
    assert exe_is_read_only
    assert "already exists" in oci("run", "-b", str(oci.bundle), "c").stderr
    assert oci("delete", "c").returncode == 1
    assert oci("kill", "c", "KILL").returncode == 0
    assert running.wait(SECONDS) == 137
    assert "container does not exist" in oci("state", "c").stderr


def test_a_killed_runtime_leaves_the_container_running_and_delete_clears_up(oci: Oci) -> None:
    """As runc's: the container goes on, with another parent."""
    oci.configure("/bin/sh", "-c", "echo up; exec sleep 1000")
    running = oci.popen("run", "-b", str(oci.bundle), "c", stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    running.kill()
    running.wait()
    assert json.loads(oci("state", "c").stdout)["status"] == "running"
    assert oci("delete", "--force", "c").returncode == 0
    assert oci.left() == []


def test_create_and_start_are_two_commands(oci: Oci) -> None:
    """Nothing of the program runs before `start`; a second `start` is refused."""
    oci.configure("/bin/sh", "-c", "echo ran > /made; exec sleep 1000")
    assert subprocess.run([*oci.words, "create", "-b", str(oci.bundle), "c"], timeout=SECONDS, check=True)
    assert json.loads(oci("state", "c").stdout)["status"] == "created"
    assert not (oci.bundle / "rootfs/made").exists()
    assert oci("start", "c").returncode == 0
    assert json.loads(oci("state", "c").stdout)["status"] == "running"
    assert "cannot start an already running container" in oci("start", "c").stderr
    assert oci("kill", "c", "KILL").returncode == 0
    assert oci("delete", "--force", "c").returncode == 0
    assert oci.left() == []


def test_hooks_run_at_their_points(oci: Oci) -> None:
    """Each kind once, in order, with the state of that moment; those of the container see its root."""
    log = oci.place / "hooks"
    oci.configure("/bin/sh", "-c", "sleep 0")
    hooks = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} $(cat) >> {log}"], "env": ["PATH=/bin:/usr/bin"]}]
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }
    hooks["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /inside"]}]
    done = oci.run("/bin/true", changes={"hooks": hooks})
    seen = [line.partition(" ") for line in log.read_text().splitlines()]
    states = {kind: json.loads(document)["status"] for kind, _, document in seen}
    assert (done.returncode, done.stderr) == (0, "")
    assert [kind for kind, _, _ in seen] == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    assert states == {
        "prestart": "creating", "createRuntime": "creating", "createContainer": "creating",
        "poststart": "running", "poststop": "stopped",
    }  # fmt: skip
    assert json.loads((oci.bundle / "rootfs/inside").read_text())["status"] == "created"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"])
def test_a_hook_that_fails_fails_the_start(oci: Oci, kind: str) -> None:
    """With its number and what it said; nothing is left."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 5"]}
    done = oci.run("/bin/sleep", "1000", changes={"hooks": {kind: [hook]}})
    assert done.returncode == 1
    assert f"error running {kind} hook #0: exit code 5" in done.stderr
    assert "why" in done.stderr
    assert oci.left() == []


def test_a_terminal_is_between_ours_and_the_containers(oci: Oci) -> None:
    """On a terminal: the container has one of its own, of the same size, and ours is as before when it ends."""
    oci.configure("/bin/sh", "-c", "tty; stty size; read x; echo got $x", changes={"process.terminal": True})
    master, slave = pty.openpty()
    os.set_blocking(master, True)
    subprocess.run(["stty", "rows", "33", "cols", "99"], stdin=slave, check=True)
    before = subprocess.run(["stty", "-g"], stdin=slave, check=True, capture_output=True).stdout
    running = oci.popen("run", "-b", str(oci.bundle), "c", stdin=slave, stdout=slave, stderr=slave)
    seen = b""
    while b"33 99" not in seen:
        seen += os.read(master, 4096)
    os.write(master, b"word\r")
    while b"got word" not in seen:
        seen += os.read(master, 4096)
    assert running.wait(SECONDS) == 0
    after = subprocess.run(["stty", "-g"], stdin=slave, check=True, capture_output=True).stdout
    os.close(master)
    os.close(slave)
    assert b"/dev/pts/0" in seen
    assert after == before


def test_the_console_socket_gets_the_master(oci: Oci) -> None:
    """As runc's: one descriptor over a unix socket, which is the terminal."""
    oci.configure("/bin/sh", "-c", "read x; echo got $x", changes={"process.terminal": True})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(oci.place / "console"))
        listener.listen()
        listener.settimeout(SECONDS)
        words = ("run", "--detach", "-b", str(oci.bundle), "--console-socket", str(oci.place / "console"), "c")
        running = oci.popen(*words)
        connection, _ = listener.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
    os.write(master, b"word\n")
    seen = b""
    while b"got word" not in seen:
        seen += os.read(master, 100)
    os.close(master)
    assert running.wait(SECONDS) == 0
    assert oci("delete", "--force", "c").returncode == 0


def test_the_bundles_seccomp_profile_is_in_force(oci: Oci) -> None:
    """Compiled once, kept below the root, the same on the second run."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    for _ in range(2):
        done = oci.run("/bin/mkdir", "/x", changes={"linux.seccomp": profile})
        assert "No space left on device" in done.stderr
    assert len(list((oci.place / "state/.seccomp").iterdir())) == 1


def test_a_bundle_with_ids_of_its_own(oci: Oci) -> None:
    """uidMappings of the bundle: its root directory belongs to the mapped root, as runc expects it."""
    first = 3_000_000
    oci.give_to(first)
    maps = [{"containerID": 0, "hostID": first, "size": 65536}]
    kinds = plans.namespaces("user", "mount", "pid", "ipc", "uts", "network", "cgroup")
    done = oci.run(
        "/bin/sh", "-c", "id -u; cat /proc/self/uid_map; touch /made",
        changes={"linux.namespaces": kinds, "linux.uidMappings": maps, "linux.gidMappings": maps},
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["0", "0", str(first), "65536"], "")
    assert (oci.bundle / "rootfs/made").stat().st_uid == first


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        (
            "json",
            r'{"level":"error","msg":"onggi-oci run failed: unable to start container process: exec: \"/nope\": stat',
        ),
        ("text", "time="),
    ],
)
def test_a_failure_is_in_the_log_as_well(oci: Oci, form: str, begins: str) -> None:
    """Container managers read their runtime's log, not its stderr."""
    oci.configure("/nope")
    log = oci.place / "log"
    done = oci("--log", str(log), "--log-format", form, "run", "-b", str(oci.bundle), "c")
    assert done.returncode == 1
    assert "/nope" in done.stderr
    assert log.read_text().startswith(begins)
    assert oci.left() == []


def test_the_example_runs(oci: Oci) -> None:
    """`spec`, then `run` of what it wrote, with another program and without a terminal."""
    assert oci("spec", "--bundle", str(oci.bundle)).returncode == 0
    assert oci("spec", "--bundle", str(oci.bundle)).returncode == 1
    document = json.loads((oci.bundle / "config.json").read_text())
    document["process"] |= {"terminal": False, "args": ["sh", "-c", "hostname; touch /x"]}
    document["linux"]["cgroupsPath"] = f"{oci.group}/c"
    (oci.bundle / "config.json").write_text(json.dumps(document))
    done = oci("run", "-b", str(oci.bundle), "c")
    assert done.stdout == "onggi\n"
    assert "Read-only file system" in done.stderr


def test_versions_and_features_are_printed() -> None:
    """Without root, a bundle or a state."""
    words = [PROGRAM]
    version = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True).stdout
    features = subprocess.run([*words, "features"], capture_output=True, text=True, check=True).stdout
    assert version.startswith("onggi-oci version ")
    assert "spec: 1." in version
    assert json.loads(features)["ociVersionMin"] == "1.0.0"


def test_a_word_that_is_no_command_is_named(oci: Oci) -> None:
    """On stderr, with runc's exit status for it."""
    done = oci("nonsense", "c", "true")
    assert (done.returncode, done.stdout) == (3, "")
    assert "'nonsense'" in done.stderr
