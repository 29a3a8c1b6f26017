"""Steps that cover or close what was mounted before: masks, read-only paths, a read-only root.

They come after every mount, or a mount could uncover what they hide. You come from `steps`; the order is `plan`'s.
"""

from __future__ import annotations

import errno
import os
import stat

from onggi.errors import Invalid, KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel.flags import MountAttr
from onggi.kernel.path import open_in_root
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class MaskPath:
    """Hide a path: an empty read-only directory over a directory, /dev/null over a file."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount --bind -o ro /dev/null {self.path}"

    def apply(self, context: Context) -> None:
        spot = _find(context.root, self.path)
        if spot < 0:
            return
        try:
            if stat.S_ISDIR(os.fstat(spot).st_mode):
                cover = kernel_mount.new("tmpfs", (("size", "0"), ("nr_inodes", "1")), MountAttr.RDONLY, "tmpfs")
            else:
                cover = _null()
            kernel_mount.attach(cover, spot)
            os.close(cover)
        finally:
            os.close(spot)


def _find(root: int, path: str) -> int:
    """A descriptor of `path` below `root`; -1 where this kernel has no such file."""
    try:
        return open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise


def _null() -> int:
    """A detached mount of the host's /dev/null, and of nothing that only looks like it (CVE-2025-31133)."""
    cover = kernel_mount.clone_tree("/dev/null", recursive=False)
    found = os.fstat(cover)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        os.close(cover)
        raise Invalid("mask", "/dev/null", "it is not the null device")
    return cover


@dataclass(frozen=True, slots=True)
class ReadonlyPath:
    """Let a path be read only."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount --bind -o ro,rec {self.path} {self.path}"

    def apply(self, context: Context) -> None:
        spot = _find(context.root, self.path)
        if spot < 0:
            return
        try:
            tree = kernel_mount.clone_tree("", fd=spot, recursive=True)
            kernel_mount.set_attributes(tree, MountAttr.RDONLY, recursive=True)
            kernel_mount.attach(tree, spot)
            os.close(tree)
        finally:
            os.close(spot)


@dataclass(frozen=True, slots=True)
class ReadonlyMount:
    """Make a mount that was just made below the root read-only."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount -o remount,ro,bind {self.path}"

    def apply(self, context: Context) -> None:
        spot = open_in_root(context.root, self.path, os.O_PATH)
        try:
            kernel_mount.set_attributes(spot, MountAttr.RDONLY)
        finally:
            os.close(spot)


@dataclass(frozen=True, slots=True)
class ReadonlyRoot:
    """No write to the root file system."""

    why: str

    def describe(self) -> str:
        return "mount -o remount,ro,bind /"

    def apply(self, context: Context) -> None:
        kernel_mount.set_attributes(context.root, MountAttr.RDONLY)
