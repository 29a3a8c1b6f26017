"""A place where one test of somebody else's suite runs alone: what it leaves behind harms neither the next nor the machine.

Its own cgroups (with a cgroup namespace, so that fixed names do not meet), pid, mount and network namespace, and its own
terminal, on which nobody types. `scripts/runc-suite` and `scripts/crun-suite` use it; it knows neither of them.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_UNIFIED = os.path.exists(_GROUPS / "cgroup.procs")
_FIRST = """
set -e
ip link set lo up
mount -t sysfs sysfs /sys
if [ "$CAGE_HIERARCHIES" = . ]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; else
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    for each in $CAGE_HIERARCHIES; do
        mkdir /sys/fs/cgroup/$each
        case $each in
            unified) mount -t cgroup2 cgroup2 /sys/fs/cgroup/$each ;;
            systemd) mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/$each ;;
            *) mount -t cgroup -o $each cgroup /sys/fs/cgroup/$each ;;
        esac
    done
fi
unset CAGE_HIERARCHIES
set +e
"$@"
exit $?
"""
"""The first process: the namespaces' own /sys, then the test; it stays, because bats does not wait for orphans."""


class Cage:
    """One run of a suite; `run` is one test of it. A context manager: at the end nothing is left."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ.get("TMPDIR", "/var/tmp")))
        self.directory.chmod(0o755)  # users of the tests walk through it
        self.programs = self.directory / "bin"
        self.programs.mkdir()
        self._real_time = False

    def __enter__(self) -> Cage:
        return self

    def __exit__(self, *_: object) -> None:
        self.sweep()
        shutil.rmtree(self.directory, ignore_errors=True)

    def program(self, name: str, body: str) -> str:
        """A shell script that the tests find before the machine's program of that name; its path."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def run(self, command: list[str], environment: dict[str, str], at: Path, output: Path, limit: float) -> int | None:
        """The command's exit status, None when it took more than `limit` seconds; what it says goes to `output`."""
        self.sweep()
        self.make_groups()
        environment = {
            **environment,
            "PATH": f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CAGE_HIERARCHIES": " ".join(self.hierarchy_names()),
        }
        pid, master = pty.fork()
        if pid == 0:
            self._become(command, environment, at, output)
        status = _watch(pid, master, time.monotonic() + limit)
        if status is None:
            os.kill(pid, signal.SIGKILL)
        left = self.sweep()
        if status is None:
            os.waitpid(pid, 0)
        os.close(master)
        with output.open("a") as file:
            file.write(f"# {left} processes were left\n" if left else "")
            file.write(f"# it took more than {limit:.0f} s\n" if status is None else "")
        return status

    def _become(self, command: list[str], environment: dict[str, str], at: Path, output: Path) -> None:
        """In the child: never comes back."""
        try:
            attributes = termios.tcgetattr(0)
            attributes[1] &= ~termios.ONLCR
            termios.tcsetattr(0, termios.TCSANOW, attributes)
            for hierarchy in hierarchies():
                (hierarchy / self.name / "cgroup.procs").write_text("0")
            os.chdir(at)
            os.umask(0o022)
            said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.closerange(3, 1024)
            for number in (signal.SIGPIPE, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            own = [
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--net",
                "--cgroup",
                "--propagation",
                "private",
                "--mount-proc",
            ]
            os.execvpe("unshare", ["unshare", *own, "bash", "-c", _FIRST, "cage", *command], environment)
        finally:
            os._exit(125)

    def hierarchy_names(self) -> list[str]:
        """The directories below /sys/fs/cgroup; `.` for the one of v2."""
        return [str(each.relative_to(_GROUPS)) for each in hierarchies()]

    def make_groups(self) -> None:
        """The run's own group in each hierarchy."""
        for hierarchy in hierarchies():
            (hierarchy / self.name).mkdir(exist_ok=True)
            if hierarchy.name == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):  # empty in a new v1 group, and nobody may enter
                    (hierarchy / self.name / file).write_text((hierarchy / file).read_text())
        budget = _GROUPS / "cpu" / self.name / "cpu.rt_runtime_us"
        if self._real_time and budget.exists():
            budget.write_text("900000")
            self._real_time = False

    def real_time(self) -> None:
        """Give the next run's v1 group time for real-time processes: nearly all there is, so one run at a time has it."""
        self._real_time = True

    def sweep(self) -> int:
        """Thaw (on v1 what is frozen cannot be killed), kill, remove; how many processes there were."""
        for group in self.groups():
            for file, text in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                if (group / file).exists():
                    (group / file).write_text(text)
        return sum(_empty(group) for group in self.groups())

    def groups(self) -> Iterator[Path]:
        """Its directories, the lowest first."""
        for hierarchy in hierarchies():
            for directory, _, _ in os.walk(hierarchy / self.name, topdown=False):
                yield Path(directory)


def hierarchies() -> list[Path]:
    """Where a group has to be made: once on cgroup v2, once for each hierarchy otherwise."""
    if _UNIFIED:
        return [_GROUPS]
    return sorted(each for each in _GROUPS.iterdir() if each.is_dir() and not each.is_symlink())


def _watch(pid: int, master: int, end: float) -> int | None:
    """Read and drop what is written to the terminal until the child ends; its exit status, None at the deadline."""
    while time.monotonic() < end:
        if select.select([master], [], [], 0.02)[0]:
            try:
                os.read(master, 65536)
            except OSError:
                time.sleep(0.01)  # EIO: nobody has the other end open just now
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
    return None


def _empty(group: Path) -> int:
    """Kill a group's processes and remove it; how many there were."""
    seen: set[str] = set()
    for _ in range(200):
        try:
            pids = (group / "cgroup.procs").read_text().split()
            for each in pids:
                os.kill(int(each), signal.SIGKILL)
            seen.update(pids)
            if not pids:
                group.rmdir()
                break
        except ProcessLookupError:
            continue
        except OSError:
            time.sleep(0.02)  # busy: its last process is still leaving
    return len(seen)
