"""`exec` into a container that wants to get at who enters it: each attack is tried, and fails.

Attackers are Python programs in a container that shows the machine's /usr, so that they are as quick as we are.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from harness.jar import SOURCE
from harness.oci import SECONDS, Oci
from harness.probes import needs
from onggi.kernel import capability

PYTHON = "/usr/bin/python3"
EXECS = 25
RIGHTS = [*plans.CAPABILITIES, "CAP_SYS_PTRACE"]
WATCH = """
import os, sys
print("up", flush=True)
own, seen, denied, got, rights = os.getpid(), set(), 0, set(), 0
def look(pid):
    global denied, rights
    there = f"/proc/{pid}"
    try:
        for line in open(f"{there}/status"):
            if line.startswith("CapEff"):
                rights |= int(line.split()[1], 16)
    except OSError:
        return False
    for way in (lambda: os.readlink(f"{there}/exe"), lambda: os.listdir(f"{there}/fd"), lambda: open(f"{there}/mem", "r+b")):
        try:
            found = way()
        except PermissionError:
            denied += 1
        except OSError:
            return False
        else:
            if isinstance(found, str) and "python" in found:
                got.add(found)
            elif not isinstance(found, str):
                try:
                    if "python" in os.readlink(f"{there}/exe"):
                        got.add(str(found))
                except OSError:
                    pass
    return True
while not os.path.exists("/stop"):
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own and int(name) != 1:
            while look(int(name)) and len(os.listdir("/proc/self/task")) and name not in seen:
                try:
                    if os.readlink(f"/proc/{name}/exe").endswith("busybox"):
                        seen.add(name)
                except OSError:
                    pass
print(denied, rights, "|".join(sorted(got)))
"""
SIGNAL = """
import os, sys
print("up", flush=True)
sent = 0
while not os.path.exists("/stop"):
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) > 1 and int(name) != os.getpid():
            try:
                os.kill(int(name), int(sys.argv[1]))
                sent += 1
            except OSError:
                pass
