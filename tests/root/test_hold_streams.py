"""What a container writes arrives whole at everybody who listens, whatever the others do."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness import image
from harness.api import Api
from harness.box import Box, alive, receive_all, status_of, unframe, wait_until
from harness.engine import EngineProcess

Docker = Callable[..., subprocess.CompletedProcess[str]]
MEGABYTE = 1 << 20


def start_attached(api: Api, *command: str, stdin: bool = False, **more: Any) -> tuple[Box, socket.socket]:
    """A container with a client that was attached before its first instruction."""
    box = Box.create(api, *command, OpenStdin=stdin, StdinOnce=stdin, **more)
    connection = box.attach(f"stream=1&stdout=1&stderr=1&stdin={int(stdin)}")
    box.start()
    return box, connection


def test_a_client_that_reads_nothing_stops_nobody(api: Api) -> None:
    """One client attaches and never reads; the container writes 200 MB and ends, and another client gets it all."""
    box = Box.create(api, "sh", "-c", "dd if=/dev/zero bs=65536 count=3200 2>/dev/null")
    deaf, hearing = box.attach("stream=1&stdout=1"), box.attach("stream=1&stdout=1")
    box.start()
    size = 0
    while piece := hearing.recv(MEGABYTE):
        size += len(piece)
    assert box.wait() == 0
    assert size >= 200 * MEGABYTE
    assert deaf.recv(8) == b"\1\0\0\0" + (1 << 16).to_bytes(4, "big")
    deaf.close()
    box.remove()


def test_ten_clients_at_once_get_the_same_bytes(api: Api) -> None:
    """Attached from the start, each receives everything, in order."""
    command = "for i in 1 2 3 4 5 6 7 8; do seq 5000; seq 500 >&2; done"
    box = Box.create(api, "sh", "-c", command)
    connections = [box.attach() for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        heard = [pool.submit(receive_all, connection) for connection in connections]
        box.start()
        streams = [unframe(one.result(60)) for one in heard]
    expected = "".join(f"{i}\n" for i in range(1, 5001)).encode() * 8
    errors = "".join(f"{i}\n" for i in range(1, 501)).encode() * 8
    assert all(out == expected for out, _ in streams)
    assert all(err == errors for _, err in streams)
    box.remove()


def test_attach_with_the_past_joins_it_to_the_future(api: Api) -> None:
    """attach?logs=1 in the middle of a stream: no line is lost, none comes twice."""
    box = Box.run(api, "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 0.1; seq 3000 3999")
    connections = [box.attach("stream=1&stdout=1&logs=1") for _ in range(4)]
    for connection in connections:
        numbers = [int(line) for line in unframe(receive_all(connection))[0].split()]
        assert numbers == list(range(4000))
    box.remove()


def test_logs_follow_joins_the_past_to_the_future(api: Api) -> None:
    """The same for `logs -f`, asked for at many moments of a container's life."""
    box = Box.run(api, "sh", "-c", "i=0; while [ $i -lt 4000 ]; do echo $i; i=$((i+1)); done")

    def follow() -> list[int]:
        answer = api("GET", f"/containers/{box.id}/logs?stdout=1&follow=1", timeout=60)
        return [int(line) for line in unframe(answer.body)[0].split()]

    with ThreadPoolExecutor(6) as pool:
        for heard in [pool.submit(follow) for _ in range(12)]:
            assert heard.result(60) == list(range(4000))
    box.remove()


def test_short_outputs_always_arrive(docker: Docker) -> None:
    """100 times `docker run --rm … echo N`: the output is there every time."""
    for number in range(100):
        assert docker("run", "--rm", "--network", "none", image.BUSYBOX, "echo", str(number)).stdout == f"{number}\n"


def test_twenty_megabytes_both_ways_at_once(api: Api) -> None:
    """`cat` gives back what it gets while it gets it: nothing blocks, no byte is another."""
    box, connection = start_attached(api, "cat", stdin=True)
    data = os.urandom(20 * MEGABYTE)

    def send() -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    out, err = unframe(receive_all(connection))
    sender.join(30)
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    assert err == b""
    assert box.wait() == 0
    box.remove()


