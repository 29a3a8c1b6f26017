"""`onggi-oci checkpoint` and `restore` with another program in CRIU's place, which dies, lies or refuses: whatever it does,
the container goes on as before, or nothing of a new one is left, and the error says what happened. It runs everywhere; what
CRIU itself does is in test_runc_checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import criu
from harness.oci import Oci
from onggi.kernel.cgroup.detect import detect

SECONDS = 60
HONEST = "version(4, 1, 1)\n"


class Deceived:
    """One container, and a peer that follows a script."""

    def __init__(self, oci: Oci) -> None:
        self.oci = oci
        self.images = oci.place / "images"
        self.words = ("--image-path", str(self.images), "c")

    def start(self) -> dict[str, Any]:
        """A container that runs."""
        self.oci.configure("/bin/sleep", "1000")
        words = [*self.oci.words, "run", "--detach", "-b", str(self.oci.bundle), "c"]
        null = subprocess.DEVNULL
        subprocess.run(words, stdin=null, stdout=null, stderr=null, timeout=SECONDS, check=True)
        return self.state()

    def state(self) -> dict[str, Any]:
        """What `state` says."""
        found: dict[str, Any] = json.loads(self.oci("state", "c").stdout)
        return found

    def command(self, body: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command with a peer that does this."""
        environment = criu.fake(self.oci.place / "bin", body)
        return subprocess.run(
            [*self.oci.words, *words], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def checkpoint(self, body: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """A checkpoint by such a peer."""
        return self.command(body, "checkpoint", *flags, *self.words)

    def restore(self, body: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """A restore by such a peer, from something that looks like images."""
        self.oci.configure("/bin/sleep", "1000", changes=changes)
        self.images.mkdir(exist_ok=True)
        (self.images / "descriptors.json").write_text("[]")
        return self.command(body, "restore", "--detach", "-b", str(self.oci.bundle), *self.words)


@pytest.fixture
def deceived(oci: Oci) -> Iterator[Deceived]:
    """A container, or none yet."""
    yield Deceived(oci)
    oci("delete", "--force", "c")


CRIMES = {
    "exit 3": ("sys.exit(3)", "it ended before its answer: exit status 3"),
    "garbage": ("end.recv(9999); end.send(b'\\xff' * 50)", "read `protocol buffer`"),
    "version 3.14": ("version(3, 14, 0)", "3.14.0 is too old: checkpoint and restore need criu 3.15.0"),
    "SIGKILL": (HONEST + "hear(); os.kill(os.getpid(), 9)", "it ended before its answer: killed by SIGKILL"),
    "garbage later": (HONEST + "hear(); end.send(b'\\x08')", "a number is cut short"),
    "a lie": (HONEST + "hear(); say(criu.CHECK, success=True)", "criu failed: type CHECK"),
    "a refusal": (
        HONEST + "hear(); log('Error (it): the reason'); say(hear.kind, success=False, cr_errno=56)",
        "the reason",
    ),
    "a bad end": (HONEST + "hear(); say(last['type'], success=True, restore={'pid': 1}); sys.exit(1)", "exit status 1"),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_a_checkpoint_that_fails_leaves_the_container_running(deceived: Deceived, crime: str) -> None:
    """And says why; what is not a whole checkpoint does not pass for one."""
    body, told = CRIMES[crime]
    before = deceived.start()
    done = deceived.checkpoint(body.replace("hear.kind", "last['type']"))
    assert done.returncode == 1
    assert told in done.stderr
    assert deceived.state() == before
    assert not (deceived.images / "descriptors.json").exists()


@pytest.mark.parametrize("crime", CRIMES)
def test_a_restore_that_fails_leaves_nothing(deceived: Deceived, crime: str) -> None:
    """No state, no group, no mount; the next try is as good as the first."""
    body, told = CRIMES[crime]
    mounts = Path("/proc/self/mountinfo").read_text()
    for _ in range(2):
        done = deceived.restore(body.replace("hear.kind", "last['type']"))
        assert done.returncode == 1
        assert told in done.stderr
        assert deceived.oci.left() == []
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_without_criu_it_is_said_what_to_install(deceived: Deceived) -> None:
    """Before anything is done."""
    before = deceived.start()
    empty = deceived.oci.place / "empty"
    empty.mkdir()
    words = [*deceived.oci.words, "checkpoint", *deceived.words]
    environment = {**os.environ, "PATH": str(empty)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert "find `criu`: checkpoint and restore need it, and it is not in PATH" in done.stderr
    assert "hint: apt-get install criu" in done.stderr
    assert deceived.state() == before


def test_criu_that_is_killed_leaves_nobody_frozen(deceived: Deceived) -> None:
    """CRIU freezes the group while it works; when it dies then, we thaw it."""
    before = deceived.start()
    file = "freezer.state" if "freezer" in str(detect().directory("freezer", "/")) else "cgroup.freeze"
    freeze = f"open(hear()['opts']['freeze_cgroup'] + '/{file}', 'w').write('FROZEN' if '{file}' != 'cgroup.freeze' else '1')"
    done = deceived.checkpoint(f"{HONEST}{freeze}\nos.kill(os.getpid(), 9)")
    assert "killed by SIGKILL" in done.stderr
    assert deceived.state() == before
    assert before["status"] == "running"


def test_the_last_errors_of_the_log_are_told(deceived: Deceived) -> None:
    """Not the thousands of lines before them, nor an older log's; with the place of the whole."""
    deceived.start()
    deceived.images.mkdir()
    (deceived.images / "dump.log").write_text("(00.1) Error (old): of yesterday\n")
    lines = "for n in range(9): log(f'Error (criu/x.c:{n}): reason {n}'); log('noise')\n"
    done = deceived.checkpoint(f"{HONEST}hear()\n{lines}\nsay(criu.DUMP, success=False)")
    assert [line for line in done.stderr.splitlines() if "Error" in line] == [
        f"Error (criu/x.c:{n}): reason {n}" for n in range(4, 9)
    ]
    assert f"{deceived.images}/dump.log" in done.stderr


def test_a_criu_that_cannot_work_with_this_kernel_is_said_to_be_that(deceived: Deceived) -> None:
    """When a request fails it is asked to check itself."""
    deceived.start()
    body = """
request = hear()
if request["type"] == criu.CHECK:
    say(criu.CHECK, success=False)
else:
    say(criu.VERSION, success=True, version={"major_number": 4})
    hear()
    say(criu.DUMP, success=False)
"""
    done = deceived.checkpoint(body)
    assert "criu cannot work with this kernel" in done.stderr


def test_what_a_broken_restore_has_made_is_killed(deceived: Deceived) -> None:
    """A process that it left in the group goes with the group."""
    body = f"{HONEST}hear()\nif os.fork() == 0: os.execv('/bin/sleep', ['sleep', '1000'])\nos.kill(os.getpid(), 9)"
    done = deceived.restore(body)
    assert "killed by SIGKILL" in done.stderr
    assert deceived.oci.left() == []


def test_a_hook_that_fails_stops_criu_at_that_point(deceived: Deceived) -> None:
    """CRIU is told that it failed, and may clean up; the error is the hook's."""
    said = deceived.oci.place / "said"
    body = f"""{HONEST}
hear()
say(criu.NOTIFY, success=True, notify={{"script": "setup-namespaces", "pid": os.getpid()}})
open({str(said)!r}, "w").write(str(hear()))
say(criu.RESTORE, success=False)
"""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 5"]}
    done = deceived.restore(body, hooks={"prestart": [hook]})
    assert "error running prestart hook #0: exit code 5" in done.stderr
    assert "criu failed" not in done.stderr
    assert said.read_text() == "{'type': 6, 'notify_success': False}"


def test_who_waits_for_the_pages_is_told_when_they_can_be_fetched(deceived: Deceived) -> None:
    """One null byte on --status-fd, then its end."""
    deceived.start()
    body = f"""{HONEST}
assert hear()["features"] == {{"lazy_pages": True}}
say(criu.FEATURE_CHECK, success=True, features={{"lazy_pages": True}})
options = hear()["opts"]
assert options["lazy_pages"] and options["ps"] == {{"address": "0.0.0.0", "port": 27277}}
say(criu.NOTIFY, success=True, notify={{"script": "status-ready"}})
hear()
say(criu.DUMP, success=True)
"""
    reading, writing = os.pipe()
    flags = ("--lazy-pages", "--page-server", "0.0.0.0:27277", "--status-fd", str(writing), "--leave-running")
    environment = criu.fake(deceived.oci.place / "bin", body)
    words = [*deceived.oci.words, "checkpoint", *flags, *deceived.words]
    done = subprocess.run(
        words, env=environment, pass_fds=[writing], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    with open(reading, "rb") as file:
        assert file.read() == b"\0"


def test_an_interrupted_checkpoint_lets_criu_clean_up(deceived: Deceived) -> None:
    """Ctrl-C comes to us only; CRIU finds nobody at its next point, and ends by itself."""
    deceived.start()
    end = deceived.oci.place / "end"
    body = f"""{HONEST}
hear()
print("up", flush=True)
os.kill(parent, signal.SIGINT)
data = end.recv(100)
open({str(end)!r}, "w").write(repr(data))
"""
    done = deceived.checkpoint(body)
    assert done.returncode == 130
    assert end.read_text() == "b''"
    assert deceived.state()["status"] == "running"


def test_an_older_criu_that_would_pass_over_a_flag_is_not_used(deceived: Deceived) -> None:
    """A profile that is not set is no detail."""
    deceived.oci.configure("/bin/sleep", "1000")
    deceived.images.mkdir()
    (deceived.images / "descriptors.json").write_text("[]")
    words = ("restore", "--detach", "-b", str(deceived.oci.bundle), "--lsm-profile", "apparmor:x", *deceived.words)
    done = deceived.command("version(3, 15, 0)", *words)
    assert "3.15.0 is too old: lsm-profile needs criu 3.16.0" in done.stderr
    assert deceived.oci.left() == []


@pytest.mark.parametrize("state", ["created", "stopped"])
def test_only_what_runs_can_be_checkpointed(deceived: Deceived, state: str) -> None:
    """As runc says it."""
    deceived.oci.configure("/bin/sleep", "1000")
    null = subprocess.DEVNULL
    words = [*deceived.oci.words, "create", "-b", str(deceived.oci.bundle), "c"]
    subprocess.run(words, stdin=null, stdout=null, stderr=null, timeout=SECONDS, check=True)
    if state == "stopped":
        os.kill(deceived.state()["pid"], signal.SIGKILL)
        while deceived.state()["status"] != "stopped":
            continue
    done = deceived.checkpoint("sys.exit(99)")
    assert f"Container cannot be checkpointed in {state} state" in done.stderr


def test_what_is_no_checkpoint_is_not_restored(deceived: Deceived) -> None:
    """Said before anything is made."""
    deceived.oci.configure("/bin/sleep", "1000")
    done = deceived.command("sys.exit(99)", "restore", "--detach", "-b", str(deceived.oci.bundle), *deceived.words)
    assert f"read checkpoint `{deceived.images}`: it has no descriptors.json" in done.stderr
    assert deceived.oci.left() == []


def test_an_id_that_is_taken_is_not_restored_into(deceived: Deceived) -> None:
    """The container that has it is not touched."""
    before = deceived.start()
    done = deceived.restore("sys.exit(99)")
    assert "container with given ID already exists" in done.stderr
    assert deceived.state() == before
