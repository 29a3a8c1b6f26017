"""Bad input gets Docker's status and message, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from harness import image
from harness.api import Answer, Api
from harness.box import Box
from harness.engine import EngineProcess

CREATE = "/containers/create"


@pytest.fixture(autouse=True)
def _unchanged(api: Api, engine: EngineProcess) -> Iterator[None]:
    """After each test the same containers, images and things on the machine as before it."""

    def known() -> object:
        return [one["Id"] for one in api.ok("GET", "/containers/json?all=1")], api.ok("GET", "/images/json")

    before, things = known(), engine.leftovers()
    yield
    assert known() == before
    left = engine.leftovers().since(things)
    left.pop("processes", None)  # a keeper in waiting is another one each time
    left.pop("links", None)  # the kernel takes its time with them: see test_hold_leftovers
    for name in ("cgroups", "tables"):
        assert set(left.pop(name, [])) <= engines_own(engine)
    assert left == {}


def engines_own(engine: EngineProcess) -> set[str]:
    """What the engine's first start makes for itself and keeps."""
    return {f"table inet {engine.instance}"} | {
        group for group in engine.leftovers().cgroups if group.endswith(engine.instance)
    }


def create(api: Api, host: dict[str, Any] | None = None, **config: Any) -> Answer:
    """Ask for a container; one that is made after all is taken away again."""
    answer = api("POST", CREATE, {"Image": image.BUSYBOX, "Cmd": ["true"], **config, "HostConfig": host or {}})
    if answer.status == 201:
        api.ok("DELETE", f"/containers/{answer.json()['Id']}?force=1")
    return answer


def start(api: Api, *command: str, host: dict[str, Any] | None = None, **config: Any) -> tuple[Answer, dict[str, Any]]:
    """Create and start; the answer to the start and the state after it. The container is removed."""
    box = Box.create(api, *command, host=host, **config)
    answer, state = box.try_start(), box.state
    box.remove()
    return answer, state


def test_an_unknown_image(api: Api) -> None:
    """404 `No such image: nonesuch:latest`."""
    answer = create(api, Image="nonesuch")
    assert (answer.status, answer.message) == (404, "No such image: nonesuch:latest")


def test_no_image_at_all(api: Api) -> None:
    """400."""
    assert create(api, Image="").status == 400


def test_a_name_that_is_taken(api: Api) -> None:
    """409, with the words that clients look for, and the id of who has it."""
    box = Box.create(api, "true", name="taken")
    answer = api("POST", f"{CREATE}?name=taken", {"Image": image.BUSYBOX})
    assert answer.status == 409
    assert answer.message.startswith(f'Conflict. The container name "/taken" is already in use by container "{box.id}"')
    box.remove()


@pytest.mark.parametrize("name", ["-x", "a/b", "a b", "a", "ü", "a" + "/" * 3, "..", "_x"])
def test_a_name_that_is_none(api: Api, name: str) -> None:
    """400 `Invalid container name`."""
    answer = api("POST", f"{CREATE}?name={quote(name, safe='')}", {"Image": image.BUSYBOX})
    assert answer.status == 400
    assert f"Invalid container name ({name})" in answer.message


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b"{}{}", b'{"Image": 7}', b'{"Cmd": {"a": 1}}', b"\xff\xfe", b'{"HostConfig": "x"}', b""],
)
def test_what_is_no_document(api: Api, body: bytes) -> None:
    """400, whatever is wrong with the JSON."""
    answer = api("POST", CREATE, body, headers={"Content-Type": "application/json"})
    assert answer.status == 400, answer.body
    assert answer.message


def test_a_deep_document_is_refused_and_survived(api: Api) -> None:
    """100,000 brackets are 400, not a dead engine."""
    body = b'{"Image":"x","Labels":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert api("POST", CREATE, body, headers={"Content-Type": "application/json"}).status == 400
    assert api("GET", "/_ping").status == 200


def test_a_body_of_another_type(api: Api) -> None:
    """Docker wants application/json."""
    body = json.dumps({"Image": image.BUSYBOX}).encode()
    answer = api("POST", CREATE, body, headers={"Content-Type": "text/plain"})
    assert answer.status == 400
    assert "application/json" in answer.message


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("no-such-command", 127, 'exec: "no-such-command": executable file not found in $PATH'),
        ("/no/such", 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
        ("", 126, ""),
    ],
)
def test_a_command_that_cannot_be_run(api: Api, command: str, code: int, words: str) -> None:
    """400 with runc's words, state `created` with the shell's exit code."""
    answer, state = start(api, command)
    assert answer.status in (400, 500)
    assert words in answer.message
    assert state["Status"] == "created"
    if command:
        assert answer.status == 400
        assert state["ExitCode"] == code
    assert state["Error"]


def test_no_command_at_all(api: Api, engine: EngineProcess) -> None:
    """400 `no command specified` at create, when neither the image nor the request has one."""
    bare = image.docker_archive(["bare:test"], [image.layer_of({"x": b"x"})], {"Cmd": None})
    assert api.load(bare) == ["bare:test"]
    answer = create(api, Image="bare:test", Cmd=None)
    api.ok("DELETE", "/images/bare:test")
    assert (answer.status, answer.message) == (400, "no command specified")


