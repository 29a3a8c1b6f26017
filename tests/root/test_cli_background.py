"""The engine is started when nobody answers: once, with a word about it, and not where a host was named.

Each test has a machine of its own: network and mount namespaces with an empty /run, /var/lib and /var/log.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import Onggi
from harness.probes import is_root, needs

_SETUP = (
    "for d in /run /var/lib /var/log; do mount -t tmpfs none $d || exit 1; done; ip link set lo up; echo ready; cat"
)


class Machine:
    """Namespaces with nothing of an engine in them, alive while `holder` reads its stdin."""

    def __init__(self) -> None:
        words = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _SETUP]
        self.holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout
        assert self.holder.stdout.readline() == "ready\n"
        self.root = Path(f"/proc/{self.holder.pid}/root")
        self.onggi = Onggi()

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start our command in here."""
        return subprocess.Popen(
            ["nsenter", "-t", str(self.holder.pid), "-n", "-m", *self.onggi.words(*words)],
            env=self.onggi.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def engines(self) -> list[int]:
        """The pids of the engines in here."""
        home = os.readlink(f"/proc/{self.holder.pid}/ns/net")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/net") == home and b"onggi.daemon" in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
            except OSError:
                continue  # it ended while we looked
        return found

    def close(self) -> None:
        """End the engines and let the namespaces go."""
        for pid in self.engines():
            os.kill(pid, signal.SIGKILL)
        self.holder.communicate()


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine on which no engine has ever run."""
    needs(is_root(), "root")
    made = Machine()
    try:
        yield made
    finally:
        made.close()


def test_many_first_commands_start_one_engine(machine: Machine) -> None:
    """Five at once all get their answer, from one engine, which one of them says to have started."""
    started = [machine.popen("ps", "-q") for _ in range(5)]
    ended = [(*one.communicate(timeout=60), one.returncode) for one in started]
    assert [(out, status) for out, _, status in ended] == [("", 0)] * 5, ended
    said = [err for _, err, _ in ended if err]
    assert said == ["onggi: starting the engine in the background (log: /var/log/onggi.log)\n"]
    assert len(machine.engines()) == 1


def test_a_later_command_says_nothing(machine: Machine) -> None:
    """Once the engine runs, a command is silent about it."""
    machine.popen("version").communicate(timeout=60)
    assert machine.popen("ps", "-q").communicate(timeout=60) == ("", "")


def test_the_engine_outlives_the_command_and_holds_nothing_of_it(machine: Machine) -> None:
    """It has a session of its own, stands in /, and has none of our descriptors open."""
    machine.popen("ps").communicate(timeout=60)  # returns: nobody holds our stdout and stderr
    (pid,) = machine.engines()
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/1").endswith("/var/log/onggi.log")


def test_an_engine_that_cannot_start_says_why(machine: Machine) -> None:
    """The reason from its log, and where the log is; no wait for the time-out."""
    (machine.root / "var/lib/onggi").write_text("no directory")
    out, err = machine.popen("ps").communicate(timeout=60)
    assert out == ""
    assert "onggi: start the engine: " in err
    assert "hint: its log is /var/log/onggi.log" in err


def test_a_dead_socket_is_no_engine(machine: Machine) -> None:
    """After a kill -9 the socket is still there; the next command starts an engine all the same."""
    machine.popen("ps").communicate(timeout=60)
    (pid,) = machine.engines()
    os.kill(pid, signal.SIGKILL)
    _, err = machine.popen("ps").communicate(timeout=60)
    assert "starting the engine" in err
    assert len(machine.engines()) == 1


def test_a_named_host_must_be_there(machine: Machine) -> None:
    """Nothing is started where the user has named a socket; the hint tells how to."""
    one = machine.popen("-H", "unix:///run/other.sock", "ps")
    _, err = one.communicate(timeout=60)
    assert one.returncode == 1
    assert "no engine answers" in err
    assert "onggi engine -H unix:///run/other.sock" in err
    assert machine.engines() == []


def test_the_engine_verb_is_the_engine(machine: Machine) -> None:
    """`onggi engine` becomes the engine with the words it was given, and ends with 0 on SIGTERM."""
    places = ["--data-root", "/run/d", "--exec-root", "/run/e", "--pidfile", "/run/p"]
    running = machine.popen("engine", "-H", "unix:///run/x.sock", *places)
    try:
        for _ in range(1000):
            one = machine.popen("-H", "unix:///run/x.sock", "version", "--format", "{{.Client.Version}}")
            if one.wait(60) == 0:
                break
        assert (machine.root / "run/p").read_text().strip() == str(running.pid)
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    finally:
        running.kill()
        running.communicate()


def test_wrong_engine_words_are_refused(machine: Machine) -> None:
    """A flag that the engine does not know is an error before anything is started."""
    one = machine.popen("engine", "--nosuch")
    _, err = one.communicate(timeout=60)
    assert (one.returncode, "unknown flag: --nosuch" in err) == (125, True)
