"""`onggi run` against a real engine: streams, exit codes, terminals, signals."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.api import Api
from harness.cli import Onggi, Terminal

pytestmark = pytest.mark.usefixtures("busybox_image")
IMAGE = "busybox:test"


@contextmanager
def terminal(onggi: Onggi, *words: str, rows: int = 24, columns: int = 80) -> Iterator[Terminal]:
    """The command on a terminal that is closed in the end."""
    made = onggi.on_terminal(*words, rows=rows, columns=columns)
    try:
        yield made
    finally:
        made.close()


def test_output_goes_where_the_container_sent_it(onggi: Onggi) -> None:
    """stdout and stderr stay apart, and nothing of ours is mixed in."""
    done = onggi("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize(("script", "status"), [("true", 0), ("exit 42", 42), ("sh -c 'kill -9 $$'; exit $?", 137)])
def test_the_exit_code_is_the_containers(onggi: Onggi, script: str, status: int) -> None:
    """Whatever the command ends with, we end with."""
    assert onggi("run", "--rm", IMAGE, "sh", "-c", script, check=False).returncode == status


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([IMAGE, "/nosuch"], 127),
        ([IMAGE, "nosuch"], 127),
        ([IMAGE, "/etc/passwd"], 126),
        ([IMAGE, "/etc"], 126),
        (["--pull", "never", "nosuch:image"], 125),
        (["--nosuch", IMAGE], 125),
        (["--memory", "much", IMAGE], 125),
    ],
)
def test_what_could_not_run_has_dockers_status(onggi: Onggi, words: list[str], status: int) -> None:
    """127 for not found, 126 for not executable, 125 for what is not the command's fault; with a message."""
    done = onggi("run", "--rm", *words, check=False)
    assert done.returncode == status
    assert done.stderr.startswith("onggi: ")
    assert done.stdout == ""


def test_an_unknown_image_says_what_helps(onggi: Onggi) -> None:
    """Without a network, the hint names `onggi load`, which needs none."""
    said = onggi("run", "nosuch:image", check=False).stderr
    assert "Unable to find image 'nosuch:image' locally" in said
    assert "hint: " in said
    assert "onggi load" in said


def test_a_failed_start_with_rm_leaves_no_container(onggi: Onggi, api: Api) -> None:
    """--rm holds although nothing ever ran."""
    onggi("run", "--rm", "--name", "cli-failed", IMAGE, "/nosuch", check=False)
    assert api("GET", "/containers/cli-failed/json").status == 404


def test_stdin_is_carried_to_its_end(onggi: Onggi) -> None:
    """Half a close: the container sees the end of stdin, and its answer still arrives whole."""
    text = "".join(f"{number}\n" for number in range(100_000))
    assert onggi("run", "--rm", "-i", IMAGE, "cat", input=text).stdout == text


def test_without_interactive_stdin_is_empty(onggi: Onggi) -> None:
    """What is piped in without -i does not reach the container."""
    assert onggi("run", "--rm", IMAGE, "cat", input="secret").stdout == ""


def test_closed_descriptors_are_no_connections(onggi: Onggi) -> None:
    """With stdin or stdout closed, the engine's connection does not take their numbers."""
    command = onggi.words("run", "--rm", "-i", IMAGE, "sh", "-c", "cat; echo end")
    for redirection, expected in (("<&-", "end\n"), (">&-", "")):
        words = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command]
        done = subprocess.run(words, input="", capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


def test_a_closed_stdout_ends_us(onggi: Onggi) -> None:
    """Like any filter in a pipe that nobody reads any more."""
    running = onggi.popen("run", "--rm", "--name", "cli-pipe", IMAGE, "sh", "-c", "while echo y; do :; done")
    assert running.stdin
    assert running.stdout
    assert running.stdout.readline() == "y\n"
    running.stdout.close()
    assert running.wait(30) == 141
    onggi("rm", "-f", "cli-pipe", check=False)


def test_detached_prints_the_id_and_goes(onggi: Onggi, api: Api) -> None:
    """-d leaves it running."""
    identifier = onggi("run", "-d", "--rm", IMAGE, "sleep", "60").stdout.strip()
    assert api.ok("GET", f"/containers/{identifier}/json")["State"]["Running"] is True
    onggi("kill", identifier)


def test_a_signal_is_handed_on(onggi: Onggi) -> None:
    """SIGTERM to us is SIGTERM to the container, whose answer is ours."""
    script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    running = onggi.popen("run", "--rm", IMAGE, "sh", "-c", script)
    assert running.stdout
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=30)
    assert (out, running.returncode) == ("got\n", 5)


def test_a_terminal_is_a_terminal(onggi: Onggi) -> None:
    """With -it the container has a terminal of our window's size, and its exit code is ours."""
    with terminal(onggi, "run", "--rm", "-it", IMAGE, "sh", rows=33, columns=111) as shown:
        shown.wait_for("# ")
        shown.type("test -t 0 && test -t 1 && echo yes-$((40+2)); stty size; exit 6\n")
        assert shown.wait() == 6
        assert "yes-42" in shown.shown
        assert "33 111" in shown.shown


def test_the_terminal_is_restored(onggi: Onggi) -> None:
    """After the end, and after a command that could not start, the mode is as before."""
    for command in (["true"], ["/nosuch"]):
        with terminal(onggi, "run", "--rm", "-it", IMAGE, *command) as shown:
            shown.wait()
            assert shown.mode() == shown.before


