"""Sessions with the real docker command, on terminals and off them."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import image
from harness.api import Api
from harness.box import wait_until
from harness.cli import Terminal
from harness.engine import EngineProcess

Docker = Callable[..., subprocess.CompletedProcess[str]]
B = image.BUSYBOX


@pytest.fixture
def terminal(engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Terminal]]:
    """`terminal("run", "-it", …)`: the docker command on a terminal of its own."""
    program = shutil.which("docker")
    assert program
    opened: list[Terminal] = []
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "DOCKER_HOST": engine.host,
        "TERM": "xterm",
    }

    def start(*words: str, rows: int = 24, columns: int = 80) -> Terminal:
        opened.append(Terminal([program, *words], environment, rows, columns))
        return opened[-1]

    try:
        yield start
    finally:
        for one in opened:
            one.close()


def test_a_shell_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    """A prompt, an answer, the right size, and the shell's own exit status."""
    shell = terminal("run", "--rm", "-it", B, "sh", rows=33, columns=101)
    shell.wait_for("/ # ")
    shell.type("stty size; echo $((6*7))\n")
    shell.wait_for("33 101")
    shell.wait_for("\r\n42\r\n")
    shell.type("exit 9\n")
    assert shell.wait() == 9
    assert shell.mode() == shell.before


def test_a_window_that_changes_its_size(terminal: Callable[..., Terminal], docker: Docker) -> None:
    """The container's terminal follows, and what runs inside hears of it."""
    script = "trap 'stty size' WINCH; trap 'exit 6' TERM; echo up; while :; do sleep 0.02; done"
    shell = terminal("run", "--rm", "--name", "window", "-it", B, "sh", "-c", script)
    shell.wait_for("up")
    shell.resize(40, 120)

    def told() -> bool:  # the docker command may not be listening yet
        shell.process.send_signal(signal.SIGWINCH)  # which the kernel sends to a terminal's foreground group
        with contextlib.suppress(AssertionError):
            shell.wait_for("40 120", timeout=0.3)
        return "40 120" in shell.shown

    wait_until(told, "the container hears of the new size")
    docker("kill", "-s", "TERM", "window")
    assert shell.wait() == 6


def test_control_c_interrupts_what_runs_inside(terminal: Callable[..., Terminal]) -> None:
    """It goes to the foreground process of the container, not to the docker command."""
    shell = terminal("run", "--rm", "-it", B, "sh")
    shell.wait_for("/ # ")
    shell.type("echo go; sleep 100\n")
    shell.wait_for("\r\ngo\r\n")
    shell.type("\x03")
    shell.wait_for("^C")
    shell.type("echo alive\n")
    shell.wait_for("\nalive\r\n")
    shell.type("exit 3\n")
    assert shell.wait() == 3


def test_detach_and_attach_again(terminal: Callable[..., Terminal], docker: Docker) -> None:
    """ctrl-p ctrl-q leaves it running; attach finds the same shell with what it knew."""
    shell = terminal("run", "--name", "detached", "-it", B, "sh")
    shell.wait_for("/ # ")
    shell.type("here=before\n")
    shell.wait_for("before")
    shell.type("\x10\x11")
    assert shell.wait() == 0
    assert docker("inspect", "-f", "{{.State.Running}}", "detached").stdout == "true\n"
    again = terminal("attach", "detached")
    again.type("echo it was $here\n")
    again.wait_for("it was before")
    again.type("exit 4\n")
    assert again.wait() == 4
    docker("rm", "detached")


def test_ones_own_detach_keys(terminal: Callable[..., Terminal], docker: Docker) -> None:
    """--detach-keys a,b: `a` alone is typed, `ab` detaches."""
    shell = terminal("run", "--name", "keys", "--detach-keys", "x,y", "-it", B, "sh")
    shell.wait_for("/ # ")
    shell.type("echo x1\n")
    shell.wait_for("\nx1\r\n")
    shell.type("xy")
    assert shell.wait() == 0
    assert docker("inspect", "-f", "{{.State.Running}}", "keys").stdout == "true\n"
    docker("rm", "-f", "keys")


def test_a_signal_to_the_command_goes_to_the_container(terminal: Callable[..., Terminal]) -> None:
    """Without a terminal, docker run passes SIGTERM on; the exit status is the container's."""
    script = "trap 'echo caught; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    run = terminal("run", "--rm", B, "sh", "-c", script)
    run.wait_for("up")
    run.process.terminate()
    run.wait_for("caught")
    assert run.wait() == 5


