"""`onggi-oci checkpoint` and `restore`: real containers through real CRIU, and a peer in CRIU's place that fails in every way.

Where CRIU cannot work on this kernel (the trial of `harness.criu` says so) what needs it is skipped; what goes wrong is
tested everywhere.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import criu, plans
from harness.oci import Oci
from harness.probes import needs
from onggi.kernel.cgroup.detect import detect

SECONDS = 60
COUNTER = "i=0; while read -r line; do i=$((i + 1)); echo $i $line; done"
Environment = dict[str, str]


class Frozen:
    """A container that goes to images and comes back: with pipes of the test's own as its streams."""

    def __init__(self, oci: Oci) -> None:
        self.oci = oci
        self.images = oci.place / "images"
        self.bundle = str(oci.bundle)

    def run(self, *args: str, changes: dict[str, Any] | None = None) -> None:
        """A container in the background, its streams the null device."""
        self.oci.configure(*args, changes=changes)
        done = self._quiet("run", "--detach", "-b", self.bundle, "c")
        assert done == 0

    def _quiet(self, *words: str) -> int:
        null = subprocess.DEVNULL
        with (self.oci.place / "err").open("w") as said:
            # stderr is the container's as well: a file of the host that CRIU could not dump, so it is given the null device
            return subprocess.run(
                [*self.oci.words, "--log", said.name, *words], stdin=null, stdout=null, stderr=null, timeout=SECONDS
            ).returncode

    def checkpoint(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """`checkpoint` to the images."""
        return self.oci("checkpoint", "--image-path", str(self.images), *flags, "c")

    def restore(self, *flags: str) -> None:
        """`restore` in the background; what it said when it fails."""
        words = ("restore", "--detach", "-b", self.bundle, "--image-path", str(self.images), *flags, "c")
        assert self._quiet(*words) == 0, (self.oci.place / "err").read_text()

    def there_and_back(self) -> None:
        """A checkpoint that ends it, and a restore."""
        done = self.checkpoint()
        assert (done.returncode, done.stderr) == (0, "")
        assert "container does not exist" in self.oci("state", "c").stderr
        assert self.oci.left() == []
        self.restore()

    def state(self) -> dict[str, Any]:
        """What `state` says."""
        found: dict[str, Any] = json.loads(self.oci("state", "c").stdout)
        return found

    def sees(self, command: str) -> str:
        """What a shell in the container says."""
        done = self.oci("exec", "c", "/bin/sh", "-c", command)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def frozen(oci: Oci) -> Iterator[Frozen]:
    """A container, where CRIU works."""
    needs(criu.works(), "kernel that its CRIU can work with")
    yield Frozen(oci)
    oci("delete", "--force", "c")


def mounts() -> list[str]:
    """The mounts of this namespace."""
    return Path("/proc/self/mountinfo").read_text().splitlines()


def test_a_container_goes_on_where_it_was(frozen: Frozen) -> None:
    """Memory, pids inside, group, streams; twice, and nothing is left over on the host."""
    before = mounts()
    frozen.run(
        "/bin/sh", "-c", "i=7; (sleep 1000; :) & trap 'i=$((i + 1)); echo $i > /count' USR1; while :; do wait; done"
    )
    first = frozen.state()
    sleeps = 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != sleep ] || echo $p; done'
    processes = frozen.sees(sleeps)
    for count in (8, 9):
        frozen.there_and_back()
        found = frozen.state()
        assert found["status"] == "running"
        assert found["pid"] != first["pid"]
        assert found["created"] > first["created"]
        assert found["pid"] in detect().pids(f"{frozen.oci.group}/c")
        assert Path(f"/proc/{found['pid']}/comm").read_text() == "sh\n"
        assert frozen.sees(sleeps) == processes
        frozen.sees("kill -USR1 1; until [ -s /count ]; do :; done")
        assert (frozen.oci.bundle / "rootfs/count").read_text() == f"{count}\n"
        (frozen.oci.bundle / "rootfs/count").unlink()
    assert mounts() == before
    assert frozen.oci("delete", "--force", "c").returncode == 0
    assert frozen.oci.left() == []


def test_a_container_may_stay(frozen: Frozen) -> None:
    """With --leave-running the same process runs on, and a directory that exists takes the next checkpoint."""
    frozen.run("/bin/sleep", "1000")
    first = frozen.state()
    for _ in range(2):
        assert frozen.checkpoint("--leave-running").returncode == 0
        assert frozen.state() == first
    assert json.loads((frozen.images / "descriptors.json").read_text()) == ["/dev/null"] * 3


