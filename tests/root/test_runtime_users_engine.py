"""`UsernsMode: auto` end to end: by the API and by `onggi run --userns auto`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import Api
from harness.cli import Onggi
from harness.engine import EngineProcess

pytestmark = pytest.mark.usefixtures("busybox_image")
IMAGE = "busybox:test"


def create(api: Api, *command: str, **host: Any) -> str:
    """A container of its own user namespace; its id."""
    body = {"Image": IMAGE, "Cmd": list(command), "HostConfig": {"UsernsMode": "auto", **host}}
    container: str = api.ok("POST", "/containers/create", body)["Id"]
    return container


def uid_map(api: Api, container: str) -> list[str]:
    """The map of a running container, as the host sees it."""
    pid = api.ok("GET", f"/containers/{container}/json")["State"]["Pid"]
    return Path(f"/proc/{pid}/uid_map").read_text().split()


def test_two_containers_have_different_ids(api: Api) -> None:
    """Root of one is nobody to the other, and to the host."""
    found = []
    for _ in range(2):
        container = create(api, "sleep", "1000")
        api.ok("POST", f"/containers/{container}/start")
        found.append((container, uid_map(api, container)))
    for container, _ in found:
        api.ok("DELETE", f"/containers/{container}?force=1")
    (_, first), (_, second) = found
    assert (first[0], first[2], second[0], second[2]) == ("0", "65536", "0", "65536")
    assert abs(int(first[1]) - int(second[1])) >= 65536
    assert min(int(first[1]), int(second[1])) >= 65536


def test_it_keeps_its_files_over_a_restart(api: Api) -> None:
    """Stop and start: what root inside made is still root's."""
    container = create(api, "sh", "-c", "stat -c %u /made 2>/dev/null; touch /made; cat /proc/self/uid_map")
    outputs = []
    for _ in range(2):
        api.ok("POST", f"/containers/{container}/start")
        api.ok("POST", f"/containers/{container}/wait")
        outputs.append(api("GET", f"/containers/{container}/logs?stdout=1").body)
    api.ok("DELETE", f"/containers/{container}")
    assert b"0\n" in outputs[1].removeprefix(outputs[0])


def test_the_command_runs_one(onggi: Onggi) -> None:
    """Root inside, mapped; hosts and resolv.conf are its own; the network is up."""
    script = "id -u; cut -c1-10 /proc/self/uid_map; stat -c %u /etc/hosts /etc/resolv.conf"
    script += "; ip -o -4 addr show eth0 | wc -l; ip route | head -1 | cut -d' ' -f1"
    done = onggi("run", "--rm", "--userns", "auto", IMAGE, "sh", "-c", script)
    assert done.stdout.split() == ["0", "0", "0", "0", "1", "default"]


def test_the_gateway_answers(onggi: Onggi, engine: EngineProcess) -> None:
    """A container of its own user namespace reaches the bridge."""
    script = "ping -c 1 -W 5 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') >/dev/null && echo reached"
    assert onggi("run", "--rm", "--userns", "auto", IMAGE, "sh", "-c", script).stdout == "reached\n"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Privileged": True}, "privileged mode is incompatible with user namespaces"),
        ({"PidMode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
        ({"NetworkMode": "host"}, "cannot share the host's network namespace when user namespaces are enabled"),
        ({"UsernsMode": "keep-id"}, "keep-id"),
    ],
)
def test_what_does_not_go_together_is_refused_at_create(api: Api, host: dict[str, Any], words: str) -> None:
    """By name, before anything is made."""
    body = {"Image": IMAGE, "HostConfig": {"UsernsMode": "auto", **host}}
    answer = api("POST", "/containers/create", body)
    assert answer.status in (400, 501)
    assert words in json.loads(answer.body)["message"]


def test_nothing_is_left_of_it(api: Api, engine: EngineProcess) -> None:
    """Mounts, groups, processes and directories are as before; links go a little later, with their namespace."""
    before = engine.leftovers()
    container = create(api, "true", AutoRemove=False)
    api.ok("POST", f"/containers/{container}/start")
    api.ok("POST", f"/containers/{container}/wait")
    api.ok("DELETE", f"/containers/{container}")
    left = engine.leftovers().since(before)
    assert set(left) <= {"links"}, left
