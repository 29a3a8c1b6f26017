"""Who makes a container may be killed at any instruction: `delete --force` clears up, and nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.box import wait_until
from harness.oci import Oci

ROUNDS = int(os.environ.get("ONGGI_TEST_KILLS", "10"))
"""How often; set it to a thousand once in a while."""


def processes(place: Path) -> list[str]:
    """Processes, anybody's, that have to do with this place: by their words, or by a mount of theirs that is not all others'."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounts = (process / "mountinfo").read_text(errors="replace")
        except OSError:  # it ended while we looked
            continue
        if int(process.name) != os.getpid() and (str(place) in words or str(place / "bundle") in mounts):
            found.append(f"{process.name}: {words}")
    return found


def start_and_kill(oci: Oci, command: str, after: float) -> None:
    """Kill the command so many seconds after its start, wherever it is then."""
    quiet = subprocess.DEVNULL
    making = oci.popen(command, "-b", str(oci.bundle), "c", stdin=quiet, stdout=quiet, stderr=quiet)
    with contextlib.suppress(subprocess.TimeoutExpired):
        making.wait(after)  # at times it is quicker than before; what it made is deleted all the same
    making.kill()
    making.wait()


def length(oci: Oci) -> float:
    """Seconds that a `create` takes here, now."""
    begin = time.monotonic()
    quiet = subprocess.DEVNULL
    subprocess.run(
        [*oci.words, "create", "-b", str(oci.bundle), "c"], stdin=quiet, stdout=quiet, stderr=quiet, check=True
    )
    taken = time.monotonic() - begin
    assert oci("delete", "--force", "c").returncode == 0
    return taken


@pytest.mark.parametrize("hooked", [False, True])
def test_a_creation_that_is_killed_at_any_moment_leaves_nothing(oci: Oci, *, hooked: bool) -> None:
    """With hooks, too; deleted by force, the id can be used again."""
    hooks = {"createRuntime": [{"path": "/bin/true"}], "createContainer": [{"path": "/bin/true"}]} if hooked else {}
    oci.configure("/bin/sleep", "1000", changes={"hooks": hooks})
    taken, chance = length(oci), random.Random(hooked)
    met = set()
    for _ in range(ROUNDS):
        after = chance.uniform(0, taken)
        start_and_kill(oci, "create", after)
        directory = oci.place / "state/c"
        met.add(tuple(sorted(os.listdir(directory))) if directory.exists() else ())
        deleted = oci("delete", "--force", "c")
        assert (deleted.returncode, deleted.stderr) == (0, ""), f"after {after:.4f} of {taken:.4f} s"
        assert oci.left() == []
        wait_until(lambda: not processes(oci.place), f"no process is left: {processes(oci.place)}")
    assert len(met) > 1, f"always killed at the same point: {met}"
    assert oci.run("/bin/true").returncode == 0


def test_a_container_whose_creator_is_stopped_is_being_created(oci: Oci) -> None:
    """It is listed as such, is not there for `state`, is deleted only by force, and then its creator ends, too."""
    oci.configure(
        "/bin/true", changes={"hooks": {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}}
    )
    making = oci.popen("create", "-b", str(oci.bundle), "c", stderr=subprocess.PIPE)
    wait_until(lambda: any("sleep 1000" in line for line in processes_of(making.pid)), "the hook runs")
    assert json.loads(oci("list", "-f", "json").stdout)[0]["status"] == "creating"
    assert "is being created" in oci("state", "c").stderr
    assert "cannot delete container c that is not stopped: creating" in oci("delete", "c").stderr
    assert "container with given ID already exists" in oci("create", "-b", str(oci.bundle), "c").stderr
    deleted = oci("delete", "--force", "c")
    assert (deleted.returncode, deleted.stderr) == (0, "")
    assert making.wait(20) == 1
    assert making.stderr is not None
    assert "the runtime was sent SIGTERM" in making.stderr.read()
    assert (oci.left(), processes(oci.place)) == ([], [])


def processes_of(pid: int) -> list[str]:
    """The command lines of a process's children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode() for child in children]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_creator_ends_its_hook_and_undoes_all(oci: Oci, number: int) -> None:
    """Ctrl-C at a hook that hangs: the hook is not in our process group, so we end it."""
    oci.configure("/bin/true", changes={"hooks": {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}})
    for command in ("create", "run"):
        making = oci.popen(command, "-b", str(oci.bundle), "c", stderr=subprocess.DEVNULL)
        wait_until(lambda: any("sleep 1000" in line for line in processes_of(making.pid)), "the hook runs")  # noqa: B023
        making.send_signal(number)
        assert making.wait(20) == 1
        assert (oci.left(), processes(oci.place)) == ([], [])


def test_a_group_that_was_there_before_is_not_taken_for_ours(oci: Oci) -> None:
    """Killed before it was refused, or after: the container that has the group lives on."""
    oci.configure("/bin/sleep", "1000")
    oci.detached()
    chance, taken = random.Random(3), 0.1
    for _ in range(6):
        quiet = subprocess.DEVNULL
        making = oci.popen("create", "-b", str(oci.bundle), "d", stdin=quiet, stdout=quiet, stderr=quiet)
        time.sleep(chance.uniform(0, taken))
        making.kill()
        making.wait()
        assert oci("delete", "--force", "d").returncode == 0
        assert json.loads(oci("state", "c").stdout)["status"] == "running"
    assert oci("delete", "--force", "c").returncode == 0
    assert oci.left() == []
