"""`kernel/path`: nothing that lies below a root leads out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from onggi.errors import KernelError
from onggi.kernel.fd import Fd
from onggi.kernel.path import Resolve, open_in_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree that somebody hostile filled, beside a file that is none of its business."""
    (tmp_path / "secret").write_text("host")
    tree = tmp_path / "root"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/passwd").write_text("inside")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("../../../../etc/passwd")
    (tree / "secret").symlink_to("../secret")
    (tree / "magic").symlink_to("/proc/self/root/etc/passwd")
    return tree


def read(root: Path, path: str, resolve: int | None = None) -> str:
    """What a process would read there."""
    with Fd(os.open(root, os.O_PATH | os.O_DIRECTORY)) as directory:
        extra = {} if resolve is None else {"resolve": resolve}
        with open(open_in_root(directory, path, os.O_RDONLY, **extra)) as file:
            return file.read()


@pytest.mark.parametrize("path", ["etc/passwd", "/etc/passwd", "absolute", "up", "../../etc/passwd", "/../etc/passwd"])
def test_every_way_out_leads_back_in(root: Path, path: str) -> None:
    """Absolute names, absolute links and `..` are resolved as after chroot(2)."""
    assert read(root, path) == "inside"


def test_a_link_to_a_neighbour_of_the_root_finds_nothing(root: Path) -> None:
    """`../secret` from the top of the root is the link itself, so the kernel sees a loop, not the host's file."""
    with pytest.raises(KernelError) as caught:
        read(root, "secret")
    assert caught.value.errno == errno.ELOOP


def test_beneath_refuses_rather_than_redirects(root: Path) -> None:
    """With BENEATH, a path that would leave fails with EXDEV."""
    for path in ("/etc/passwd", "up", "absolute"):
        with pytest.raises(KernelError) as caught:
            read(root, path, Resolve.BENEATH)
        assert caught.value.errno == errno.EXDEV


def test_magic_links_are_not_followed() -> None:
    """/proc/self/root and its like are refused even where they can be seen."""
    with Fd(os.open("/", os.O_PATH | os.O_DIRECTORY)) as directory, pytest.raises(KernelError) as caught:
        open_in_root(directory, "proc/self/root/etc", os.O_PATH)
    assert caught.value.errno == errno.ELOOP


def test_the_descriptor_does_not_survive_an_exec(root: Path) -> None:
    """Every descriptor is close-on-exec from its birth."""
    with Fd(os.open(root, os.O_PATH)) as directory, Fd(open_in_root(directory, "etc", os.O_PATH)) as opened:
        assert not os.get_inheritable(opened.fileno())


def test_the_error_names_the_path(root: Path) -> None:
    """A failing call says which path it was about."""
    with Fd(os.open(root, os.O_PATH)) as directory, pytest.raises(KernelError, match="openat2 `no/such`: No such file"):
        open_in_root(directory, "no/such", os.O_RDONLY)


def test_a_name_with_a_nul_byte_is_refused(root: Path) -> None:
    """C would silently cut the path at the NUL; we refuse it."""
    with Fd(os.open(root, os.O_PATH)) as directory, pytest.raises(KernelError, match="NUL"):
        open_in_root(directory, "etc\0/passwd", os.O_RDONLY)
