"""Reading a host's cgroup mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from onggi.errors import Unavailable
from onggi.kernel.cgroup.detect import from_mountinfo

V1_LINES = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:3 - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/systemd/agent,name=systemd
41 31 0:39 / /sys/fs/cgroup/openrc rw,relatime - cgroup openrc rw,name=openrc
50 23 0:29 / /var/lib/elsewhere/cpu rw - cgroup cgroup rw,cpu,cpuacct
"""


def test_v1() -> None:
    """Hierarchies with a controller, and systemd's; one mounted elsewhere too counts once, openrc's not at all."""
    layout = from_mountinfo(V1_LINES)
    assert layout.mode == "v1"
    assert [(m.directory.rpartition("/")[2], m.controllers, m.name) for m in layout.mounts] == [
        ("cpu,cpuacct", ("cpu", "cpuacct"), ""),
        ("memory", ("memory",), ""),
        ("devices", ("devices",), ""),
        ("systemd", (), "systemd"),
    ]


def test_hybrid(tmp_path: Path) -> None:
    """v1 hierarchies first, the v2 tree last, with the controllers that v1 left it and what v2 does by itself."""
    unified = tmp_path / "unified"
    unified.mkdir()
    (unified / "cgroup.controllers").write_text("hugetlb misc\n")
    text = V1_LINES.replace("/sys/fs/cgroup", str(tmp_path)) + f"41 31 0:38 / {unified} rw - cgroup2 cgroup2 rw\n"
    layout = from_mountinfo(text, str(tmp_path))
    assert layout.mode == "hybrid"
    assert layout.mounts[-1].version == 2
    assert layout.mounts[-1].controllers == ("hugetlb", "misc", "freezer")


def test_systemd_s_own_v2_tree_beside_v1(tmp_path: Path) -> None:
    """A v2 tree without controllers still makes a hybrid."""
    (tmp_path / "unified").mkdir()
    text = V1_LINES.replace("/sys/fs/cgroup", str(tmp_path)) + f"41 31 0:38 / {tmp_path}/unified rw - cgroup2 none rw\n"
    assert from_mountinfo(text, str(tmp_path)).mode == "hybrid"


def test_v2(tmp_path: Path) -> None:
    """One tree for everything; devices and freezer are part of v2 itself."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    layout = from_mountinfo(f"31 23 0:28 / {tmp_path} rw - cgroup2 cgroup2 rw,nsdelegate\n", str(tmp_path))
    assert layout.mode == "v2"
    assert layout.mounts[0].controllers == ("cpuset", "cpu", "io", "memory", "pids", "devices", "freezer", "cpuacct")


def test_a_blank_in_the_mount_point(tmp_path: Path) -> None:
    """mountinfo's octal escapes are undone."""
    where = tmp_path / "a b"
    where.mkdir()
    (where / "cgroup.controllers").write_text("pids\n")
    escaped = str(where).replace(" ", "\\040")
    assert from_mountinfo(f"31 23 0:28 / {escaped} rw - cgroup2 c rw\n", str(where)).mounts[0].directory == str(where)


def test_none() -> None:
    """A host without cgroups is told so, with what to do."""
    with pytest.raises(Unavailable) as caught:
        from_mountinfo("31 23 0:28 / /sys rw - sysfs sysfs rw\n")
    assert "mount -t cgroup2" in caught.value.hint
