"""Containers with ids of their own: all eight namespaces at once, and who owns what on either side."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from harness.jar import Jar, Running

FIRST = 1_000_000
MAP = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
EVERY = ("user", "mount", "pid", "ipc", "uts", "network", "cgroup", "time")
FILES = ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup")


def own(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Changes that give a container all eight namespaces and ids of its own."""
    base = {
        "config.linux.namespaces": plans.namespaces(*EVERY),
        "config.linux.uidMappings": MAP,
        "config.linux.gidMappings": MAP,
    }
    return {**base, **(changes or {})}


def sleeper(jar: Jar, changes: Mapping[str, Any] | None = None) -> Running:
    """A container that stays."""
    return jar.start(jar.document("/bin/sleep", "1000", changes=own(changes)))


def test_all_eight_namespaces_at_once(jar: Jar) -> None:
    """Every namespace is another than the host's, the time namespace by the exec."""
    out = jar.shell("cd /proc/self/ns; stat -L -c %i user mnt pid ipc uts net cgroup time", own())
    hosts = [os.stat(f"/proc/self/ns/{kind}").st_ino for kind in (*FILES, "time")]
    assert all(int(inside) != outside for inside, outside in zip(out.split(), hosts, strict=True))


def test_root_inside_is_nobody_outside(jar: Jar) -> None:
    """The host sees the mapped id; inside it is 0, with the map to prove it."""
    running = sleeper(jar)
    status = Path(f"/proc/{running.pid}/status").read_text()
    maps = [Path(f"/proc/{running.pid}/{file}").read_text().split() for file in ("uid_map", "gid_map")]
    running.close()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    gids = next(line for line in status.splitlines() if line.startswith("Gid:")).split()[1:]
    assert set(uids) == set(gids) == {str(FIRST)}
    assert maps == [["0", str(FIRST), "65536"]] * 2
    assert jar.shell("id -u; id -g", own()).split() == ["0", "0"]


def test_the_image_belongs_to_root_inside_and_to_root_on_disk(jar: Jar) -> None:
    """Layers are shown through the map: nothing is chowned, nothing copied."""
    assert jar.shell("stat -c %u:%g / /bin/busybox /etc/passwd", own()).split() == ["0:0"] * 3
    assert (jar.lower / "etc/passwd").stat().st_uid == 0


def test_what_it_makes_has_the_ids_of_the_image_on_disk(jar: Jar) -> None:
    """Files made, changed and copied up are owned in the upper directory as they are inside: a commit needs no shift."""
    document = jar.document("/bin/sh", "-c", "echo x >/new; chown 33:44 /new; echo more >>/etc/group; mkdir /d; rm /bin/true",
                            changes=own())  # fmt: skip
    assert jar.start(document).wait()["code"] == 0
    upper = Path(document["overlay"]["upper"])
    owners = {name: (upper / name).lstat().st_uid for name in ("new", "etc/group", "d", "bin/true")}
    assert owners == {"new": 33, "etc/group": 0, "d": 0, "bin/true": 0}


def test_an_id_beyond_the_map_cannot_be_taken(jar: Jar) -> None:
    """65,536 ids and no more."""
    out = jar.shell("touch /f; chown 65535 /f; stat -c %u /f; chown 65536 /f 2>&1; true", own())
    assert out == "65535\nchown: /f: Invalid argument\n"


def test_changes_in_memory_are_mapped_too(jar: Jar) -> None:
    """The tmpfs that holds them is shown through the same map."""
    document = jar.document("/bin/sh", "-c", "echo x >/new; stat -c %u /new", changes=own({"overlay.in_memory": True}))
    running = jar.start(document)
    assert running.wait()["code"] == 0
    assert running.output() == "0\n"
    assert list(Path(document["overlay"]["upper"]).iterdir()) == []


def test_a_bind_mount_keeps_the_hosts_ids(jar: Jar) -> None:
    """A directory of root's belongs to nobody inside and cannot be written; one of the mapped root's can."""
    for name, owner in (("theirs", 0), ("ours", FIRST)):
        (jar.root / name).mkdir(exist_ok=True)
        os.chown(jar.root / name, owner, owner)
    binds = [plans.mount(f"/{name}", "bind", ["rbind"], f"{jar.root}/{name}") for name in ("theirs", "ours")]
    script = "stat -c %u /theirs /ours; touch /ours/x; touch /theirs/x 2>&1; true"
    out = jar.shell(script, own({"config.mounts": [*plans.base_mounts(), *binds]}))
    assert out == "65534\n0\ntouch: /theirs/x: Permission denied\n"
    assert (jar.root / "ours/x").stat().st_uid == FIRST


def test_a_bind_mount_with_idmap_is_shown_through_the_map(jar: Jar) -> None:
    """`idmap`: root's on disk is root's inside, and what is written becomes root's on disk."""
    (jar.root / "shown").mkdir()
    bind = plans.mount("/shown", "bind", ["rbind", "idmap"], f"{jar.root}/shown")
    out = jar.shell("stat -c %u /shown; touch /shown/x", own({"config.mounts": [*plans.base_mounts(), bind]}))
    assert out == "0\n"
    assert (jar.root / "shown/x").stat().st_uid == 0