print(sent)
"""


def with_python(oci: Oci, script: str, *words: str, **changes: Any) -> Oci:
    """A container in which Python works; `script` is at /attack."""
    needs(os.path.exists(PYTHON), PYTHON)
    root = oci.bundle / "rootfs"
    for name in ("usr",):
        (root / name).mkdir()
    for name in ("lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "attack").write_text(script)
    mounts = [*plans.base_mounts(), plans.mount("/usr", "bind", ["rbind", "ro"], "/usr")]
    rights = dict.fromkeys(("bounding", "effective", "permitted"), plans.CAPABILITIES)
    oci.configure(
        *(words or ("/bin/sleep", "1000")),
        changes={"mounts": mounts, "process.capabilities": rights, **changes},
    )
    return oci


def attacked(oci: Oci, *words: str) -> tuple[list[subprocess.CompletedProcess[str]], str]:
    """Some execs while the attacker is at work; what became of them, and what the attacker prints at the end."""
    attacker = oci.popen("run", "-b", str(oci.bundle), "c", stdout=subprocess.PIPE)
    assert attacker.stdout is not None
    assert attacker.stdout.readline() == "up\n"
    done = [oci("exec", "c", *words) for _ in range(EXECS)]
    (oci.bundle / "rootfs/stop").touch()
    told = attacker.stdout.read()
    assert attacker.wait(SECONDS) == 0
    return done, told


FILTER = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]}


@pytest.mark.parametrize("seccomp", [None, FILTER])
def test_who_enters_cannot_be_looked_at(oci: Oci, seccomp: Any) -> None:
    """Root in the container sees the process before its program runs, and gets at neither its interpreter's file, nor its
    descriptors, nor its memory."""
    with_python(oci, WATCH, PYTHON, "-S", "/attack", **{"linux.seccomp": seccomp})
    done, told = attacked(oci, "/bin/busybox", "true")
    denied, _, got = told.rstrip("\n").split(" ", 2)
    assert [one.returncode for one in done] == [0] * EXECS
    assert int(denied) > 0
    assert got == ""


@pytest.mark.parametrize("nnp", [True, False])
def test_who_enters_has_no_rights_to_be_robbed_of(oci: Oci, nnp: bool) -> None:
    """Not even a container that may trace everybody finds a process with more rights than its own to trace: without a
    filter, or with no_new_privs, they are gone before it can be seen."""
    rights = dict.fromkeys(("bounding", "effective", "permitted"), RIGHTS)
    changes = {"process.noNewPrivileges": nnp, "linux.seccomp": FILTER if nnp else None, "process.capabilities": rights}
    with_python(oci, WATCH, PYTHON, "-S", "/attack", **changes)
    done, told = attacked(oci, "/bin/busybox", "true")
    seen = int(told.split()[1])
    assert [one.returncode for one in done] == [0] * EXECS
    assert seen
    assert seen & ~capability.mask(RIGHTS) == 0


def test_who_enters_can_be_killed_and_nothing_more(oci: Oci) -> None:
    """Each exec ends, as what was killed or as what could not start, and no process is left."""
    with_python(oci, SIGNAL, PYTHON, "-S", "/attack", "9")
    done, told = attacked(oci, "/bin/sleep", "1000")
    assert int(told) >= EXECS
    assert {one.returncode for one in done} <= {137, 255}
    assert oci.left() == []


def test_who_is_stopped_on_the_way_can_be_given_up(oci: Oci) -> None:
    """A container that stops every new process holds up its own exec only until its caller wants no more."""
    with_python(oci, SIGNAL, PYTHON, "-S", "/attack", "19")
    attacker = oci.popen("run", "-b", str(oci.bundle), "c", stdout=subprocess.PIPE)
    assert attacker.stdout is not None
    attacker.stdout.readline()
    for _ in range(8):
        running = oci.popen("exec", "c", "/bin/sleep", "1000", stderr=subprocess.DEVNULL)
        while len(json.loads(oci("ps", "-f", "json", "c").stdout)) < 2:
            assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        for pid in json.loads(oci("ps", "-f", "json", "c").stdout)[1:]:
            os.kill(pid, signal.SIGKILL)  # one whose program runs already: the signal is its own, and it is stopped
        assert running.wait(SECONDS) in (137, 143, 255, -signal.SIGTERM)
    (oci.bundle / "rootfs/stop").touch()
    assert int(attacker.stdout.read()) > 0
    assert attacker.wait(SECONDS) == 0


def test_the_interpreter_as_the_program_is_on_a_read_only_mount(oci: Oci) -> None:
    """CVE-2019-5736: what `#!/proc/self/exe` gets hold of cannot be written, also when nobody runs it any more."""
    script = (
        "#!/proc/self/exe\nimport os\nprint(os.readlink('/proc/self/exe'), os.statvfs('/proc/self/exe').f_flag & 1)\n"
    )
    with_python(oci, "")
    program = oci.bundle / "rootfs/evil"
    program.write_text(script)
    program.chmod(0o755)
    oci.detached()
    before = Path(PYTHON).resolve().stat()
    done = oci("exec", "c", "/evil")
    assert done.stdout.split()[1:] == ["1"]
    assert oci("exec", "c", "/proc/self/exe", "-c", "pass").returncode in (0, 255)
    after = Path(PYTHON).resolve().stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("seccomp", [None, FILTER])
def test_no_descriptor_of_ours_is_a_way_out(oci: Oci, seccomp: Any) -> None:
    """CVE-2024-21626: no working directory, and no program, by way of a descriptor that who enters has open; and none is
    open in the program, whatever the caller left open. One that is handed over on purpose is no directory to begin in."""
    oci.configure("/bin/sleep", "1000", changes={"linux.seccomp": seccomp})
    oci.detached()
    host = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(host, 60, inheritable=True)
    try:
        for number in [*range(3, 20), 60]:
            keep = ("--preserve-fds", "58") if number == 60 else ()
            for path in (
                f"/proc/self/fd/{number}",
                f"/proc/self/fd/{number}/../../../..",
                f"/proc/thread-self/fd/{number}",
            ):
                words = [*oci.words, "exec", *keep, "--cwd", path, "c", "/bin/cat", "etc/debian_version"]
                done = subprocess.run(words, capture_output=True, timeout=SECONDS, pass_fds=(60,), check=False)
                assert (done.returncode, done.stdout) == (255, b""), path
        words = [*oci.words, "exec", "c", "/bin/sh", "-c", "echo /proc/self/fd/*"]
        done = subprocess.run(words, capture_output=True, timeout=SECONDS, pass_fds=(60,), check=False)
        kept = subprocess.run(
            [*oci.words, "exec", "--preserve-fds", "58", "c", "/bin/sh", "-c", "ls /proc/self/fd | tr '\n' ' '"],
            capture_output=True, timeout=SECONDS, pass_fds=(60,), check=False,
        )  # fmt: skip
    finally:
        os.close(host)
        os.close(60)
    open_there = {word.rpartition(b"/")[2] for word in done.stdout.split()}
    assert open_there <= {b"0", b"1", b"2", b"3"}  # the last is the shell's own, of the directory that it lists
    assert b"60" in kept.stdout.split()
    assert len(kept.stdout.split()) <= 5


@pytest.mark.parametrize("place", ["proc", "sys", "dev"])
def test_a_link_in_place_of_a_kernels_directory_leads_nowhere(oci: Oci, place: str) -> None:
    """Nothing that we do on the way in depends on what is mounted, or linked, in the container."""
    oci.configure("/bin/sleep", "1000")
    config = json.loads((oci.bundle / "config.json").read_text())
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith(f"/{place}")]
    if place == "proc":
        config["linux"] = {**config["linux"], "maskedPaths": [], "readonlyPaths": []}
    (oci.bundle / "config.json").write_text(json.dumps(config))
    oci.detached()
    if place != "dev":  # there the runtime itself has made nodes by now
        (oci.bundle / "rootfs" / place).rmdir()
        (oci.bundle / "rootfs" / place).symlink_to("/etc")
    done = oci("exec", "--user", "1234", "c", "/bin/sh", "-c", "echo $HOME")
    assert (done.returncode, done.stdout, done.stderr) == (0, "/home/who\n", "")


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "link", "huge"])
def test_a_strange_passwd_neither_blocks_nor_harms(oci: Oci, kind: str) -> None:
    """/etc/passwd is read if it is a file of the container's, as far as is reasonable."""
    oci.configure("/bin/sleep", "1000")
    oci.detached()
    passwd = oci.bundle / "rootfs/etc/passwd"
    passwd.unlink()
    match kind:
        case "fifo":
            os.mkfifo(passwd)
        case "directory":
            passwd.mkdir()
        case "device":
            os.mknod(passwd, 0o20666, os.makedev(1, 5))
        case "link":
            passwd.symlink_to("/proc/1/root/../../../etc/shadow")
        case "huge":
            with passwd.open("wb") as file:
                file.truncate(1 << 40)
    done = oci("exec", "--user", "1234", "c", "/bin/sh", "-c", "echo $HOME")
    assert (done.returncode, done.stdout) == (0, "/\n")


