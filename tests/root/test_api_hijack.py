"""Attach, wait, logs, events and load over a real socket, and the real docker CLI against the small engine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from harness.api import Api
from harness.small_engine import SmallServer
from onggi.wire import frames, progress

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server with a fresh small engine."""
    with SmallServer(tmp_path_factory.mktemp("hijack") / "s") as running:
        yield running


@pytest.fixture
def api(server: SmallServer) -> Api:
    """Requests to it."""
    return Api(server.path)


@pytest.fixture
def docker(server: SmallServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, str, str]]:
    """The real docker CLI: exit code, stdout, stderr."""
    program = shutil.which("docker")
    assert program, "the docker command is missing: run the tests through ./test"
    home = str(tmp_path_factory.mktemp("home"))
    environment = {"PATH": os.environ["PATH"], "HOME": home, "DOCKER_HOST": f"unix://{server.path}"}

    def run(*words: str, input: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [program, *words], env=environment, input=input, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


def create(api: Api, *command: str, **config: object) -> str:
    """A container's id."""
    answer = api("POST", "/containers/create", {"Image": "small", "Cmd": command, **config})
    assert answer.status == 201
    return str(answer.json()["Id"])


def attach(server: SmallServer, ident: str, *, upgrade: str = UPGRADE, early: bytes = b"") -> socket.socket:
    """A connection on which attach was asked for, with all streams; `early` is sent in the same breath."""
    client = server.connect()
    path = f"/v1.45/containers/{ident}/attach?stdin=1&stdout=1&stderr=1&stream=1"
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{upgrade}\r\n".encode() + early)
    return client


def rest(client: socket.socket) -> bytes:
    """All that comes until the end."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def payloads(data: bytes) -> bytes:
    """What lies in the frames."""
    return b"".join(payload for _, payload in frames.Decoder().feed(data))


def test_upgrade_is_answered_by_itself(server: SmallServer, api: Api) -> None:
    """The header of an upgrade comes alone and word for word as Docker's, before any output."""
    ident = create(api, "cat")
    with attach(server, ident) as client:
        head = client.recv(65536)
        assert head == (
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )


def test_hijack_without_upgrade_is_a_200(server: SmallServer, api: Api) -> None:
    """A client that did not ask for an upgrade gets a 200 without a length, and the raw stream behind it."""
    ident = create(api, "cat", Tty=True)
    api("POST", f"/containers/{ident}/start")
    with attach(server, ident, upgrade="", early=b"hello") as client:
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nhello"


def test_bytes_behind_the_request_are_input(server: SmallServer, api: Api) -> None:
    """What a client sends in one breath with the upgrade request is not lost."""
    ident = create(api, "cat")
    api("POST", f"/containers/{ident}/start")
    with attach(server, ident, early=b"early ") as client:
        client.sendall(b"late")
        client.shutdown(socket.SHUT_WR)
        answer = rest(client)
    assert payloads(answer.partition(b"\r\n\r\n")[2]) == b"early late"


def test_end_of_input_does_not_end_the_output(server: SmallServer, api: Api) -> None:
    """Output goes on after the client has closed its writing side, until the container ends."""
    ident = create(api, "sleep", Tty=True)
    api("POST", f"/containers/{ident}/start")
    with attach(server, ident) as client:
        client.shutdown(socket.SHUT_WR)
        client.recv(65536)
        box = server.engine.containers.boxes[ident]
        server.ask(box.say(b"still here"))
        assert client.recv(65536) == b"still here"
        api("POST", f"/containers/{ident}/stop")
        assert rest(client) == b""


def test_vanished_client_lets_go(server: SmallServer, api: Api) -> None:
    """A client that hangs up in the middle of a hijack is let go of at once, and the container runs on."""
    ident = create(api, "sleep")
    api("POST", f"/containers/{ident}/start")
    containers = server.engine.containers
    for how in (lambda client: None, lambda client: client.shutdown(socket.SHUT_WR)):
        with attach(server, ident) as client:
            client.recv(65536)
            how(client)
    box = containers.boxes[ident]

    async def both_closed() -> None:
        async with box.changed:
            await box.changed.wait_for(lambda: len(containers.closed) == 2)

    while len(containers.closed) < 2:  # each round trip gives the server's loop a turn
        assert api("GET", f"/containers/{ident}/json").json()["State"]["Running"]
    server.ask(both_closed())


def test_a_megabyte_each_way(server: SmallServer, api: Api) -> None:
    """Input and output are pumped at once, with back-pressure, and nothing is lost."""
    ident = create(api, "cat", Tty=True)
    api("POST", f"/containers/{ident}/start")
    sent = os.urandom(1 << 20)
    received = b""
    with attach(server, ident) as client:
        assert b"101" in client.recv(65536)
        for start in range(0, len(sent), 1 << 14):
            client.sendall(sent[start : start + (1 << 14)])
            while len(received) < start:
                received += client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        received += rest(client)
    assert received == sent


def test_attach_to_nothing_is_404(api: Api) -> None:
    """An error before the hijack is an ordinary answer."""
    answer = api(
        "POST", "/containers/nope/attach?stream=1&stdout=1", headers={"Connection": "Upgrade", "Upgrade": "tcp"}
    )
    assert (answer.status, answer.message) == (404, "No such container: nope")


def test_wait_flushes_its_header_first(server: SmallServer, api: Api) -> None:
    """The header of wait comes while the container still runs: then the client may start it and miss nothing."""
    ident = create(api, "sleep")
    api("POST", f"/containers/{ident}/start")
    with server.connect() as client:
        client.sendall(f"POST /containers/{ident}/wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head = client.recv(65536)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        api("POST", f"/containers/{ident}/stop")
        assert b'{"StatusCode":143}' in rest(client)


def test_stop_outlives_its_client(server: SmallServer, api: Api) -> None:
    """A stop whose client hangs up is carried through."""
    ident = create(api, "sleep")
    api("POST", f"/containers/{ident}/start")
    containers = server.engine.containers
    server.loop.call_soon_threadsafe(containers.stop_delay.clear)
    with server.connect() as client:
        client.sendall(f"POST /containers/{ident}/stop HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert api("GET", f"/containers/{ident}/json").json()["State"]["Running"]
    server.loop.call_soon_threadsafe(containers.stop_delay.set)
    waited = api("POST", f"/containers/{ident}/wait")
    assert waited.json() == {"StatusCode": 143}


def test_unchanged_is_304(api: Api) -> None:
    """A second start is *not modified*, without a body."""
    ident = create(api, "sleep")
    assert api("POST", f"/containers/{ident}/start").status == 204
    second = api("POST", f"/containers/{ident}/start")
    assert (second.status, second.body) == (304, b"")
    api("POST", f"/containers/{ident}/kill")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/containers/x/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("POST", "/containers/x/wait?condition=foo", 400, 'invalid condition: "foo"'),
        ("POST", "/containers/x/resize?h=1", 400, 'strconv.Atoi: parsing "": invalid syntax'),
        ("POST", "/containers/x/rename", 400, "Neither old nor new names may be empty"),
        ("POST", "/containers/x/stop?t=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("GET", "/containers/json?limit=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("GET", "/containers/json?filters=bad", 400, "invalid filter"),
        ("GET", '/containers/json?filters={"foo":["a"]}', 400, "invalid filter 'foo'"),
        ("GET", "/networks/nope", 404, "network nope not found"),
        ("GET", "/images/nope/json", 404, "No such image: nope:latest"),
        ("DELETE", "/containers/nope", 404, "No such container: nope"),
    ],
)
def test_refusals_are_dockers(api: Api, method: str, path: str, status: int, message: str) -> None:
    """What Docker refuses is refused in its words."""
    answer = api(method, path)
    assert (answer.status, answer.message) == (status, message)


def test_name_conflict_is_409(api: Api) -> None:
    """A name that is taken is refused with the holder's id."""
    body = {"Image": "small", "Cmd": ["cat"]}
    ident = api("POST", "/containers/create?name=one", body).json()["Id"]
    answer = api("POST", "/containers/create?name=one", body)
    assert answer.status == 409
    assert answer.message == (
        f'Conflict. The container name "/one" is already in use by container "{ident}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def test_load_reports_progress_and_late_errors(api: Api) -> None:
    """A load gives lines; what fails before the first is a status, what fails later is a line."""
    good = api("POST", "/images/load", b"g" * 300_000)
    assert [line.get("stream") for line in progress.Lines().feed(good.body)][-1] == "Loaded 300000\n"
    assert api("POST", "/images/load", b"bad" + b"x" * 300_000).status == 500
    late = api("POST", "/images/load", b"x" * 300_000 + b"bad")
    assert late.status == 200
    assert progress.Lines().feed(late.body)[-1]["error"] == "read `archive`: bad end"


def test_older_clients_get_older_lists(api: Api) -> None:
    """The image list has the fields of the version that asks."""
    assert api("GET", "/v1.51/images/json").json()[0]["Containers"] == 3
    old = api("GET", "/v1.24/images/json").json()[0]
    assert (old["Containers"], old["VirtualSize"]) == (-1, 7)


def test_events_are_heard_as_they_happen(server: SmallServer, api: Api) -> None:
    """A listener hears what happens after its header came, once."""
    with server.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        ident = create(api, "cat")
        event = json.loads(client.recv(65536).split(b"\r\n")[1])
    assert (event["Type"], event["Action"], event["Actor"]["ID"], event["status"]) == (
        "container",
        "create",
        ident,
        "create",
    )


def test_docker_run(docker: Callable[..., tuple[int, str, str]]) -> None:
    """`docker run` prints the output, without a network and without losing a byte of a short life."""
    assert docker("run", "--rm", "small", "echo", "hello", "world") == (0, "hello world\n", "")


def test_docker_run_interactive(docker: Callable[..., tuple[int, str, str]]) -> None:
    """`docker run -i` sends its input and its end."""
    assert docker("run", "-i", "small", "cat", input="line\n" * 1000) == (0, "line\n" * 1000, "")


@pytest.mark.parametrize(
    ("command", "code", "words"), [("nope", 127, "executable file not found"), ("/no", 126, "permission denied")]
)
def test_docker_exit_codes_of_a_failed_start(
    docker: Callable[..., tuple[int, str, str]], command: str, code: int, words: str
) -> None:
    """A command that is not there is 127, one that may not run is 126: the CLI reads it from the text."""
    got, _, stderr = docker("run", "small", command)
    assert got == code
    assert words in stderr


def test_docker_says_that_an_image_is_missing(docker: Callable[..., tuple[int, str, str]]) -> None:
    """An unknown image ends `docker run` with 125 and a hint, not with *page not found*."""
    code, _, stderr = docker("run", "other", "true")
    assert code == 125
    assert "No such image: other:latest" in stderr


def test_docker_talks_to_everything_else(docker: Callable[..., tuple[int, str, str]]) -> None:
    """Detached run, ps, logs, top, inspect, rename, stop, rm, images, network, volume: each command succeeds."""
    assert docker("run", "-d", "--name", "one", "small", "sleep")[0] == 0
    assert docker("ps", "--format", "{{.Names}}") == (0, "one\n", "")
    assert docker("top", "one")[1].split() == ["PID", "CMD", "1", "sleep"]
    assert docker("inspect", "-f", "{{.State.Status}} {{.Config.Cmd}}", "one") == (0, "running [sleep]\n", "")
    assert docker("rename", "one", "two")[0] == 0
    assert docker("rm", "two")[0] == 1
    assert docker("stop", "two") == (0, "two\n", "")
    assert docker("logs", "two") == (0, "", "")
    assert docker("rm", "two") == (0, "two\n", "")
    for words in (
        ["images"],
        ["network", "ls"],
        ["volume", "ls"],
        ["version"],
        ["tag", "small", "x"],
        ["rmi", "small"],
    ):
        assert docker(*words)[0] == 0, words
