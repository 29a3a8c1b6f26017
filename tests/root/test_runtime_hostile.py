"""Images and shared directories that try to lead the runtime out of the container's root. None may succeed."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from harness.jar import Jar, make_root
from onggi.errors import OnggiError


@pytest.fixture
def outside(jar: Jar, tmp_path: Path) -> Path:
    """A directory of the host that no container may change or see."""
    (tmp_path / "secret").write_text("evil:x:0:0::/:/bin/sh\n")
    return tmp_path


def layered(
    jar: Jar, tmp_path: Path, make: Callable[[Path], object], changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Changes that put a layer of the attacker's on top of busybox."""
    evil = tmp_path / "evil"
    evil.mkdir()
    make(evil)
    return {"overlay.lowers": [str(evil), str(jar.lower)], **(changes or {})}


def untouched(outside: Path) -> bool:
    """Nothing was made in the host's directory."""
    return sorted(p.name for p in outside.iterdir() if p.name != "evil") == ["secret"]


def climbs(to: Path) -> list[str]:
    """Ways to name a directory of the host in a symbolic link."""
    return [str(to), "../" * 20 + str(to)[1:], f"/proc/1/root{to}", f"/proc/self/cwd{to}"]


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_link_in_place_of_proc_or_sys_is_refused(jar: Jar, outside: Path, name: str) -> None:
    """What every later check relies on is never mounted through a link (CVE-2025-52881)."""
    changes = layered(jar, outside, lambda evil: (evil / name).symlink_to("/tmp"))
    error = jar.failure("/bin/true", changes=changes)
    assert "ELOOP" in str(error)
    assert f"/{name}" in error.facts["step"]
    assert jar.traces() == set()


@pytest.mark.parametrize("way", range(4))
@pytest.mark.parametrize("name", ["dev", "etc"])
def test_a_link_in_place_of_a_directory_stays_inside(jar: Jar, outside: Path, name: str, way: int) -> None:
    """/dev and /etc as links: what is made there is made inside, or the start is refused; the host keeps its own."""
    (jar.root / "hosts").write_text("inside\n")
    binds = [*plans.base_mounts(), plans.mount("/etc/hosts", "bind", ["rbind"], f"{jar.root}/hosts")]
    link = climbs(outside)[way]
    changes = layered(jar, outside, lambda evil: (evil / name).symlink_to(link), {"config.mounts": binds})
    try:
        running = jar.start(jar.document("/bin/true", changes=changes))
    except OnggiError:
        assert jar.traces() == set()
    else:
        running.wait()
    assert untouched(outside)


def test_a_link_that_dangles_is_filled_inside(jar: Jar, outside: Path) -> None:
    """/etc/hosts → /run/made/hosts: made inside the root, as Docker does for resolv.conf."""
    (jar.root / "hosts").write_text("inside\n")
    binds = [*plans.base_mounts(), plans.mount("/etc/hosts", "bind", ["rbind"], f"{jar.root}/hosts")]

    def make(evil: Path) -> None:
        (evil / "etc").mkdir()
        (evil / "etc/hosts").symlink_to("/run/made/hosts")

    changes = layered(jar, outside, make, {"config.mounts": binds})
    assert jar.shell("cat /etc/hosts; readlink /etc/hosts; cat /run/made/hosts", changes) == (
        "inside\n/run/made/hosts\ninside\n"
    )


def test_links_in_a_round_end(jar: Jar, outside: Path) -> None:
    """A destination that leads to itself is ELOOP, named by its step."""

    def make(evil: Path) -> None:
        (evil / "a").symlink_to("b")
        (evil / "b").symlink_to("a")

    binds = [*plans.base_mounts(), plans.mount("/a/x", "bind", ["rbind"], str(jar.lower))]
    error = jar.failure("/bin/true", changes=layered(jar, outside, make, {"config.mounts": binds}))
    assert (error.facts["errno"], error.facts["call"]) == (40, "openat2")
    assert "/a/x" in error.facts["step"]


def test_dangling_links_in_a_round_end(jar: Jar, outside: Path) -> None:
    """Each link names a missing directory below the other: the walk gives up, it does not run for ever."""

    def make(evil: Path) -> None:
        (evil / "a").symlink_to("/b/x")
        (evil / "b").symlink_to("/a/x")

    binds = [*plans.base_mounts(), plans.mount("/a", "bind", ["rbind"], str(jar.lower))]
    error = jar.failure("/bin/true", changes=layered(jar, outside, make, {"config.mounts": binds}))
    assert error.facts["errno"] == 40


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "outside"])
def test_a_passwd_that_is_no_file_is_not_read(jar: Jar, outside: Path, kind: str) -> None:
    """A fifo would block for ever, a link out would tell the host's users: the name is simply not found."""

    def make(evil: Path) -> None:
        (evil / "etc").mkdir()
        match kind:
            case "fifo":
                os.mkfifo(evil / "etc/passwd")
            case "directory":
                (evil / "etc/passwd").mkdir()
            case "device":
                os.mknod(evil / "etc/passwd", stat.S_IFCHR | 0o666, os.makedev(1, 5))
            case _:
                (evil / "etc/passwd").symlink_to(outside / "secret")

    error = jar.failure("/bin/true", changes=layered(jar, outside, make, {"user": "evil"}))
    assert error.code == "user.not-found"


@pytest.mark.parametrize("link", ["/proc/self/fd/5", "/proc/self/cwd", "/proc/1/root", "/proc/self/fd/5/../../.."])
def test_a_working_directory_that_leads_to_a_descriptor_is_refused(jar: Jar, outside: Path, link: str) -> None:
    """CVE-2024-21626: the host's directory behind one of our descriptors."""
    changes = layered(jar, outside, lambda evil: (evil / "wd").symlink_to(link), {"config.process.cwd": "/wd"})
    error = jar.failure("/bin/pwd", changes=changes)
    assert "ELOOP" in str(error)


