"""One more process in a container: its streams, its end, its rights, and what is left of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.api import Answer, Api
from harness.box import Box, alive, receive_all, unframe, wait_until, wait_until_clean
from harness.engine import EngineProcess


@pytest.fixture
def box(api: Api) -> Iterator[Box]:
    """A container that sleeps."""
    made = Box.run(api, "sleep", "1000")
    yield made
    made.remove()


def create(box: Box, *command: str, **more: Any) -> str:
    """An exec that is to be heard; its id."""
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **more}
    return str(box.api.ok("POST", f"/containers/{box.id}/exec", body)["Id"])


def start(box: Box, exec_id: str, *, tty: bool = False) -> socket.socket:
    """Its stream."""
    body = f'{{"Detach": false, "Tty": {str(tty).lower()}}}'
    request = (
        f"POST /v1.51/exec/{exec_id}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(box.api.path)
    connection.sendall(request.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n"), head
    return connection


def heard(box: Box, *command: str, **more: Any) -> tuple[str, str, int]:
    """Run it to its end: output, errors, exit code."""
    exec_id = create(box, *command, **more)
    with start(box, exec_id) as connection:
        out, err = unframe(receive_all(connection))
    return out.decode(), err.decode(), look(box, exec_id)["ExitCode"]


def look(box: Box, exec_id: str) -> dict[str, Any]:
    """All about it."""
    found: dict[str, Any] = box.api.ok("GET", f"/exec/{exec_id}/json")
    return found


def test_both_outputs_and_the_exit_code(box: Box) -> None:
    """Each stream is told from the other; the code is there once the streams have ended."""
    assert heard(box, "sh", "-c", "echo out; echo err >&2; exit 7") == ("out\n", "err\n", 7)


def test_input_reaches_it_and_its_end_too(box: Box) -> None:
    """A half-closed connection is the end of its standard input; what it says then still arrives."""
    exec_id = create(box, "sh", "-c", "cat; echo end", AttachStdin=True)
    with start(box, exec_id) as connection:
        connection.sendall(b"x" * 3_000_000)
        connection.shutdown(socket.SHUT_WR)
        out, _ = unframe(receive_all(connection))
    assert len(out) == 3_000_004
    assert out.endswith(b"xend\n")


def test_a_terminal_of_the_containers_own(box: Box) -> None:
    """With Tty it has a terminal of the asked size, on the container's devpts, and its bytes come without frames."""
    exec_id = create(box, "sh", "-c", "stty size; tty", Tty=True, ConsoleSize=[31, 99])
    with start(box, exec_id, tty=True) as connection:
        assert receive_all(connection) == b"31 99\r\n/dev/pts/0\r\n"


def test_a_terminal_is_resized_while_it_runs(box: Box) -> None:
    """resize changes what the program sees; after its end there is nothing to resize."""
    exec_id = create(box, "sh", "-c", "read line; stty size", Tty=True, AttachStdin=True)
    with start(box, exec_id, tty=True) as connection:
        assert box.api("POST", f"/exec/{exec_id}/resize?h=40&w=77").status == 200
        connection.sendall(b"\n")
        assert receive_all(connection).endswith(b"40 77\r\n")
    assert box.api("POST", f"/exec/{exec_id}/resize?h=40&w=77").status == 404


def test_a_resize_before_the_start_waits_for_it(box: Box) -> None:
    """A client that sizes the terminal at once is not refused because the start is not over yet."""
    exec_id = create(box, "sh", "-c", "read line; stty size", Tty=True, AttachStdin=True)
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(box.api, "POST", f"/exec/{exec_id}/resize?h=41&w=78")
        with start(box, exec_id, tty=True) as connection:
            assert early.result(20).status == 200
            connection.sendall(b"\n")
            assert receive_all(connection).endswith(b"41 78\r\n")


