"""What CRIU is told: from the flags, from the plan of the container's start. Whole plans, nobody's kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from onggi.errors import Invalid, NotFound, OnggiError, Unsupported
from onggi.runc import criu_flags
from onggi.runc.words import Options
from onggi.runtime import dump, restore
from onggi.runtime.dump import Found, Wish
from onggi.runtime.plan import build
from onggi.runtime.request import from_json

ALWAYS = {"manage_cgroups_mode": 6, "empty_ns": 0x40000000}
FOUND = Found(7, "/g/c", "/sys/fs/cgroup/g/c", [{"key": "/d", "val": "/d"}], ["net[5]:extRootNetNS"], ["pipe:[1]"] * 3)


def wished(**flags: str) -> Wish:
    return criu_flags.wish(Options({name.replace("_", "-"): [value] for name, value in flags.items()}))


def test_without_flags_the_images_go_below_the_working_directory() -> None:
    """As runc has it."""
    assert wished() == Wish(os.path.abspath("checkpoint"), "", ALWAYS)


@pytest.mark.parametrize(
    ("flag", "option"),
    [
        ("leave-running", "leave_running"),
        ("tcp-established", "tcp_established"),
        ("tcp-skip-in-flight", "tcp_skip_in_flight"),
        ("link-remap", "link_remap"),
        ("ext-unix-sk", "ext_unix_sk"),
        ("shell-job", "shell_job"),
        ("file-locks", "file_locks"),
        ("auto-dedup", "auto_dedup"),
        ("lazy-pages", "lazy_pages"),
    ],
)
def test_a_flag_is_crius_option(flag: str, option: str) -> None:
    """Only when it is given, and not as false."""
    assert wished(**{flag: ""}).options == {**ALWAYS, option: True}
    assert wished(**{flag: "false"}).options == ALWAYS


@pytest.mark.parametrize(("mode", "number"), [("ignore", 0), ("soft", 3), ("full", 4), ("strict", 5)])
def test_the_modes_of_cgroups(mode: str, number: int) -> None:
    """By CRIU's numbers."""
    assert wished(manage_cgroups_mode=mode).options["manage_cgroups_mode"] == number


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.1:27", {"address": "10.0.0.1", "port": 27}),
        ("[::1]:65535", {"address": "::1", "port": 65535}),
        ("host.name:1", {"address": "host.name", "port": 1}),
    ],
)
def test_a_page_server_is_an_address_and_a_port(text: str, server: dict[str, Any]) -> None:
    """Of both families."""
    assert wished(page_server=text).options["ps"] == server


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"manage_cgroups_mode": "none"}, "invalid manage-cgroups-mode value"),
        ({"empty_ns": "ipc"}, 'namespace "ipc" is not supported'),
        ({"parent_path": "/absolute"}, "--parent-path must be relative"),
        ({"parent_path": "../not-there"}, "invalid --parent-path"),
        ({"page_server": "27277"}, "Use --page-server ADDRESS:PORT"),
        ({"page_server": ":27277"}, "Use --page-server ADDRESS:PORT"),
        ({"page_server": "a:"}, "Use --page-server ADDRESS:PORT"),
        ({"page_server": "a:b"}, "Invalid port number"),
        ({"page_server": "a:65536"}, "Invalid port number"),
        ({"lazy_pages": "", "status_fd": "99999"}, "invalid --status-fd argument 99999"),
        ({"lazy_pages": "", "status_fd": "x"}, "is no whole number"),
    ],
)
def test_what_cannot_be_meant_is_named(flags: dict[str, str], told: str) -> None:
    """In runc's words where it has some."""
    with pytest.raises((Invalid, NotFound)) as found:
        wished(**flags)
    assert told in str(found.value)


def test_a_status_descriptor_must_take_what_is_written() -> None:
    """One that can only be read is refused."""
    with open(os.devnull, "rb") as file, pytest.raises(Invalid, match="not writable"):
        wished(lazy_pages="", status_fd=str(file.fileno()))


def test_a_parent_is_relative_to_the_images(tmp_path: Path) -> None:
    """And lets CRIU track memory."""
    (tmp_path / "before").mkdir()
    options = wished(image_path=str(tmp_path / "now"), parent_path="../before").options
    assert options == {**ALWAYS, "parent_img": "../before", "track_mem": True}


def test_the_plan_of_a_checkpoint() -> None:
    """Directories, streams, CRIU."""
    wish = Wish("/images", "/work", {**ALWAYS, "shell_job": True})
    assert [step.describe() for step in dump.plan(wish, FOUND, {})] == [
        "mkdir -p -m 700 /images",
        "mkdir -p -m 700 /work",
        """echo '["pipe:[1]", "pipe:[1]", "pipe:[1]"]' > /images/descriptors.json""",
        "criu dump --images-dir /images --work-dir /work --tree 7 -v4 --log-file dump.log --orphan-pts-master"
        " --config /etc/criu/runc.conf --manage-cgroups=soft --empty-ns net --shell-job --external net[5]:extRootNetNS"
        " --freeze-cgroup /sys/fs/cgroup/g/c --external mnt[/d]:/d",
    ]


