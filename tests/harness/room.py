"""A place where somebody else's engine runs on our runtime: several commands, one after the other, in one cage.

Pid, mount, network and cgroup namespaces of its own, so that neither its processes nor its mounts, bridges and groups
outlive it. Debian's packages lie over /usr in there, unpacked and not installed; /run is empty and /etc can be written:

    .cache/peers  →  lies over /usr       whole root directory of another system: ONGGI_TEST_PEERS_ROOT
    tmpfs         →  /run, over /etc, and everything that the engine stores

Callers: `tests/root/test_peers_*`. Read next: `cage`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from harness.cage import Cage, hierarchies

TREE = Path(__file__).resolve().parents[2]
RUNTIME = str(TREE / "onggi-oci")
PACKAGES = TREE / ".cache/peers"
SECONDS = 60.0

_JOIN = 'for group in $ROOM_GROUPS; do echo $$ > "$group/cgroup.procs"; done; unset ROOM_GROUPS; exec "$@"'
_FURNISH = """
set -e
ip link set lo up
scratch=$1 root=$2 tree=$3 packages=$4
mount -t tmpfs -o mode=755 room "$scratch"
if [ -n "$root" ]; then
    mount --bind "$root" "$root"
    for each in "$tree" "$scratch" /dev; do
        mkdir -p "$root$each"
        mount --rbind "$each" "$root$each"
    done
    mkdir -p "$root/.old"
    cd "$root"
    pivot_root . .old
    mount -t proc proc /proc
    umount -l /.old
    cd /
else
    mkdir "$scratch/etc" "$scratch/work"
    mount -t overlay -o "lowerdir=/etc,upperdir=$scratch/etc,workdir=$scratch/work" etc /etc
    if [ -d "$packages/usr" ]; then mount -t overlay -o "lowerdir=$packages/usr:/usr" usr /usr; fi
fi
mount --make-rshared /
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
mount -t tmpfs -o mode=755 run /run
[ ! -L /var/run ] || mkdir -p /run/lock
mkdir -p /etc/containers
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
echo ready
exec sleep infinity
"""


class Room:
    """Open until `close`, which ends everything in it."""

    def __init__(self, name: str) -> None:
        self._cage = Cage(name)
        self._cage.sweep()
        self._cage.make_groups()
        self.directory = self._cage.directory
        """On a tmpfs, under this name outside and in here; outside it is empty (see `path`)."""
        own = (
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--net",
            "--cgroup",
            "--propagation",
            "private",
            "--mount-proc",
        )
        root = os.environ.get("ONGGI_TEST_PEERS_ROOT", "")
        furnish = ("bash", "-c", _FURNISH, "room", str(self.directory), root, str(TREE), str(PACKAGES))
        self.holder = subprocess.Popen(
            ["sh", "-c", _JOIN, "join", "unshare", *own, *furnish],
            env={**self._environment(), "CAGE_HIERARCHIES": " ".join(self._cage.hierarchy_names())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        ready = self.holder.stdout.readline()
        assert ready == "ready\n", self.holder.communicate()[1]
        (children,) = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        self.first = int(children)

    def _environment(self) -> dict[str, str]:
        groups = " ".join(str(each / self._cage.name) for each in hierarchies())
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"ROOM_GROUPS": groups, "PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "TERM": "xterm"}

    def words(self, *command: str) -> list[str]:
        """The command line that runs `command` in here, with `environment`."""
        enter = ("nsenter", f"--target={self.first}", "--mount", "--net", "--pid", "--cgroup", "--root", "--wd=/")
        return ["sh", "-c", _JOIN, "join", *enter, *command]

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start `command` in here."""
        return subprocess.Popen(self.words(*command), env=self._environment(), text=True, **options)

    def run(self, *command: str, timeout: float = SECONDS, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `command` in here to its end, whatever that is."""
        return subprocess.run(
            self.words(*command),
            env=self._environment(),
            text=True,
            timeout=timeout,
            check=False,
            **{"stdin": subprocess.DEVNULL, "capture_output": True, **options},
        )

    def says(self, *command: str, **options: Any) -> str:
        """What `command` prints; AssertionError with all that it said when it fails."""
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def has(self, program: str) -> bool:
        """Whether a program is there."""
        return self.run("sh", "-c", f"command -v {program}").returncode == 0

    def path(self, inside: str) -> Path:
        """A file in here, as it is seen from outside."""
        return Path(f"/proc/{self.first}/root{inside}")

    def processes(self) -> list[str]:
        """The command lines of all that run in here but the first."""
        found = []
        for group in self._cage.groups():
            for pid in (group / "cgroup.procs").read_text().split():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:  # it ended while we looked
                    continue
                if int(pid) not in (self.first, self.holder.pid):
                    found.append(words)
        return sorted(set(found))

    def left_groups(self) -> list[str]:
        """Groups below the room's own."""
        tops = {each / self._cage.name for each in hierarchies()}
        return sorted(str(group) for group in self._cage.groups() if group not in tops)

    def close(self) -> None:
        """End everything in here."""
        self.holder.send_signal(signal.SIGKILL)
        self.holder.communicate()
        deadline = time.monotonic() + SECONDS
        while self._cage.sweep() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._cage.__exit__()
