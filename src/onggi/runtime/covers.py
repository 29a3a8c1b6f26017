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

_NULL = os.makedev(1, 3)


@dataclass(frozen=True, slots=True)
class MaskPath:
    """Hide a path: an empty read-only directory over a directory, /dev/null over a file."""

    path: str
    why: str
    label: str = ""
    """SELinux: of the empty directory."""

    def describe(self) -> str:
        return f"mount --bind -o ro /dev/null {self.path}"

    def apply(self, context: Context) -> None:
        spot = _find(context.root, self.path)
        if spot < 0:
            return
        try:
            make = _empty_directory if stat.S_ISDIR(os.fstat(spot).st_mode) else _null
            first = context.kept.get(make.__name__, -1)
            cover = make(context, self.label) if first < 0 else kernel_mount.clone_tree("", fd=first, recursive=False)
            kernel_mount.attach(cover, spot)
        finally:
            os.close(spot)
        if first < 0:
            context.kept[make.__name__] = cover  # all further ones are this one again
        else:
            os.close(cover)


def _find(root: int, path: str) -> int:
    """A descriptor of `path` below `root`; -1 where this kernel has no such file."""
    try:
        return open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise


def _empty_directory(_context: Context, label: str) -> int:
    """A detached tmpfs without room for anything, read-only as a mount and in itself."""
    limits = (("nr_blocks", "1"), ("nr_inodes", "1"), ("ro", None), *((("context", label),) if label else ()))
    return kernel_mount.new("tmpfs", limits, MountAttr.RDONLY, "tmpfs")


def _null(context: Context, _label: str) -> int:
    """A detached mount of the null device, looked at by the descriptor that is mounted (CVE-2025-31133).

    The container's own, so that no mode of the host's can be changed through it; the host's where there is none.
    """
    found = _find(context.root, "/dev/null")
    try:
        if found < 0 or not _is_null(found):
            cover = kernel_mount.clone_tree("/dev/null", recursive=False)
        else:
            cover = kernel_mount.clone_tree("", fd=found, recursive=False)
    finally:
        if found >= 0:
            os.close(found)
    if not _is_null(cover):
        os.close(cover)
        raise Invalid("mask", "/dev/null", "it is not the null device")
    kernel_mount.set_attributes(cover, MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NOEXEC)
    return cover


def _is_null(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL


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
    """Make a mount that was made below the root, and kept, read-only."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount -o remount,ro,bind {self.path}"

    def apply(self, context: Context) -> None:
        tree = context.kept.pop(self.path)
        kernel_mount.set_attributes(tree, MountAttr.RDONLY)
        os.close(tree)


@dataclass(frozen=True, slots=True)
class ReadonlyRoot:
    """No write to the root file system."""

    why: str

    def describe(self) -> str:
        return "mount -o remount,ro,bind /"

    def apply(self, context: Context) -> None:
        kernel_mount.set_attributes(context.root, MountAttr.RDONLY)