def test_pipes_are_connected_again(frozen: Frozen) -> None:
    """The program's streams are those of who restores it; it goes on to read and write as if nothing had been."""
    frozen.oci.configure("/bin/sh", "-c", COUNTER)
    run = ("run", "--detach", "-b", frozen.bundle, "c")
    first = frozen.oci.popen(*run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert first.stdin is not None
    assert first.stdout is not None
    assert first.wait(SECONDS) == 0
    first.stdin.write("one\n")
    first.stdin.flush()
    assert first.stdout.readline() == "1 one\n"
    assert frozen.checkpoint().returncode == 0
    restore = ("restore", "-b", frozen.bundle, "--image-path", str(frozen.images), "c")
    second = frozen.oci.popen(*restore, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out, _ = second.communicate("two\nthree\n", SECONDS)
    assert (out, second.returncode) == ("2 two\n3 three\n", 0)
    assert frozen.oci.left() == []


def test_a_restore_in_the_foreground_ends_as_the_container_ends(frozen: Frozen) -> None:
    """With its exit code; signals are passed on; what it left is removed."""
    frozen.run("/bin/sh", "-c", "trap 'exit 5' TERM; echo up > /up; while :; do sleep 0.1; done")
    frozen.sees("until [ -s /up ]; do :; done")
    assert frozen.checkpoint().returncode == 0
    null = subprocess.DEVNULL
    words = (
        "restore",
        "-b",
        frozen.bundle,
        "--image-path",
        str(frozen.images),
        "--pid-file",
        str(frozen.oci.place / "pid"),
        "c",
    )
    running = frozen.oci.popen(*words, stdin=null, stdout=null, stderr=null)
    while not (frozen.oci.place / "pid").exists():
        assert running.poll() is None
    running.terminate()
    assert running.wait(SECONDS) == 5
    assert frozen.oci.left() == []


def test_a_terminal_comes_back(frozen: Frozen) -> None:
    """The master goes to the console socket, as from a start; what is typed arrives."""
    frozen.oci.configure("/bin/sh", "-c", "while read x; do echo got $x; done", changes={"process.terminal": True})
    for words in (("run",), ("restore", "--image-path", str(frozen.images))):
        console = str(frozen.oci.place / words[0])
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(console)
            listener.listen()
            listener.settimeout(SECONDS)
            running = frozen.oci.popen(*words, "--detach", "-b", frozen.bundle, "--console-socket", console, "c")
            connection, _ = listener.accept()
            with connection:
                _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
        assert running.wait(SECONDS) == 0
        os.write(master, b"word\n")
        seen = b""
        while b"got word" not in seen:
            seen += os.read(master, 100)
        if words[0] == "run":
            assert frozen.checkpoint().returncode == 0
        os.close(master)


def test_the_hosts_files_are_mounted_again(frozen: Frozen) -> None:
    """A bind mount, one in another whose mount point is gone by then, one by a link, one of a file; and the masks."""
    places = {name: frozen.oci.place / name for name in ("outer", "inner", "linked")}
    for name, place in places.items():
        place.mkdir()
        (place / "name").write_text(name)
    (frozen.oci.bundle / "rootfs/link").symlink_to("/there/it/is")
    (frozen.oci.bundle / "rootfs/there/it/is").mkdir(parents=True)
    masked = ["/proc/keys", "/proc/acpi", "/sys/firmware", "/proc/nothing"]
    binds = [
        plans.mount("/outer", "bind", ["bind"], str(places["outer"])),
        plans.mount("/outer/a/b", "bind", ["bind", "ro"], str(places["inner"])),
        plans.mount("/link", "bind", ["bind"], str(places["linked"])),
        plans.mount("/file", "bind", ["bind"], str(places["inner"] / "name")),
    ]
    frozen.run("/bin/sleep", "1000", changes={"mounts": [*plans.base_mounts(), *binds], "linux.maskedPaths": masked})
    look = (
        "cat /outer/name /outer/a/b/name /link/name /there/it/is/name /file; touch /outer/a/b/x 2>&1;"
        " cat /proc/keys; ls -A /proc/acpi /sys/firmware; mount | sort"
    )
    before = frozen.sees(look)
    assert frozen.checkpoint().returncode == 0
    (places["outer"] / "a/b").rmdir()
    (places["outer"] / "a").rmdir()
    frozen.restore()
    assert before.startswith("outerinnerlinkedlinkedinner")
    assert "Read-only" in before
    assert frozen.sees(look) == before


def test_a_network_namespace_of_somebody_else_stays_that(frozen: Frozen) -> None:
    """Given by path: the restored container is in it again, whatever was done to it meanwhile."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        ours = os.stat("/proc/self/ns/net").st_ino
        while os.stat(f"/proc/{holder.pid}/ns/net").st_ino == ours:
            assert holder.poll() is None
        path = f"/proc/{holder.pid}/ns/net"
        kinds = plans.namespaces("mount", "pid", "ipc", "uts")
        frozen.run("/bin/sleep", "1000", changes={"linux.namespaces": [*kinds, {"type": "network", "path": path}]})
        frozen.there_and_back()
        assert os.stat(f"/proc/{frozen.state()['pid']}/ns/net").st_ino == os.stat(path).st_ino
    finally:
        holder.kill()
        holder.wait()


def test_a_network_namespace_of_its_own_has_its_loopback(frozen: Frozen) -> None:
    """127.0.0.1 answers as before."""
    frozen.run("/bin/sleep", "1000")
    frozen.there_and_back()
    assert "UP LOOPBACK" in frozen.sees("ifconfig lo")


def test_a_paused_container_can_be_checkpointed(frozen: Frozen) -> None:
    """Frozen before, it is frozen after a checkpoint that leaves it, and comes back from images."""
    frozen.run("/bin/sleep", "1000")
    layout, group = detect(), f"{frozen.oci.group}/c"
    layout.freeze(group)
    assert frozen.checkpoint("--leave-running").returncode == 0
    assert frozen.state()["status"] == "paused"
    done = frozen.checkpoint()
    assert (done.returncode, done.stderr) == (0, "")
    assert frozen.oci.left() == []
    frozen.restore()
    assert Path(f"/proc/{frozen.state()['pid']}/comm").read_text() == "sleep\n"


def test_hooks_of_the_runtime_run_at_a_restore(frozen: Frozen) -> None:
    """prestart and createRuntime with the restored pid; the program's own start is long past."""
    log = frozen.oci.place / "hooks"
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    hooks = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} $(cat) >> {log}"]}] for kind in kinds[:2]}
    hooks |= {kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} >> {log}"]}] for kind in kinds[4:]}
    frozen.run("/bin/sleep", "1000", changes={"hooks": hooks})
    log.write_text("")
    assert frozen.checkpoint().returncode == 0
    assert log.read_text() == "poststop\n"
    log.write_text("")
    frozen.restore()
    seen = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    assert list(seen) == ["prestart", "createRuntime"]
    assert json.loads(seen["prestart"])["pid"] == frozen.state()["pid"]


def test_a_hook_that_fails_fails_the_restore(frozen: Frozen) -> None:
    """With what it said; nothing of the container is left, and the images are good for another try."""
    frozen.run("/bin/sleep", "1000")
    assert frozen.checkpoint().returncode == 0
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 5"]}
    frozen.oci.configure("/bin/sleep", "1000", changes={"hooks": {"createRuntime": [hook]}})
    done = frozen.oci("restore", "--detach", "-b", frozen.bundle, "--image-path", str(frozen.images), "c")
    assert done.returncode == 1
    assert "exit code 5, stdout: , stderr: why" in done.stderr
    assert frozen.oci.left() == []
    frozen.oci.configure("/bin/sleep", "1000")
    frozen.restore()
    assert frozen.state()["status"] == "running"


def test_what_was_executed_in_it_comes_along(frozen: Frozen) -> None:
    """A process of `exec` that its parent has left to the container's first."""
    frozen.run("/bin/sleep", "1000")
    frozen.sees("sleep 2000 < /dev/null > /dev/null 2>&1 &")
    frozen.there_and_back()
    assert "sleep 2000" in frozen.sees("ps")


def test_what_criu_cannot_dump_goes_on_and_criu_says_why(frozen: Frozen) -> None:
    """An open file of the host, which no restore could find: the container runs as before, CRIU's last errors are told."""
    frozen.oci.configure("/bin/sleep", "1000")
    with (frozen.oci.place / "output").open("w") as output:
        words = [*frozen.oci.words, "run", "--detach", "-b", frozen.bundle, "c"]
        subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, timeout=SECONDS, check=True
        )
    first = frozen.state()
    work = frozen.oci.place / "work"
    done = frozen.checkpoint("--work-path", str(work))
    assert done.returncode == 1
    assert "criu failed: type DUMP" in done.stderr
    assert "Error (criu/" in done.stderr
    assert str(work / "dump.log") in done.stderr
    assert frozen.state() == first
    assert not (frozen.images / "descriptors.json").exists()


def test_images_of_something_else_restore_nothing(frozen: Frozen) -> None:
    """CRIU's reason is told; no group, no state, no process is left."""
    frozen.oci.configure("/bin/sleep", "1000")
    frozen.images.mkdir()
    (frozen.images / "descriptors.json").write_text("[]")
    done = frozen.oci("restore", "--detach", "-b", frozen.bundle, "--image-path", str(frozen.images), "c")
    assert done.returncode == 1
    assert "criu failed: type RESTORE" in done.stderr
    assert "Error (criu/" in done.stderr
    assert frozen.oci.left() == []


def test_what_was_done_is_told_step_by_step(frozen: Frozen) -> None:
    """--debug: the nearest commands, in order."""
    frozen.run("/bin/sleep", "1000")
    done = frozen.oci("--debug", "checkpoint", "--image-path", str(frozen.images), "c")
    steps = [line.partition('msg="keeper: ')[2] for line in done.stderr.splitlines() if "keeper: " in line]
    assert [step.split()[0] for step in steps] == ["mkdir", "echo", "criu"]
    assert "criu dump --images-dir" in steps[2]