def test_the_terminal_is_restored_when_we_are_ended(onggi: Onggi, api: Api) -> None:
    """SIGTERM that is not handed on ends us, not the container, and leaves the terminal as it was."""
    with terminal(onggi, "run", "-it", "--name", "cli-ended", "--sig-proxy=false", IMAGE, "sh") as shown:
        shown.wait_for("# ")
        shown.process.send_signal(signal.SIGTERM)
        assert shown.wait() == 143
        assert shown.mode() == shown.before
    assert api.ok("GET", "/containers/cli-ended/json")["State"]["Running"] is True
    onggi("rm", "-f", "cli-ended")


def test_a_resized_window_is_a_resized_terminal(onggi: Onggi) -> None:
    """SIGWINCH reaches the container's terminal."""
    with terminal(onggi, "run", "--rm", "-it", IMAGE, "sh") as shown:
        shown.wait_for("# ")
        shown.resize(50, 132)
        shown.process.send_signal(signal.SIGWINCH)
        shown.type("until stty size | grep 132; do :; done; exit 0\n")
        shown.wait_for("50 132")
        assert shown.wait() == 0


def test_detach_keys_leave_it_running(onggi: Onggi, api: Api) -> None:
    """ctrl-p ctrl-q ends us with 0; the container runs on, and attach finds it again."""
    with terminal(onggi, "run", "-it", "--name", "cli-detach", IMAGE, "sh") as shown:
        shown.wait_for("# ")
        shown.type("\x10\x11")
        assert shown.wait() == 0
        assert shown.mode() == shown.before
    assert api.ok("GET", "/containers/cli-detach/json")["State"]["Running"] is True
    with terminal(onggi, "attach", "cli-detach") as shown:
        shown.type("exit 9\n")
        assert shown.wait() == 9
    onggi("rm", "cli-detach")


def test_a_terminal_without_one_is_refused_before_anything_is_made(onggi: Onggi, api: Api) -> None:
    """-it from a pipe fails, and creates no container."""
    done = onggi("run", "-it", "--name", "cli-notty", IMAGE, "sh", check=False)
    assert (done.returncode, "terminal" in done.stderr) == (1, True)
    assert api("GET", "/containers/cli-notty/json").status == 404


def test_a_cidfile_is_written_once(onggi: Onggi, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--cidfile holds the id; an existing file is left alone and nothing runs."""
    file = tmp_path_factory.mktemp("cid") / "cid"
    identifier = onggi("create", "--cidfile", str(file), IMAGE, "true").stdout.strip()
    assert file.read_text() == identifier
    assert onggi("create", "--cidfile", str(file), IMAGE, check=False).returncode == 125
    onggi("rm", identifier)


def test_flags_reach_the_kernel(onggi: Onggi) -> None:
    """User, directory, variable, host name, capability and limit are what the process has."""
    script = "id -u; pwd; echo $X; hostname; grep CapEff /proc/self/status; ulimit -n"
    flags = ["-u", "1234", "-w", "/tmp", "-e", "X=y z", "-h", "box", "--cap-drop", "ALL", "--ulimit", "nofile=99"]
    lines = onggi("run", "--rm", *flags, IMAGE, "sh", "-c", script).stdout.splitlines()
    assert lines == ["1234", "/tmp", "y z", "box", "CapEff:\t0000000000000000", "99"]


def test_the_verbs_work_together(onggi: Onggi) -> None:
    """create, start, pause, unpause, rename, restart, stop, wait, logs, inspect, ps, rm, one after another."""
    script = "trap 'exit 3' TERM; echo hello; while :; do sleep 0.05; done"
    onggi("create", "--name", "cli-a", IMAGE, "sh", "-c", script)
    assert onggi("ps", "-a", "--format", "{{.Names}} {{.State}}", "-f", "name=cli-a").stdout == "cli-a created\n"
    assert onggi("start", "cli-a").stdout == "cli-a\n"
    onggi("pause", "cli-a")
    assert onggi("inspect", "-f", "{{.State.Status}}", "cli-a").stdout == "paused\n"
    onggi("unpause", "cli-a")
    onggi("rename", "cli-a", "cli-b")
    onggi("stop", "cli-b")
    assert onggi("wait", "cli-b").stdout == "3\n"
    assert onggi("logs", "cli-b").stdout == "hello\n"
    onggi("restart", "cli-b")
    onggi("kill", "cli-b")
    assert json.loads(onggi("inspect", "cli-b").stdout)[0]["State"]["ExitCode"] == 137
    done = onggi("rm", "cli-b", "cli-nosuch", check=False)
    assert (done.returncode, done.stdout) == (1, "cli-b\n")
    assert "cli-nosuch" in done.stderr


def test_start_attached_joins_from_the_first_byte(onggi: Onggi) -> None:
    """`start -ai` carries stdin and stdout, and ends with the container's code."""
    onggi("create", "-i", "--name", "cli-ai", IMAGE, "sh", "-c", "cat; exit 4")
    done = onggi("start", "-ai", "cli-ai", input="text\n", check=False)
    assert (done.stdout, done.returncode) == ("text\n", 4)
    onggi("rm", "cli-ai")


def test_images_are_listed_tagged_and_removed(onggi: Onggi) -> None:
    """tag, images, history, rmi."""
    onggi("tag", IMAGE, "localhost:5000/a/b:c")
    listed = onggi("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.splitlines()
    assert "localhost:5000/a/b:c" in listed
    assert "made for a test" in onggi("history", IMAGE).stdout
    assert "Untagged: localhost:5000/a/b:c" in onggi("rmi", "localhost:5000/a/b:c").stdout