def test_the_detach_keys_leave_it_running(box: Box) -> None:
    """ctrl-p ctrl-q ends the client's stream, and the program goes on."""
    exec_id = create(box, "sleep", "500", Tty=True, AttachStdin=True)
    with start(box, exec_id, tty=True) as connection:
        connection.sendall(b"\x10\x11")
        receive_all(connection)
    found = look(box, exec_id)
    assert found["Running"]
    assert alive(found["Pid"])


def test_nobody_need_listen(box: Box) -> None:
    """Detached, it runs to its end whatever it writes, and its exit code is kept."""
    exec_id = create(box, "sh", "-c", "seq 200000; exit 5")
    assert box.api("POST", f"/exec/{exec_id}/start", {"Detach": True}).status == 200
    wait_until(lambda: look(box, exec_id)["ExitCode"] is not None, "the exec has ended")
    assert look(box, exec_id)["ExitCode"] == 5


def test_a_client_that_goes_does_not_take_it_along(box: Box) -> None:
    """A connection that breaks leaves the program running."""
    exec_id = create(box, "sh", "-c", "while :; do echo x; done")
    start(box, exec_id).close()
    pid = wait_until(lambda: look(box, exec_id)["Pid"], "the exec runs")
    assert heard(box, "true") == ("", "", 0)
    assert look(box, exec_id)["Running"]
    assert alive(pid)


def test_it_is_started_once(box: Box) -> None:
    """Of ten starts at once one does it; a second start says why not, while it runs and afterwards."""
    exec_id = create(box, "sh", "-c", "echo started >> /count; sleep 300")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: box.api("POST", f"/exec/{exec_id}/start", {"Detach": True}), range(10)))
    assert sorted(answer.status for answer in answers) == [200, *[409] * 9]
    assert heard(box, "cat", "/count")[0] == "started\n"
    again = box.api("POST", f"/exec/{exec_id}/start", {"Detach": True})
    assert again.message == f"Error: Exec command {exec_id} is already running"


def test_the_container_knows_of_those_that_run(box: Box) -> None:
    """inspect lists them until they end."""
    exec_id = create(box, "sh", "-c", "read line", AttachStdin=True)
    assert box.inspect()["ExecIDs"] == [exec_id]
    with start(box, exec_id) as connection:
        connection.sendall(b"\n")
        receive_all(connection)
    assert box.inspect()["ExecIDs"] is None


def test_it_ends_with_the_container(box: Box) -> None:
    """A container's end is the end of all execs in it, and their clients are told."""
    exec_id = create(box, "sleep", "500")
    with start(box, exec_id) as connection:
        wait_until(lambda: look(box, exec_id)["Running"], "the exec runs")
        box.api.ok("POST", f"/containers/{box.id}/kill")
        assert receive_all(connection) == b""
    assert look(box, exec_id)["ExitCode"] == 137


def test_events_tell_of_its_life(box: Box) -> None:
    """Made, started, ended: in Docker's words, with the exec's id and exit code."""
    exec_id = create(box, "sh", "-c", "exit 3")
    with start(box, exec_id) as connection:
        receive_all(connection)
    query = f"since=1&until={time.time() + 0.2:.9f}&filters=%7B%22container%22%3A%5B%22{box.id}%22%5D%7D"
    events = [event for event in box.api("GET", f"/events?{query}").lines() if event["Action"].startswith("exec_")]
    assert [event["Action"] for event in events] == [
        "exec_create: sh -c exit 3",
        "exec_start: sh -c exit 3",
        "exec_die",
    ]
    assert {event["Actor"]["Attributes"]["execID"] for event in events} == {exec_id}
    assert events[-1]["Actor"]["Attributes"]["exitCode"] == "3"