def test_a_client_that_never_reads_its_echo_does_not_hang_the_engine(api: Api) -> None:
    """It pours 30 MB into `cat` and reads nothing; the engine answers others all the while."""
    box, connection = start_attached(api, "cat", stdin=True)
    connection.settimeout(2)
    with contextlib.suppress(TimeoutError):  # somewhere a pipe is full: that is its own trouble alone
        for _ in range(30 * 16):
            connection.sendall(b"x" * (1 << 16))
    assert api("GET", "/_ping").status == 200
    assert box.state["Running"]
    connection.close()
    box.remove()


def test_many_clients_that_hang_up_leave_no_descriptor(api: Api, engine: EngineProcess) -> None:
    """Fifty clients attach and go: keeper and engine have as many descriptors as before."""
    box = Box.run(api, "sh", "-c", "while :; do echo x; sleep 0.01; done", OpenStdin=True)
    assert engine.process
    watched = (engine.process.pid, box.keeper)

    def count() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in watched]

    before = count()
    for _ in range(50):
        connection = box.attach("stream=1&stdin=1&stdout=1")
        connection.recv(10)
        connection.close()
    wait_until(lambda: all(now <= then for now, then in zip(count(), before, strict=True)), f"as few as {before}")
    assert box.state["Running"]
    box.remove()


def test_the_end_of_input_reaches_the_container(docker: Docker) -> None:
    """`echo | docker run -i cat`: the half-close is passed on, the output comes after it."""
    done = docker("run", "--rm", "-i", image.BUSYBOX, "sh", "-c", "cat; echo end", input="one\ntwo\n")
    assert done.stdout == "one\ntwo\nend\n"


def test_fifty_megabytes_through_the_docker_command(docker: Docker, engine: EngineProcess) -> None:
    """The sha256 that the container computes of its input is that of what was sent."""
    data = os.urandom(50 * MEGABYTE)
    words = engine.network.words("docker", "-H", engine.host, "run", "--rm", "-i", image.BUSYBOX, "sha256sum")
    done = subprocess.run(words, input=data, capture_output=True, timeout=60, pass_fds=engine.network.descriptors)
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_binary_output_comes_out_as_it_went_in(docker: Docker, engine: EngineProcess) -> None:
    """All 256 bytes, through a frame and through the log."""
    script = 'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %o $i)"; i=$((i+1)); done'
    words = ["run", "--name", "binary", "--network", "none", image.BUSYBOX, "sh", "-c", script]
    program = engine.network.words("docker", "-H", engine.host)
    done = subprocess.run([*program, *words], capture_output=True, timeout=60, pass_fds=engine.network.descriptors)
    assert done.stdout == bytes(range(256))
    logs = subprocess.run(
        [*program, "logs", "binary"], capture_output=True, timeout=60, pass_fds=engine.network.descriptors
    )
    assert logs.stdout == bytes(range(256))
    docker("rm", "binary")


def test_output_after_the_first_process_has_ended_is_kept(api: Api) -> None:
    """What a child wrote into the pipe just before the container's end is in the log."""
    for _ in range(20):
        box = Box.run(api, "sh", "-c", "seq 2000 & wait; exit 0", host={"NetworkMode": "none"})
        assert box.wait() == 0
        assert box.output()[0].split()[-1] == "2000"
        box.remove()


def test_a_large_log_does_not_make_keeper_or_engine_large(api: Api, engine: EngineProcess) -> None:
    """100 MB written while one client reads nothing: neither process keeps it in memory."""
    box = Box.create(api, "sh", "-c", "dd if=/dev/zero bs=65536 count=1600 2>/dev/null; echo; echo done >&2; sleep 60")
    deaf = box.attach("stream=1&stdout=1")
    box.start()
    wait_until(lambda: "done" in box.output(stdout="0")[1], "it has written")
    assert engine.process
    for pid in (box.keeper, engine.process.pid):
        assert int(status_of(pid)["VmRSS"].split()[0]) < 150_000, status_of(pid)["Name"]
    assert alive(box.pid)
    deaf.close()
    box.remove()


def test_input_that_nobody_reads_is_no_error(docker: Docker, engine: EngineProcess) -> None:
    """`yes | docker run -i … head`: the container takes what it wants, and the command ends well."""
    program = " ".join(engine.network.words("docker", "-H", engine.host, "run", "--rm", "-i", image.BUSYBOX))
    for command, expected in (("true", b""), ("head -n 2", b"y\ny\n")):
        done = subprocess.run(
            ["sh", "-c", f"yes | {program} {command}"],
            capture_output=True,
            timeout=30,
            pass_fds=engine.network.descriptors,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