@pytest.mark.parametrize("number", range(3, 12))
def test_no_descriptor_of_ours_is_a_working_directory(jar: Jar, number: int) -> None:
    """The same by the configuration itself, without a link."""
    error = jar.failure("/bin/pwd", changes={"config.process.cwd": f"/proc/self/fd/{number}"})
    assert error.kind in ("kernel", "start-failed", "invalid")


def test_masks_do_not_follow_links_out(jar: Jar, outside: Path) -> None:
    """A masked path that is a link out of the root masks nothing outside, and the container starts."""

    def make(evil: Path) -> None:
        (evil / "out").symlink_to(outside / "secret")
        (evil / "dangling").symlink_to("/nowhere")

    changes = layered(
        jar, outside, make, {"config.linux.maskedPaths": ["/out", "/dangling"], "config.linux.readonlyPaths": ["/out"]}
    )
    assert jar.shell("cat /out 2>&1 || true", changes) == "cat: can't open '/out': No such file or directory\n"


def test_a_mask_that_cannot_be_put_on_ends_the_start(jar: Jar, outside: Path) -> None:
    """Links in a round: a container without its masks does not run."""
    changes = layered(jar, outside, lambda evil: (evil / "a").symlink_to("a"), {"config.linux.maskedPaths": ["/a"]})
    assert "ELOOP" in str(jar.failure("/bin/true", changes=changes))


def test_masks_use_the_hosts_null_device(jar: Jar, outside: Path) -> None:
    """A regular file as the image's /dev/null must not end up over /proc/kcore (CVE-2025-31133)."""

    def make(evil: Path) -> None:
        (evil / "dev").mkdir()
        (evil / "dev/null").write_text("attack")

    mounts = [entry for entry in plans.base_mounts() if not entry["destination"].startswith("/dev")]
    changes = layered(jar, outside, make, {"config.mounts": mounts})
    assert "something else in its place" in str(jar.failure("/bin/true", changes=changes))


def test_an_image_with_its_own_device_nodes_runs(jar: Jar, outside: Path) -> None:
    """The nodes that are right are taken as they are."""

    def make(evil: Path) -> None:
        (evil / "dev").mkdir()
        os.mknod(evil / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    mounts = [entry for entry in plans.base_mounts() if not entry["destination"].startswith("/dev")]
    changes = layered(jar, outside, make, {"config.mounts": mounts, "config.linux.maskedPaths": ["/proc/uptime"]})
    out = jar.shell("stat -c %t:%T /dev/null /dev/zero /proc/uptime", changes)
    assert out.split() == ["1:3", "1:5", "1:3"]


def test_a_device_node_with_a_wrong_number_is_refused(jar: Jar, outside: Path) -> None:
    """The kernel's memory under the name of /dev/null."""

    def make(evil: Path) -> None:
        (evil / "dev").mkdir()
        os.mknod(evil / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 1))

    mounts = [entry for entry in plans.base_mounts() if not entry["destination"].startswith("/dev")]
    error = jar.failure("/bin/true", changes=layered(jar, outside, make, {"config.mounts": mounts}))
    assert "/dev/null" in str(error)


def test_nothing_is_mounted_inside_the_containers_proc(jar: Jar) -> None:
    """A mount over /proc/self/attr would deceive those who check what they write there (CVE-2019-16884)."""
    binds = [*plans.base_mounts(), plans.mount("/proc/self/attr", "bind", ["rbind"], str(jar.lower))]
    error = jar.failure("/bin/true", changes={"config.mounts": binds})
    assert "/proc" in str(error)


def test_lxcfs_may_cover_its_files_of_proc(jar: Jar) -> None:
    """The few files that are known to be harmless may be covered."""
    (jar.root / "uptime").write_text("1 2\n")
    binds = [*plans.base_mounts(), plans.mount("/proc/uptime", "bind", ["bind"], f"{jar.root}/uptime")]
    assert jar.shell("cat /proc/uptime", {"config.mounts": binds}) == "1 2\n"


def test_a_link_that_is_swapped_during_the_start_leads_nowhere_else(jar: Jar, outside: Path) -> None:
    """CVE-2021-30465: while mounts are made, another process swaps the destination between inside and outside."""
    root = outside / "evil"
    make_root(root)
    (root / "inside").mkdir()
    for name, to in (("in", "/inside"), ("out", str(outside)), ("dangling", f"{outside}/made")):
        (root / name).symlink_to(to)
    (jar.root / "source").mkdir(exist_ok=True)
    (jar.root / "source/marker").touch()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for name in ("in", "out", "dangling"):
                os.link(root / name, root / "next", follow_symlinks=False)
                os.rename(root / "next", root / "data")

    binds = [*plans.base_mounts(), plans.mount("/data", "bind", ["rbind"], f"{jar.root}/source")]
    (root / "data").symlink_to("/inside")
    attacker = threading.Thread(target=swap)
    attacker.start()
    seen = set()
    try:
        for _ in range(20):
            changes = {"overlay": None, "config.mounts": binds, "config.root.path": str(root)}
            try:
                seen.add(jar.shell(f"ls /inside {outside} {outside}/made 2>/dev/null || true", changes))
            except OnggiError as error:
                seen.add(f"refused: {error.facts.get('errno')}")
    finally:
        stop.set()
        attacker.join()
    assert untouched(outside)
    assert not any("secret" in text for text in seen)
    assert any("marker" in text for text in seen)