def refused(box: Box, **body: Any) -> Answer:
    """A create that is not done."""
    return box.api("POST", f"/containers/{box.id}/exec", {"Cmd": ["true"], **body})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"Cmd": []}, "No exec command specified"),
        ({"Cmd": ["a\0b"]}, "NUL"),
        ({"DetachKeys": "ctrl-"}, "Invalid escape keys"),
        ({"WorkingDir": "relative"}, "absolute path"),
        ({"ConsoleSize": [1]}, "ConsoleSize"),
        ({"ConsoleSize": [-1, 5]}, "ConsoleSize"),
    ],
)
def test_what_cannot_be_meant_is_refused(box: Box, body: dict[str, Any], text: str) -> None:
    """Bad input is the client's mistake, and leaves no exec behind."""
    answer = refused(box, **body)
    assert answer.status == 400
    assert text in answer.message
    assert box.inspect()["ExecIDs"] is None


def test_an_exec_that_nobody_knows(api: Api) -> None:
    """404 in Docker's words, for each operation."""
    for method, path in (("POST", "/exec/x/start"), ("POST", "/exec/x/resize?h=1&w=1"), ("GET", "/exec/x/json")):
        answer = api(method, path, {} if method == "POST" else None)
        assert (answer.status, answer.message) == (404, "No such exec instance: x")


def test_a_user_who_is_a_fifo_in_the_image(box: Box) -> None:
    """A container whose /etc/passwd is a fifo cannot make an exec hang: the name is not found, a number is taken."""
    heard(box, "sh", "-c", "rm /etc/passwd; mkfifo /etc/passwd")
    out, _, code = heard(box, "id", User="nobody")
    assert "unable to find user nobody" in out
    assert code == 126
    assert heard(box, "stat", "-c", "%u", "/proc/self/", User="7") == ("7\n", "", 0)


def test_the_interpreter_is_not_the_containers_to_write(box: Box) -> None:
    """An exec of /proc/self/exe in a container that waits for it gets no writable view of our program (CVE-2019-5736)."""
    trap = (
        "while :; do for p in /proc/[0-9]*; do (: >> $p/exe) 2>/dev/null && echo wrote $p; done; done > /tmp/wrote 2>&1"
    )
    watcher = create(box, "sh", "-c", trap)
    assert box.api("POST", f"/exec/{watcher}/start", {"Detach": True}).status == 200
    for _ in range(5):
        heard(box, "/proc/self/exe", "-c", "pass")
        heard(box, "true")
    assert "python" not in heard(box, "sh", "-c", "cat /tmp/wrote | while read w p; do readlink $p/exe; done")[0]


def test_a_hundred_at_once(box: Box) -> None:
    """A crowd of execs, ten at a time: each has its own output and exit code."""
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda n: heard(box, "sh", "-c", f"echo {n}; exit {n}"), range(100)))
    assert found == [(f"{n}\n", "", n) for n in range(100)]


def test_execs_outlive_the_engine(new_engine: Callable[..., EngineProcess]) -> None:
    """An engine that is killed takes no exec with it; the next one can start others in the same container."""
    engine = new_engine()
    engine.load_busybox()
    box = Box.run(engine.api, "sleep", "1000")
    exec_id = create(box, "sleep", "500")
    with start(box, exec_id):
        pid = wait_until(lambda: look(box, exec_id)["Pid"], "the exec runs")
        engine.kill()
        assert alive(pid)
    engine.start()
    assert box.api("GET", f"/exec/{exec_id}/json").status == 404
    assert heard(box, "echo", "again") == ("again\n", "", 0)
    assert alive(pid)
    box.remove()
    wait_until(lambda: not alive(pid), "the exec goes with the container")


def test_nothing_is_left(engine: EngineProcess, api: Api) -> None:
    """After the container's removal no process, mount or group of its execs is there."""
    before = engine.leftovers()
    box = Box.run(api, "sleep", "1000")
    ids = [create(box, "sleep", "500") for _ in range(3)]
    streams = [start(box, exec_id) for exec_id in ids]
    box.remove()
    for stream in streams:
        receive_all(stream)
        stream.close()
    wait_until_clean(engine, before)