def test_a_dump_of_the_memory_only_says_nothing_of_mounts() -> None:
    """And writes no descriptors.json: it can not be restored."""
    wish = Wish("/images", "", ALWAYS, only_memory=True)
    assert [step.describe().partition(" --tree")[0] for step in dump.plan(wish, FOUND, {})] == [
        "mkdir -p -m 700 /images",
        "criu pre-dump --images-dir /images",
    ]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({}, "--config /etc/criu/runc.conf"),
        ({"org.criu.config": "/etc/criu/mine.conf"}, "--config /etc/criu/mine.conf"),
        ({"org.criu.config": ""}, ""),
    ],
)
def test_the_annotation_names_crius_configuration(annotations: dict[str, str], words: str) -> None:
    """Another file than runc's, or none at all."""
    *_, step = dump.plan(Wish("/images", "", ALWAYS), FOUND, annotations)
    assert ("--config" in step.describe()) == bool(words)
    assert words in step.describe()


def _born(pid: int, namespaces: dict[str, int]) -> None:
    raise AssertionError(f"a plan is not carried out: {pid} {namespaces}")


def restored(changes: dict[str, Any], streams: list[str], **more: Any) -> list[str]:
    """The plan of a restore of the plain container with changes, as lines."""
    document = plans.changed(plans.request_document(), {"overlay": None, "links": [], **changes})
    request = from_json(document)
    wish = Wish("/images", "", {**ALWAYS, **more})
    return [
        step.describe() for step in restore.plan(build(request, plans.V2), request, wish, streams, "/state/c", _born)
    ]


def test_the_plan_of_a_restore() -> None:
    """The group and its limits as a start has them; the mount points; CRIU with what is the host's."""
    bind = plans.mount("/etc/x/../hosts", "bind", ["bind", "ro"], "/srv/hosts")
    changes = {
        "config.mounts": [plans.mount("/proc", "proc", plans.QUIET), bind],
        "config.linux.namespaces": [*plans.namespaces("mount", "pid"), {"type": "network", "path": "/run/netns/n"}],
        "config.linux.resources": {"pids": {"limit": 5}},
    }
    lines = restored(changes, ["/dev/null", "pipe:[5]", "socket:[6]"])
    assert lines[0].startswith("mkdir -p /sys/fs/cgroup/")
    assert any("pids.max" in line for line in lines[1:-2])
    assert lines[-2].startswith("unshare --mount sh -c 'mount --rbind")
    assert "mount --bind -o bind,ro /srv/hosts" in lines[-2] or "/srv/hosts /etc/x/../hosts" in lines[-2]
    criu = lines[-1]
    assert criu.startswith("criu restore --images-dir /images -v4 --log-file restore.log")
    assert "--external mnt[/etc/hosts]:/srv/hosts --external mnt[/dev/null]:/dev/null" in criu
    assert "--external /run/netns/n:extRootNetNS --inherit-fd fd[1]:pipe:[5]" in criu
    assert "fd[0]" not in criu
    assert "fd[2]" not in criu


def test_a_terminals_streams_are_not_inherited() -> None:
    """CRIU sends its master; pipes of ours have nothing to do with it."""
    assert "--inherit-fd" not in restored({"config.process.terminal": True}, ["pipe:[1]"] * 3)[-1]


def test_namespaces_are_joined_or_inherited() -> None:
    """Network and pid by descriptor, others by path; a cgroup namespace CRIU cannot join."""
    kinds = [{"type": kind, "path": f"/p/{kind}"} for kind in ("network", "pid", "ipc", "uts", "time")]
    changes = {"config.linux.namespaces": [*plans.namespaces("mount"), *kinds]}
    criu = restored(changes, [])[-1]
    assert "--join-ns ipc:/p/ipc --join-ns uts:/p/uts --join-ns time:/p/time" in criu
    assert "--external /p/network:extRootNetNS --external /p/pid:extRootPidNS" in criu
    kinds.append({"type": "cgroup", "path": "/p/cgroup"})
    with pytest.raises(Unsupported, match="CRIU joins no cgroup namespace"):
        restored({"config.linux.namespaces": [*plans.namespaces("mount"), *kinds]}, [])


@pytest.mark.parametrize(("text", "told"), [("{}", "no list"), ("[1]", "no list"), ("[", "read `")])
def test_streams_that_are_no_list_of_words_are_refused(tmp_path: Path, text: str, told: str) -> None:
    """Images come from anywhere."""
    (tmp_path / "descriptors.json").write_text(text)
    with pytest.raises(OnggiError) as found:
        restore.read_streams(str(tmp_path))
    assert told.replace("no list", "not a list of strings") in str(found.value)
