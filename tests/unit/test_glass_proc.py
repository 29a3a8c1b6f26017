"""Reading /proc, from a directory that looks like it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onggi.errors import NotFound
from onggi.glass import namespaces, words
from onggi.glass.facts import several, size
from onggi.glass.interfaces import interfaces

STATUS = """\
Name:	nginx
NSpid:	4711	1
CapInh:	0000000000000000
CapPrm:	00000000a80425fb
CapEff:	00000000a80425fb
CapBnd:	00000000a80425fb
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	3
"""
MOUNTINFO = """\
500 499 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a
501 500 0:51 / /proc rw,nosuid - proc proc rw
502 500 8:1 /srv/my\\040data /data ro,relatime master:1 - ext4 /dev/sda1 rw
"""
DEV = """\
Inter-| Receive | Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:     128 2 0 0 0 0 0 0 128 2 0 0 0 0 0 0
  eth0:2048 9 0 0 0 0 0 0 4096 8 0 0 0 0 0 0
"""
ROUTE = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010011AC	0003	0	0	0	00000000	0	0	0
eth0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
"""
FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 172.17.0.2
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
"""
IF_INET6 = "fd000000000000000000000000000002 04 40 00 82     eth0\n"


@pytest.fixture
def proc(tmp_path: Path) -> str:
    """A proc file system with one process, 4711, and ourselves."""
    for process, numbers in (("4711", 4026532000), ("self", 4026531000)):
        (tmp_path / process / "ns").mkdir(parents=True)
        for place, kind in enumerate(namespaces.KINDS):
            if kind != "time":
                number = 4026531000 if kind == "user" else numbers + place
                os.symlink(f"{kind}:[{number}]", tmp_path / process / "ns" / kind)
    for name, text in {
        "status": STATUS,
        "mountinfo": MOUNTINFO,
        "uid_map": "         0     100000      65536\n     70000 5 1\n",
        "cgroup": "3:cpu,cpuacct:/onggi/x\n2:name=systemd:/onggi/x\n0::/onggi/y:z\n",
        "net/dev": DEV,
        "net/route": ROUTE,
        "net/fib_trie": FIB,
        "net/if_inet6": IF_INET6,
    }.items():
        (tmp_path / "4711" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "4711" / name).write_text(text)
    return str(tmp_path)


def test_namespaces(proc: str) -> None:
    """Both numbers of each kind; the same number is shared, a kind that the kernel lacks has none."""
    found = {space.kind: space for space in namespaces.namespaces(4711, proc)}
    assert not found["user"].own
    assert found["pid"].own
    assert (found["pid"].inside, found["pid"].host) == (4026532001, 4026531001)
    assert (found["time"].inside, found["time"].own) == (None, False)


def test_status(proc: str) -> None:
    """Pids from outside to inside, masks, filter and no_new_privs."""
    got = namespaces.status(4711, proc)
    assert (got.name, got.pids, got.bounding, got.seccomp, got.filters, got.no_new_privs) == (
        "nginx", (4711, 1), 0xA80425FB, 2, 3, True,
    )  # fmt: skip


def test_mounts(proc: str) -> None:
    """Targets, and sources with their escapes undone."""
    root, _, data = namespaces.mounts(4711, proc)
    assert root.kind == "overlay"
    assert (data.target, data.root, data.source) == ("/data", "/srv/my data", "/dev/sda1")
    assert [fact.text for fact in words.mount_facts((data,))] == ["/srv/my data of /dev/sda1 (ext4), read-only"]


def test_cgroup_paths_may_hold_colons(proc: str) -> None:
    """A line is cut at its first two colons."""
    assert namespaces.cgroups(4711, proc) == {
        "cpu": "/onggi/x", "cpuacct": "/onggi/x", "name=systemd": "/onggi/x", "": "/onggi/y:z",
    }  # fmt: skip


def test_the_id_map_in_words(proc: str) -> None:
    """A range and a single id."""
    facts = words.id_facts(namespaces.id_map(4711, proc), own=True)
    assert [fact.text for fact in facts] == [
        "0 to 65535 inside are 100000 to 165535 outside",
        "70000 inside is 5 outside",
    ]


def test_interfaces(proc: str) -> None:
    """Addresses come to the interface in whose network they are; broadcasts are no addresses."""
    lo, eth0 = interfaces(4711, proc)
    assert lo.addresses == ("127.0.0.1/8",)
    assert eth0.addresses == ("172.17.0.2/16", "fd00::2/64")
    assert (eth0.gateway, eth0.received, eth0.sent) == ("172.17.0.1", 2048, 4096)


def test_a_process_that_is_gone(proc: str) -> None:
    """Whoever is gone is not found, whatever is read of it, and left out of a list."""
    for read in (namespaces.namespaces, namespaces.status, namespaces.mounts, interfaces):
        with pytest.raises(NotFound):
            read(1234, proc)
    assert [p.pid for p in namespaces.processes([1234, 4711], proc)] == [1]


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (64 << 20, "64 MiB"), (1536, "1.5 KiB")])
def test_sizes(count: int, text: str) -> None:
    """Bytes in the unit that fits."""
    assert size(count) == text


def test_numbers_of_things() -> None:
    """One thing, several things."""
    assert (several(1, "filter"), several(2, "filter"), several(2, "process", "processes")) == (
        "1 filter", "2 filters", "2 processes",
    )  # fmt: skip