@pytest.mark.parametrize("user", ["nobody-here", "0:no-group-here", "-1", "99999999999", "1000:-5"])
def test_a_user_that_is_none(api: Api, user: str) -> None:
    """The start fails and says who."""
    answer, state = start(api, "true", User=user)
    assert answer.status in (400, 500)
    assert state["Status"] == "created"
    assert "keep" not in answer.message


def test_a_working_directory_that_is_a_file(api: Api) -> None:
    """The start fails with a message that names the place."""
    answer, state = start(api, "true", WorkingDir="/etc/passwd")
    assert answer.status in (400, 500)
    assert "/etc/passwd" in answer.message
    assert state["Status"] == "created"


def test_a_working_directory_that_is_relative(api: Api) -> None:
    """400 at create."""
    answer = create(api, WorkingDir="tmp")
    assert answer.status == 400
    assert answer.message == "the working directory 'tmp' is invalid, it needs to be an absolute path"


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        ("NONSENSE", "invalid signal: NONSENSE"),
        ("0x9", "invalid signal: 0x9"),
        ("-1", "invalid signal: -1"),
        ("99", "the linux daemon does not support signal 99"),
    ],
)
def test_a_signal_that_is_none(api: Api, signal: str, words: str) -> None:
    """400, and the container runs on."""
    box = Box.run(api, "sleep", "60", host={"NetworkMode": "none"})
    answer = api("POST", f"/containers/{box.id}/kill?signal={signal}")
    assert answer.status == 400
    assert words in answer.message
    assert box.state["Running"]
    box.remove()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"Env": [""]}, "invalid environment variable: "),
        ({"Env": ["A=a\0b"]}, "NUL byte"),
        ({"Cmd": ["echo", "a\0b"]}, "NUL byte"),
        ({"WorkingDir": "/a\0b"}, "NUL byte"),
        ({"Hostname": "a\0b"}, "NUL byte"),
    ],
)
def test_words_that_no_program_can_get(api: Api, config: dict[str, Any], words: str) -> None:
    """400 at create."""
    answer = create(api, **config)
    assert answer.status == 400
    assert words in answer.message


def test_more_words_than_the_kernel_takes(api: Api) -> None:
    """An argument of 3 MB: the start fails and says why; the engine lives."""
    answer, state = start(api, "echo", "x" * 3_000_000)
    assert "argument list too long" in answer.message
    assert state["Status"] == "created"


