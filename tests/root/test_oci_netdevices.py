"""Links of the host's that a container is given: `linux.netDevices`, with a veth end as the device."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import plans
from harness.namespace import NetworkNamespace
from harness.oci import SECONDS, Oci

Run = Callable[..., subprocess.CompletedProcess[str]]
KINDS = ("mount", "pid", "ipc", "uts")


@pytest.fixture
def host() -> Iterator[NetworkNamespace]:
    """What is the host's network here: a namespace with the device `given`, up, and its other end."""
    made = NetworkNamespace()
    try:
        made.run("ip", "link", "add", "given", "mtu", "1400", "type", "veth", "peer", "other")
        made.run("ip", "link", "set", "given", "address", "02:00:00:00:00:07", "up")
        yield made
    finally:
        made.close()


@pytest.fixture
def run(oci: Oci, host: NetworkNamespace) -> Run:
    """`onggi-oci run` on that host, of a shell with this script and these devices."""

    def start(
        script: str, devices: dict[str, Any], changes: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        oci.configure("/bin/sh", "-c", script, changes={"linux.netDevices": devices, **(changes or {})})
        words = host.words(*oci.words, "run", "-b", str(oci.bundle), "c")
        return subprocess.run(
            words, pass_fds=host.descriptors, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    return start


def links(host: NetworkNamespace) -> set[str]:
    """The names of the host's links."""
    return {link["ifname"] for link in json.loads(host.run("ip", "-json", "link"))}


def test_a_device_is_moved_and_keeps_what_it_is(run: Run, host: NetworkNamespace) -> None:
    """Its MAC, its MTU, and it is up; on the host there is none of that name any more."""
    done = run("ip link show given; cat /sys/class/net/given/operstate", {"given": {}})
    assert done.returncode == 0, done.stderr
    assert "02:00:00:00:00:07" in done.stdout
    assert "mtu 1400" in done.stdout
    assert ",UP" in done.stdout
    assert "given" not in links(host)


@pytest.mark.parametrize("kinds", [KINDS, (*KINDS, "user")])
def test_it_may_have_another_name_inside(run: Run, kinds: tuple[str, ...]) -> None:
    """Renamed in the same message; with a user namespace of its own too."""
    changes = {"linux.namespaces": plans.namespaces(*kinds, "network")}
    if "user" in kinds:
        maps = [{"containerID": 0, "hostID": 0, "size": 65536}]
        changes |= {"linux.uidMappings": maps, "linux.gidMappings": maps}
    done = run("ls /sys/class/net", {"given": {"name": "inner0"}}, changes)
    assert (done.stdout.split(), done.returncode) == (["inner0", "lo"], 0), done.stderr


def test_a_template_lets_the_kernel_count(run: Run) -> None:
    """`eth%d`: the first that is free."""
    done = run("ls /sys/class/net", {"given": {"name": "eth%d"}})
    assert (done.stdout.split(), done.returncode) == (["eth0", "lo"], 0), done.stderr


def test_addresses_that_are_for_good_come_along(run: Run, host: NetworkNamespace) -> None:
    """Global and permanent ones, v4 with its broadcast and v6, though the link goes down on its way; no others."""
    for address in (
        ["10.1.2.3/24", "brd", "10.1.2.254"],
        ["10.9.0.1/32", "scope", "link"],
        ["10.8.0.1/24", "valid_lft", "1000", "preferred_lft", "1000"],
        ["fd00::7/64"],
    ):
        host.run("ip", "address", "add", *address, "dev", "given")
    done = run("ip address show dev given", {"given": {}})
    found = [line.split() for line in done.stdout.splitlines() if "inet" in line]
    assert ["inet", "10.1.2.3/24", "brd", "10.1.2.254", "scope", "global", "given"] in found
    assert [words[1] for words in found if words[1].startswith(("10.", "fd00"))] == ["10.1.2.3/24", "fd00::7/64"]


def test_it_stays_in_a_namespace_that_is_joined(run: Run, host: NetworkNamespace) -> None:
    """The namespace's owner has it from then on; the runtime takes nothing back."""
    other = NetworkNamespace()
    try:
        changes = {"linux.namespaces": plans.namespaces(*KINDS, network=_held(other))}
        done = run("ls /sys/class/net", {"given": {"name": "moved"}}, changes)
        assert (sorted(done.stdout.split()), done.returncode) == (["lo", "moved"], 0), done.stderr
        assert links(other) == {"lo", "moved"}
        assert links(host) == {"lo", "other"}
    finally:
        other.close()


def _held(namespace: NetworkNamespace) -> str:
    """A path to a namespace that is held by a descriptor of ours."""
    return f"/proc/{os.getpid()}/fd/{namespace.descriptor}"


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ({"nowhere": {}}, "no network device of this name"),
        ({"given": {"name": "lo"}}, "there is a network device lo in the container"),
        ({"given": {"name": "a/b"}}, "invalid network device name"),
        ({"given": {"name": "sixteen-letters-"}}, "invalid network device name"),
        ({"": {}}, "invalid network device name"),
    ],
)
def test_what_cannot_be_moved_stays_on_the_host(
    run: Run, oci: Oci, host: NetworkNamespace, devices: dict[str, Any], words: str
) -> None:
    """The start fails and says why; the link is there as before, up."""
    done = run("true", devices)
    assert done.returncode == 1
    assert words in done.stderr
    assert links(host) == {"lo", "given", "other"}
    (link,) = json.loads(host.run("ip", "-json", "link", "show", "given"))
    assert "UP" in link["flags"]
    assert oci.left() == []


def test_without_a_network_namespace_there_is_nowhere_to_move_it(run: Run, host: NetworkNamespace) -> None:
    """It is the host's already."""
    done = run("true", {"given": {}}, {"linux.namespaces": plans.namespaces(*KINDS)})
    assert "without a NET namespace" in done.stderr
    assert links(host) == {"lo", "given", "other"}
