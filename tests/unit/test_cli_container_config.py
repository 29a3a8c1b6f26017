"""Flags become the body that the API expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onggi.cli import container_config
from onggi.cli.commands.run import COMMAND
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import parse


def body(*words: str, attached: bool = True) -> dict[str, Any]:
    """The body of `onggi run WORDS image true`."""
    return container_config.body(parse(COMMAND, [*words, "image", "true"]), attached=attached)


def host(*words: str) -> dict[str, Any]:
    """Its HostConfig."""
    found: dict[str, Any] = body(*words)["HostConfig"]
    return found


def test_the_image_and_the_command_are_taken_apart() -> None:
    """The first argument is the image, the rest its command."""
    made = body()
    assert (made["Image"], made["Cmd"]) == ("image", ["true"])


def test_an_image_alone_leaves_the_command_to_the_image() -> None:
    """No command is null, not an empty list."""
    assert container_config.body(parse(COMMAND, ["image"]), attached=True)["Cmd"] is None


@pytest.mark.parametrize(
    ("text", "count"),
    [("512m", 512 * 1024**2), ("1.5g", 3 * 1024**3 // 2), ("64K", 65536), ("7", 7), ("1GiB", 1024**3), ("-1", -1)],
)
def test_sizes_are_powers_of_1024(text: str, count: int) -> None:
    """`512m` is 512 MiB, as dockerd counts."""
    assert container_config.byte_count(text, "memory") == count


@pytest.mark.parametrize("text", ["much", "12q", "-5", "1e400", "m", "nan"])
def test_a_wrong_size_is_refused(text: str) -> None:
    """What is no size is named in the error."""
    with pytest.raises(CommandFailed, match="--memory"):
        container_config.byte_count(text, "memory")


@pytest.mark.parametrize(("text", "nano"), [("1", 10**9), ("1.5", 15 * 10**8), (".25", 25 * 10**7), ("0.001", 10**6)])
def test_cpus_are_exact(text: str, nano: int) -> None:
    """A fraction of CPUs is not rounded through a float."""
    assert host("--cpus", text)["NanoCpus"] == nano


@pytest.mark.parametrize(
    ("text", "key", "binding"),
    [
        ("80", "80/tcp", {"HostIp": "", "HostPort": ""}),
        ("8080:80", "80/tcp", {"HostIp": "", "HostPort": "8080"}),
        ("127.0.0.1:8080:80/udp", "80/udp", {"HostIp": "127.0.0.1", "HostPort": "8080"}),
        ("127.0.0.1::80", "80/tcp", {"HostIp": "127.0.0.1", "HostPort": ""}),
        ("[::1]:8080:80", "80/tcp", {"HostIp": "::1", "HostPort": "8080"}),
    ],
)
def test_a_port_is_published(text: str, key: str, binding: dict[str, str]) -> None:
    """Each way to write a port gives its exposed port and its binding."""
    made = body("-p", text)
    assert made["ExposedPorts"] == {key: {}}
    assert made["HostConfig"]["PortBindings"] == {key: [binding]}


def test_a_relative_volume_is_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.` is our working directory: the engine has another one."""
    monkeypatch.chdir(tmp_path)
    assert host("-v", ".:/x:ro")["Binds"] == [f"{tmp_path}:/x:ro"]


def test_a_named_volume_is_left_alone() -> None:
    """A name is no path."""
    assert host("-v", "data:/x")["Binds"] == ["data:/x"]


def test_a_mount_is_taken_apart() -> None:
    """`--mount` gives type, source, target and whether it is read-only."""
    assert host("--mount", "type=bind,src=/a,dst=/b,readonly")["Mounts"] == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}
    ]


def test_a_bare_variable_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-e NAME` takes our value, and nothing when we have none."""
    monkeypatch.setenv("ONGGI_TEST", "a=b")
    assert container_config.environment(["ONGGI_TEST", "ONGGI_NONE", "X="], []) == ["ONGGI_TEST=a=b", "X="]


def test_a_file_of_variables_is_read_before_the_flags(tmp_path: Path) -> None:
    """Comments and empty lines are left out; what a flag says comes last and so wins."""
    file = tmp_path / "env"
    file.write_text("# no\n\nA=1\n  B=2 # part of it\n")
    assert container_config.environment(["A=3"], [str(file)]) == ["A=1", "B=2 # part of it", "A=3"]


def test_stdin_closes_with_us_only_when_attached() -> None:
    """`-i` in the foreground ends with our stdin; in the background it stays open."""
    assert body("-i")["StdinOnce"] is True
    assert body("-i", attached=False)["StdinOnce"] is False


def test_an_empty_entrypoint_is_sent() -> None:
    """`--entrypoint ""` takes the image's away; without the flag nothing is sent."""
    assert body("--entrypoint", "")["Entrypoint"] == [""]
    assert "Entrypoint" not in body()


def test_a_seccomp_file_is_read_here(tmp_path: Path) -> None:
    """The engine gets the profile itself: it may not see our file."""
    profile = tmp_path / "p.json"
    profile.write_text('{"defaultAction":"SCMP_ACT_ALLOW"}')
    options = host("--security-opt", f"seccomp={profile}", "--security-opt", "seccomp=unconfined")["SecurityOpt"]
    assert options == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "seccomp=unconfined"]


@pytest.mark.parametrize(
    ("flag", "text", "key", "value"),
    [
        ("--ulimit", "nofile=10:20", "Ulimits", [{"Name": "nofile", "Soft": 10, "Hard": 20}]),
        ("--ulimit", "core=0", "Ulimits", [{"Name": "core", "Soft": 0, "Hard": 0}]),
        ("--restart", "on-failure:3", "RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
        ("--tmpfs", "/t:size=1m,mode=700", "Tmpfs", {"/t": "size=1m,mode=700"}),
        ("--sysctl", "net.a=1", "Sysctls", {"net.a": "1"}),
        (
            "--device",
            "/dev/fuse:r",
            "Devices",
            [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "r"}],
        ),
        (
            "--device",
            "/dev/a:/dev/b:rw",
            "Devices",
            [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rw"}],
        ),
    ],
)
def test_a_compound_flag_is_taken_apart(flag: str, text: str, key: str, value: object) -> None:
    """Flags with parts become the API's fields."""
    assert host(flag, text)[key] == value


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--ulimit", "nofile"),
        ("--ulimit", "nofile=many"),
        ("--restart", "on-failure:often"),
        ("--mount", "type=bind,src=/a"),
        ("--mount", "type=bind,dst=/b,what=1"),
        ("--cpus", "two"),
        ("--cpus", "-1"),
        ("-p", "http"),
        ("-p", "1-2:3-4"),
        ("-e", "=x"),
        ("--env-file", "/nonexistent/env"),
        ("--security-opt", "seccomp=/nonexistent/profile"),
    ],
)
def test_a_flag_that_cannot_be_meant_is_refused_by_name(flag: str, text: str) -> None:
    """The error quotes the value, and the exit status is 125."""
    with pytest.raises(CommandFailed) as caught:
        body(flag, text)
    assert f"`{text}`" in caught.value.message or text in caught.value.message
    assert caught.value.status == 125