def test_a_terminal_without_a_client(docker: Docker) -> None:
    """run -dt: `logs` shows what the terminal shows, with its carriage returns."""
    docker("run", "-dt", "--name", "alone", B, "sh", "-c", "tty; echo done")
    docker("wait", "alone")
    assert docker("logs", "alone").stdout.replace("\r", "") == "/dev/pts/0\ndone\n"
    docker("rm", "alone")


def test_many_at_once(docker: Docker) -> None:
    """Eight docker commands at the same time: each gets its own output and status."""

    def one(number: int) -> tuple[int, str]:
        done = docker("run", "--rm", B, "sh", "-c", f"echo {number}; exit {number}", check=False)
        return done.returncode, done.stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(24))) == [(number, f"{number}\n") for number in range(24)]


def test_ps_shows_what_is_there(docker: Docker) -> None:
    """Columns, states, filters and formats of a running, an exited and a created container."""
    docker("run", "-d", "--name", "ps-a", "-l", "kind=x", B, "sleep", "60")
    docker("run", "--name", "ps-b", "-l", "kind=x", B, "sh", "-c", "exit 3", check=False)
    docker("create", "--name", "ps-c", "-l", "kind=x", B)
    table = docker("ps", "-a", "--filter", "label=kind=x").stdout.splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert [line.split()[-1] for line in table[1:]] == ["ps-c", "ps-b", "ps-a"]
    assert "Exited (3) " in table[2]
    assert "Up " in table[3]
    states = docker("ps", "-a", "--filter", "label=kind=x", "--format", "{{.Names}}={{.State}}").stdout.split()
    assert states == ["ps-c=created", "ps-b=exited", "ps-a=running"]
    assert (
        docker("ps", "-q", "--no-trunc", "--filter", "name=ps-a").stdout.strip()
        == json.loads(docker("inspect", "ps-a").stdout)[0]["Id"]
    )
    assert docker("ps", "-aq", "-n", "1").stdout.count("\n") == 1
    docker("rm", "-f", "ps-a", "ps-b", "ps-c")


def test_events_tell_a_life(docker: Docker, api: Api) -> None:
    """create, attach, network connect, start, die, network disconnect, destroy: as Docker, in order."""
    began = api.ok("GET", "/info")["SystemTime"]
    docker("run", "--rm", "--name", "life", B, "sh", "-c", "exit 7", check=False)
    done = docker("events", "--since", began, "--until", str(int(time.time()) + 1), "--format", "{{.Type}} {{.Action}}")
    assert done.stdout.splitlines() == [
        "container create",
        "container attach",
        "network connect",
        "container start",
        "network disconnect",
        "container die",
        "container destroy",
    ]


def test_logs_of_a_running_container(docker: Docker) -> None:
    """--tail, --since, --timestamps and -f work together."""
    docker("run", "-d", "--name", "talker", B, "sh", "-c", "seq 5; sleep 0.3; seq 6 8; sleep 0.2")
    followed = docker("logs", "-f", "--tail", "2", "talker").stdout
    assert followed == "4\n5\n6\n7\n8\n"
    stamped = docker("logs", "-t", "talker").stdout.splitlines()
    assert [line.split()[1] for line in stamped] == list("12345678")
    times = [line.split()[0] for line in stamped]
    assert times == sorted(times)
    assert docker("logs", "--since", times[5], "talker").stdout == "6\n7\n8\n"
    assert docker("logs", "--until", times[4], "talker").stdout == "1\n2\n3\n4\n5\n"
    docker("rm", "talker")


def test_stop_and_start_keep_the_files(docker: Docker) -> None:
    """What was written in the first run is there in the second."""
    docker("run", "--name", "keeps", B, "sh", "-c", "echo first >>/file; cat /file")
    assert docker("start", "-a", "keeps").stdout == "first\nfirst\n"
    docker("rm", "keeps")


def test_an_image_from_a_file(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> None:
    """load -i, images, history, rmi."""
    archive = tmp_path_factory.mktemp("image") / "it.tar"
    archive.write_bytes(image.busybox_archive("loaded:one"))
    assert docker("load", "-i", str(archive)).stdout == "Loaded image: loaded:one\n"
    assert docker("images", "--format", "{{.Repository}}:{{.Tag}}", "loaded").stdout == "loaded:one\n"
    assert "made for a test" in docker("history", "loaded:one").stdout
    assert docker("rmi", "loaded:one").stdout.startswith("Untagged: loaded:one\n")


def test_info_and_version(docker: Docker) -> None:
    """They name the engine, count the containers, and the client is content with the API's version."""
    assert "Server:" in docker("version").stdout
    info = json.loads(docker("info", "--format", "{{json .}}").stdout)
    assert not info.get("ServerErrors")
    assert info["OSType"] == "linux"
    assert info["Containers"] == len(docker("ps", "-aq").stdout.split())