def test_a_source_that_root_inside_may_not_reach_is_shown_all_the_same(jar: Jar) -> None:
    """The keeper opens it: a private directory above does not matter, and shows nothing else."""
    private = jar.root / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 4711, 4711)
    (private / "file").write_text("shown\n")
    (private / "file").chmod(0o644)
    bind = plans.mount("/file", "bind", ["bind"], f"{private}/file")
    assert jar.shell("cat /file", own({"config.mounts": [*plans.base_mounts(), bind]})) == "shown\n"


def test_devices_are_the_hosts(jar: Jar) -> None:
    """mknod(2) is refused inside; the six promised devices are there and work."""
    script = "stat -c %t:%T /dev/null /dev/zero /dev/tty; head -c 3 /dev/zero | wc -c; echo x >/dev/null"
    script += "; mknod /n c 1 3 2>&1; true"
    out = jar.shell(script, own()).splitlines()
    assert out == ["1:3", "1:5", "5:0", "3", "mknod: /n: Operation not permitted"]


def test_a_device_name_does_not_show_another_file_of_the_host(jar: Jar) -> None:
    """A device listed under the name of a file of the host's is that device, made for this container, not the file."""
    place = str(jar.root / "lower/etc/passwd")
    device = {"path": place, "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4}
    out = jar.shell(f"stat -c '%t:%T %a %u:%g' {place}", own({"config.linux.devices": [device]}))
    assert out == "1:5 640 3:4\n"


def test_sysctls_hostname_and_queues_work(jar: Jar) -> None:
    """Each namespace belongs to the new user namespace, so its root may set it up."""
    changes = own({"config.linux.sysctl": {"kernel.shmmax": "65536", "net.ipv4.ip_forward": "1"}})
    out = jar.shell(
        "hostname; cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_forward; touch /dev/mqueue/q && ls /dev/mqueue",
        changes,
    )
    assert out.split() == ["jar", "65536", "1", "q"]


def test_the_programs_streams_can_be_opened_again(jar: Jar) -> None:
    """/dev/stdout is the container's own, whoever root is outside."""
    assert jar.shell("echo a >/dev/stdout; echo b >/dev/stderr", own()) == "a\nb\n"


def test_a_terminal_works(jar: Jar) -> None:
    """Its devpts is its own, its console belongs to its root."""
    document = jar.document(
        "/bin/sh", "-c", "tty; stat -c %u $(tty) /dev/console", changes=own({"config.process.terminal": True})
    )
    running = jar.start(document)
    running.wait()
    assert running.output().split() == ["/dev/pts/0", "0", "0"]


def test_limits_hold_inside(jar: Jar) -> None:
    """The group is joined before the init is nobody."""
    running = sleeper(jar)
    members = jar.layout.pids(running.document["config"]["linux"]["cgroupsPath"])
    running.close()
    assert running.pid in members


def test_the_hosts_side_cannot_be_written(jar: Jar) -> None:
    """Cgroups are read-only, kernel switches closed, other processes of the host not there."""
    script = "for f in /sys/fs/cgroup/x /proc/sys/kernel/panic /proc/sysrq-trigger; do (echo 1 >$f) 2>/dev/null || echo no; done"
    assert jar.shell(script, own()).split() == ["no", "no", "no"]


def test_an_unprivileged_user_inside(jar: Jar) -> None:
    """USER is looked up in the image and mapped."""
    running = sleeper(jar, {"user": "who"})
    (line,) = [x for x in Path(f"/proc/{running.pid}/status").read_text().splitlines() if x.startswith("Uid:")]
    running.close()
    assert set(line.split()[1:]) == {str(FIRST + 1234)}


def test_nothing_is_left_when_it_fails(jar: Jar) -> None:
    """A start that fails in the keeper's part, after the clone."""
    error = jar.failure("/bin/true", changes=own({"overlay.lowers": ["/nonexistent/layer"]}))
    assert "/nonexistent/layer" in error.facts["step"]
    assert jar.traces() == set()


@pytest.mark.parametrize("users", [False, True])
def test_time_offsets_are_in_force(jar: Jar, users: bool) -> None:
    """The container's clocks are off by what was asked for, from its first instruction."""
    offsets = {"boottime": {"secs": 864000, "nanosecs": 0}, "monotonic": {"secs": 86400, "nanosecs": 5}}
    changes: dict[str, Any] = {"config.linux.timeOffsets": offsets}
    changes = (
        own(changes) if users else {**changes, "config.linux.namespaces": plans.namespaces("mount", "pid", "time")}
    )
    out = jar.shell("cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets", changes)
    uptime, *rest = out.split()
    assert int(uptime) >= 864000
    assert rest == ["monotonic", "86400", "5", "boottime", "864000", "0"]


def test_the_loopback_is_up(jar: Jar) -> None:
    """Its network namespace is of its own making, so it brings 127.0.0.1 up by itself."""
    assert "LOOPBACK,UP" in jar.shell("ip link show lo", own())


def test_more_mounts_than_one_message_carries(jar: Jar) -> None:
    """The kernel passes 253 descriptors at once; the rest follow, in order."""
    for number in range(300):
        (jar.root / f"n{number}").write_text(f"{number}\n")
    binds = [plans.mount(f"/n/{number}", "bind", ["bind"], f"{jar.root}/n{number}") for number in range(300)]
    out = jar.shell("cat /n/0 /n/199 /n/200 /n/299", own({"config.mounts": [*plans.base_mounts(), *binds]}))
    assert out.split() == ["0", "199", "200", "299"]
