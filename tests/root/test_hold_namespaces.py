"""Which namespaces a container has of its own, which it shares, and that the kernel agrees."""

from __future__ import annotations

import os
from typing import Any

import pytest

from harness.api import Api
from harness.box import Box, namespaces_of, status_of
from harness.engine import EngineProcess

OWN = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}


def differing(pid: int, other: int | str) -> set[str]:
    """The kinds in which two processes live in different namespaces."""
    mine, theirs = namespaces_of(pid), namespaces_of(other)
    return {kind for kind in mine if mine[kind] != theirs[kind]}


@pytest.fixture
def host_pid(engine: EngineProcess) -> int:
    """The engine's own process: it is in the host's namespaces, its network aside, which is the host's to its containers."""
    assert engine.process is not None
    return engine.process.pid


def test_a_default_container_shares_no_namespace_but_the_users(api: Api, host_pid: int) -> None:
    """Seven namespaces are its own; the user namespace is the host's."""
    box = Box.run(api, "sleep", "60")
    assert differing(box.pid, host_pid) == OWN
    box.remove()


@pytest.mark.parametrize(
    ("field", "kind"),
    [("NetworkMode", "net"), ("PidMode", "pid"), ("IpcMode", "ipc"), ("UTSMode", "uts"), ("CgroupnsMode", "cgroup")],
)
def test_a_namespace_of_the_host_is_the_hosts(api: Api, host_pid: int, field: str, kind: str) -> None:
    """`--network host` and its kin leave exactly that namespace the host's."""
    box = Box.run(api, "sleep", "60", host={field: "host"})
    assert differing(box.pid, host_pid) == OWN - {kind}
    box.remove()


@pytest.mark.parametrize(("field", "kind"), [("NetworkMode", "net"), ("PidMode", "pid"), ("IpcMode", "ipc")])
def test_a_namespace_of_another_container_is_shared(api: Api, host_pid: int, field: str, kind: str) -> None:
    """`--network container:X` and its kin join exactly that namespace of X."""
    owner = Box.run(api, "sleep", "60", host={"IpcMode": "shareable"})
    guest = Box.run(api, "sleep", "60", host={field: f"container:{owner.id}"})
    assert differing(guest.pid, owner.pid) == OWN - {kind}
    assert differing(guest.pid, host_pid) == OWN
    guest.remove()
    owner.remove()


def test_who_joins_a_pid_namespace_sees_its_processes_and_no_others(api: Api) -> None:
    """In `--pid container:X` pid 1 is X's, and a process of the host has no pid at all."""
    owner = Box.run(api, "sleep", "1234")
    guest = Box.run(api, "sh", "-c", "cat /proc/1/cmdline; ps | wc -l", host={"PidMode": f"container:{owner.id}"})
    assert guest.wait() == 0
    out, _ = guest.output()
    first, _, rest = out.partition("\x001234\x00")
    assert first == "sleep"
    assert int(rest) <= 5  # the head line, sleep, sh, ps, wc
    guest.remove()
    owner.remove()


def test_what_one_writes_to_shared_memory_the_other_reads(api: Api) -> None:
    """`--ipc container:X` shares /dev/shm, as POSIX shared memory needs it."""
    owner = Box.run(api, "sh", "-c", "echo shared >/dev/shm/x; echo up; sleep 60", host={"IpcMode": "shareable"})
    owner.says("up")
    guest = Box.run(api, "cat", "/dev/shm/x", host={"IpcMode": f"container:{owner.id}"})
    assert guest.wait() == 0
    assert guest.output()[0] == "shared\n"
    guest.remove()
    owner.remove()


def test_a_private_ipc_namespace_is_not_shared(api: Api) -> None:
    """400 for `--ipc container:X` unless X said `--ipc shareable`, as Docker."""
    owner = Box.run(api, "sleep", "60")
    guest = Box.create(api, "true", host={"IpcMode": f"container:{owner.id}"})
    answer = guest.try_start()
    assert answer.status == 400
    assert "non-shareable IPC" in answer.message
    guest.remove()
    owner.remove()


@pytest.mark.parametrize("field", ["NetworkMode", "PidMode", "IpcMode"])
def test_a_container_that_does_not_run_has_no_namespaces_to_share(api: Api, field: str) -> None:
    """409, and the guest stays as it was."""
    owner = Box.create(api, "sleep", "60")
    guest = Box.create(api, "true", host={field: f"container:{owner.id}"})
    assert guest.try_start().status == 409
    assert guest.state["Status"] == "created"
    guest.remove()
    owner.remove()


def test_a_process_has_a_pid_on_each_level(api: Api) -> None:
    """NSpid: its pid on the host, then the one inside."""
    box = Box.run(api, "sh", "-c", "sleep 60 & echo up; wait").says("up")
    child = next(pid for pid in box.processes() if pid != box.pid)
    assert status_of(box.pid)["NSpid"].split() == [str(box.pid), "1"]
    outside, inside = status_of(child)["NSpid"].split()
    assert outside == str(child)
    assert 1 < int(inside) < 10
    box.remove()


def test_the_names_of_host_and_container_do_not_mix(api: Api) -> None:
    """A hostname set inside is not set outside."""
    before = os.uname().nodename
    box = Box.run(api, "hostname", Hostname="inside-only")
    assert box.wait() == 0
    assert box.output()[0] == "inside-only\n"
    assert os.uname().nodename == before
    box.remove()


def test_a_sysctl_of_the_network_is_set_for_the_container_alone(api: Api, engine: EngineProcess) -> None:
    """`--sysctl net.…` changes nothing in the engine's network namespace."""
    before = engine.network.run("cat", "/proc/sys/net/ipv4/ip_default_ttl")
    host: dict[str, Any] = {"Sysctls": {"net.ipv4.ip_default_ttl": "77"}}
    box = Box.run(api, "cat", "/proc/sys/net/ipv4/ip_default_ttl", host=host)
    assert box.wait() == 0
    assert box.output()[0] == "77\n"
    assert engine.network.run("cat", "/proc/sys/net/ipv4/ip_default_ttl") == before
    box.remove()