@pytest.mark.parametrize(
    ("trick", "why"),
    [
        ("mount -t tmpfs none /dev/pts; mkfifo /dev/pts/ptmx", "is no devpts"),
        ("mount -t tmpfs none /dev/pts; mknod /dev/pts/ptmx c 5 2", "is no devpts"),
        ("mount -t tmpfs none /dev/pts; ln -s /dev/null /dev/pts/ptmx", "is no devpts"),
        ("mount --bind /dev/null /dev/pts/ptmx", "EXDEV"),
        ("mkfifo /dev/fifo; mount --bind /dev/fifo /dev/pts/ptmx", "EXDEV"),
        ("umount /dev/pts; rmdir /dev/pts; ln -s /proc/1/fd /dev/pts", "is no devpts"),
        ("umount /dev/pts; rmdir /dev/pts; ln -s /proc/self/fd /dev/pts", "ENOENT"),
    ],
)
def test_a_terminal_comes_from_a_devpts_or_not_at_all(oci: Oci, trick: str, why: str) -> None:
    """CVE-2025-52565 teaches: what lies at /dev/pts/ptmx may be anything. It is not opened, and nothing hangs."""
    rights = [*plans.CAPABILITIES, "CAP_SYS_ADMIN", "CAP_MKNOD"]
    changes = {"process.capabilities": dict.fromkeys(("bounding", "effective", "permitted"), rights)}
    oci.configure("/bin/sh", "-c", f"{trick} && touch /ready; exec sleep 1000", changes=changes)
    oci.detached()
    while not (oci.bundle / "rootfs/ready").exists():
        assert json.loads(oci("state", "c").stdout)["status"] == "running"
    done = oci("exec", "-t", "c", "/bin/true")
    assert (done.returncode, done.stdout) == (255, "")
    assert why in done.stderr
    assert oci("exec", "c", "/bin/true").returncode == 0


def test_a_module_of_the_containers_is_not_loaded(oci: Oci) -> None:
    """At every place where the interpreter would look for modules the container has some of its own: none runs."""
    oci.configure("/bin/sleep", "1000")
    root = oci.bundle / "rootfs"
    evil = "open('/loaded', 'w').write(__name__)\n"
    standard = [path for path in sys.path if path.startswith("/usr/")] or ["/usr/lib/python3.11"]
    for directory in (str(SOURCE), *standard, "/"):
        place = root / directory.lstrip("/")
        for name in (
            "json",
            "encodings",
            "os",
            "errno",
            "re",
            "enum",
            "traceback",
            "resource",
            "select",
            "termios",
            "tty",
        ):
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / "__init__.py").write_text(evil)
        (place / "onggi/runtime").mkdir(parents=True, exist_ok=True)
        (place / "onggi/runtime/filters.py").write_text(evil)
    oci.detached()
    for words in (("true",), ("nonsense",), ("/etc",), ("true", "x" * 100_000)):
        oci("exec", "c", *words)
        oci("--debug", "exec", "-t", "--cwd", "/tmp", "--user", "1234:77", "c", *words)
    assert not (root / "loaded").exists()