def test_a_stop_signal_that_is_none(api: Api) -> None:
    """400 at create."""
    answer = create(api, StopSignal="NONSENSE")
    assert (answer.status, answer.message) == (400, "invalid signal: NONSENSE")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Memory": -1}, "emory"),
        ({"Memory": 1 << 20}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": 64 << 20, "MemorySwap": 32 << 20}, "Minimum memoryswap limit should be larger than memory limit"),
        ({"MemorySwap": 64 << 20}, "You should always set the Memory limit when using Memoryswap limit"),
        ({"MemoryReservation": 1}, "Minimum memory reservation allowed is 6MB"),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        ({"NanoCpus": -5}, "ange of CPUs is from 0.01 to "),
        ({"NanoCpus": 10**15}, "ange of CPUs is from 0.01 to "),
        ({"NanoCpus": 10**9, "CpuQuota": 1000}, "CPU"),
        ({"CpuPeriod": 5}, "CPU cfs period can not be less than 1ms"),
        ({"CpuQuota": 5}, "CPU cfs quota can not be less than 1ms"),
        ({"CpuShares": -1}, "shares"),
        ({"CpusetCpus": "x"}, "x"),
        ({"CpusetCpus": "999"}, "Requested CPUs are not available - requested 999"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"CapAdd": ["NONSENSE"]}, 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'),
        ({"CapDrop": ["NONSENSE"]}, 'invalid CapDrop: unknown capability: "CAP_NONSENSE"'),
        ({"SecurityOpt": ["nonsense"]}, "nonsense"),
        ({"SecurityOpt": ["seccomp={"]}, "seccomp"),
        ({"Ulimits": [{"Name": "nonsense", "Soft": 1, "Hard": 1}]}, "nonsense"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": 1}]}, "ulimit soft limit must be less than or equal"),
        ({"OomScoreAdj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ({"ShmSize": -1}, "SHM size"),
        ({"IpcMode": "nonsense"}, "nvalid IPC mode"),
        ({"PidMode": "nonsense"}, "nvalid PID mode"),
        ({"UTSMode": "nonsense"}, "nvalid UTS mode"),
        ({"CgroupnsMode": "nonsense"}, "nvalid cgroup namespace mode"),
        ({"Binds": ["/x"]}, "/x"),
        ({"Binds": ["/x:/"]}, "destination can't be '/'"),
        ({"Binds": ["/x:y"]}, "y"),
        ({"Binds": ["/x:/y:nonsense"]}, "nonsense"),
        (
            {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}]},
            "bind source path does not exist: /no/such",
        ),
        ({"Mounts": [{"Type": "nonsense", "Source": "/", "Target": "/x"}]}, "nonsense"),
        ({"Tmpfs": {"/x": "nonsense=1"}}, "nonsense"),
        (
            {"Devices": [{"PathOnHost": "/dev/nonsense", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]},
            "nonsense",
        ),
        ({"Sysctls": {"kernel.panic": "1"}}, "kernel.panic"),
        ({"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"}, "net.ipv4.ip_forward"),
        ({"ExtraHosts": ["nonsense"]}, "nonsense"),
        ({"ExtraHosts": ["a:nonsense"]}, "nonsense"),
        ({"Dns": ["nonsense"]}, "nonsense"),
        ({"RestartPolicy": {"Name": "nonsense"}}, "nonsense"),
        ({"LogConfig": {"Type": "nonsense"}}, "nonsense"),
        ({"Runtime": "nonsense"}, "unknown or invalid runtime name: nonsense"),
        ({"Isolation": "hyperv"}, "hyperv"),
        ({"CgroupParent": "../up"}, "../up"),
        ({"PortBindings": {"99999/tcp": [{"HostPort": "1"}]}}, "99999"),
        ({"PortBindings": {"80/tcp": [{"HostPort": "nonsense"}]}}, "nonsense"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_host_config_that_cannot_be_meant(api: Api, host: dict[str, Any], words: str) -> None:
    """400 at create, or at the latest at start, with a message that names what is wrong."""
    answer = api("POST", CREATE, {"Image": image.BUSYBOX, "Cmd": ["true"], "HostConfig": host})
    if answer.status == 201:
        box = Box(api, answer.json()["Id"])
        answer = box.try_start()
        box.remove()
    assert answer.status in (400, 404, 500, 501), answer.body
    assert answer.status != 500 or "traceback" not in answer.message.lower()
    assert words in answer.message


REFUSED: dict[str, Any] = {
    "VolumesFrom": ["other"],
    "Links": ["a:b"],
    "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
    "StorageOpt": {"size": "1G"},
    "Cgroup": "container:x",
    "KernelMemory": 1 << 24,
    "KernelMemoryTCP": 1 << 24,
    "CpuRealtimePeriod": 1000,
    "CpuRealtimeRuntime": 1000,
    "CpuCount": 1,
    "CpuPercent": 1,
    "IOMaximumIOps": 1,
    "IOMaximumBandwidth": 1,
    "Init": True,
    "VolumeDriver": "nfs",
    "RestartPolicy": {"Name": "always"},
    "LogConfig": {"Type": "syslog"},
    "UsernsMode": "keep-id",
}


@pytest.mark.parametrize("field", sorted(REFUSED))
def test_what_is_not_done_yet_is_refused_by_name(api: Api, field: str) -> None:
    """No option is ignored in silence: the answer is an error that names it."""
    answer = create(api, {field: REFUSED[field]})
    assert answer.status >= 400, f"{field} was accepted"
    spelled = answer.message.lower().replace("_", "").replace(" ", "").replace("-", "")
    assert field.lower() in spelled


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/containers/nonesuch/json"),
        ("POST", "/containers/nonesuch/start"),
        ("POST", "/containers/nonesuch/stop"),
        ("POST", "/containers/nonesuch/kill"),
        ("POST", "/containers/nonesuch/restart"),
        ("POST", "/containers/nonesuch/pause"),
        ("POST", "/containers/nonesuch/unpause"),
        ("POST", "/containers/nonesuch/wait"),
        ("POST", "/containers/nonesuch/attach"),
        ("POST", "/containers/nonesuch/rename?name=x"),
        ("POST", "/containers/nonesuch/resize?h=1&w=1"),
        ("GET", "/containers/nonesuch/logs?stdout=1"),
        ("GET", "/containers/nonesuch/top"),
        ("DELETE", "/containers/nonesuch"),
    ],
)
def test_an_unknown_container(api: Api, method: str, path: str) -> None:
    """404 `No such container: nonesuch`, whatever is asked of it."""
    answer = api(method, path)
    assert (answer.status, answer.message) == (404, "No such container: nonesuch")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1.23/info", 400),
        ("/v9.99/info", 400),
        ("/nonesuch", 404),
        ("/containers/json?limit=x", 400),
        ("/containers/json?filters=nonsense", 400),
        ("/containers/json?filters=%7B%22nonsense%22:%5B%22x%22%5D%7D", 400),
        ("/containers/json?all=1&filters=%7B%22status%22:%5B%22x%22%5D%7D", 400),
        ("/containers/json?all=1&filters=%7B%22before%22:%5B%22x%22%5D%7D", 404),
        ("/images/nonesuch/json", 404),
        ("/events?since=nonsense&until=1", 400),
    ],
)
def test_a_question_that_has_no_answer(api: Api, path: str, status: int) -> None:
    """The status that Docker gives."""
    assert api("GET", path).status == status


def test_logs_without_a_stream(api: Api) -> None:
    """400, in Docker's words."""
    box = Box.create(api, "true")
    answer = api("GET", f"/containers/{box.id}/logs")
    assert (answer.status, answer.message) == (400, "Bad parameters: you must choose at least one stream")
    box.remove()
