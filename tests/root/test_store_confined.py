"""`store/confined`: what a process that unpacks a stranger's archive can see and do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onggi.errors import Corrupt, KernelError, OnggiError, Unavailable
from onggi.kernel import capability
from onggi.kernel.fd import Fd
from onggi.store.confined import Confined

pytestmark = pytest.mark.root


def confined(tree: Path, work: Callable[[int], dict[str, Any]], keep: list[int] | None = None) -> dict[str, Any]:
    """The work's result."""
    with Fd(os.open(tree, os.O_PATH | os.O_DIRECTORY)) as root, Confined(root.fileno(), work, keep or []) as child:
        return child.result()


def test_the_tree_is_all_there_is(tmp_path: Path) -> None:
    """Neither the host's files nor its mounts, whichever way it goes up."""
    (tmp_path / "inside").touch()

    def look(root: int) -> dict[str, Any]:
        above = os.open("../../../..", os.O_PATH, dir_fd=root)
        return {
            "here": os.listdir("/"),
            "above": os.listdir("/../.."),
            "same": os.path.samestat(os.fstat(above), os.stat("/")),
        }

    assert confined(tmp_path, look) == {"here": ["inside"], "above": ["inside"], "same": True}


def test_a_chroot_cannot_be_left_because_there_is_nothing_to_go_to(tmp_path: Path) -> None:
    """The old trick, a second chroot with the working directory outside of it, needs a capability that is gone."""
    (tmp_path / "sub").mkdir()

    def escape(root: int) -> dict[str, Any]:
        os.chroot("sub")
        return {}

    with pytest.raises(KernelError, match="EPERM"):
        confined(tmp_path, escape)


def test_only_the_capabilities_that_making_files_takes_are_left(tmp_path: Path) -> None:
    """In every set, so that nothing could give them back."""

    def look(root: int) -> dict[str, Any]:
        sets = capability.current()
        return {"sets": [sets.bounding, sets.effective, sets.permitted, sets.inheritable]}

    kept = capability.mask(["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SYS_ADMIN"])
    assert confined(tmp_path, look) == {"sets": [kept, kept, kept, 0]}


def test_no_descriptor_of_the_parents_is_open(tmp_path: Path) -> None:
    """But those that it was told to keep."""
    with open("/etc/passwd") as secret, open("/etc/hostname") as kept:

        def look(root: int) -> dict[str, Any]:
            seen = []
            for fd in range(3, 256):
                try:
                    seen.append(os.fstat(fd).st_ino)
                except OSError:
                    continue
            return {"seen": seen}

        seen = confined(tmp_path, look, [kept.fileno()])["seen"]
        assert os.fstat(kept.fileno()).st_ino in seen
        assert os.fstat(secret.fileno()).st_ino not in seen


def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    """With their class and their words; those of no class of ours with their name."""

    def fail(root: int) -> dict[str, Any]:
        raise Corrupt("unpack", "x", "because")

    def bug(root: int) -> dict[str, Any]:
        raise LookupError("nobody expects this")

    with pytest.raises(Corrupt, match="unpack `x`: because"):
        confined(tmp_path, fail)
    with pytest.raises(OnggiError, match="LookupError: nobody expects this"):
        confined(tmp_path, bug)


def test_a_killed_child_is_an_error(tmp_path: Path) -> None:
    """It names the signal."""

    def die(root: int) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(Unavailable, match="SIGKILL"):
        confined(tmp_path, die)


def test_leaving_early_ends_the_child(tmp_path: Path) -> None:
    """No process and no descriptor stays when something else went wrong meanwhile."""
    reader, writer = os.pipe()

    def wait(root: int) -> dict[str, Any]:
        os.read(reader, 1)
        return {}

    with Fd(os.open(tmp_path, os.O_PATH)) as root:
        with Confined(root.fileno(), wait, [reader]) as child:
            pid = child.pid
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    os.close(reader)
    os.close(writer)
