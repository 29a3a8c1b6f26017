"""Steps for the container's /dev: nodes, links, the console.

What an image or a shared directory has in a node's place is looked at, never trusted. You come from `steps`; the order is
`plan`'s; read next: `covers`.
"""

from __future__ import annotations

import os
import stat

from onggi.errors import Invalid
from onggi.kernel import mount as kernel_mount
from onggi.oci.runtime import Device
from onggi.runtime.places import parent_of, put
from onggi.runtime.steps import Context
from onggi.values import dataclass

_KINDS = {"b": stat.S_IFBLK, "p": stat.S_IFIFO}
_NULL = os.makedev(1, 3)


@dataclass(frozen=True, slots=True)
class MakeDevice:
    """A device node in the container's /dev."""

    device: Device
    handed: int
    """With ids of its own the init may make none: which of those it is that were made for it (see `sources`); else -1."""
    why: str

    def describe(self) -> str:
        device = self.device
        if self.handed >= 0:
            return f"mount --bind {device.path} {device.path}"
        return f"mknod -m {device.mode:o} {device.path} {device.type} {device.major} {device.minor}"

    def apply(self, context: Context) -> None:
        if self.handed >= 0:
            assert context.sources is not None
            tree = context.sources.node(self.handed)
            try:
                put(tree, self.device.path, context)
            finally:
                os.close(tree)
            return
        parent, name = parent_of(context, self.device.path, no_links=_is_of_dev(self.device.path))
        try:
            self._make_node(name, parent)
            if self.device.uid or self.device.gid:
                os.chown(name, self.device.uid, self.device.gid, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def _is_it(self, found: os.stat_result) -> bool:
        device = self.device
        same = found.st_rdev == os.makedev(device.major, device.minor)
        kind = _KINDS.get(device.type, stat.S_IFCHR)
        return stat.S_IFMT(found.st_mode) == kind and (device.type == "p" or same)

    def _make_node(self, name: str, parent: int) -> None:
        device = self.device
        umask = os.umask(0)  # a chmod(2) afterwards would go by name, and names can be swapped
        try:
            kind = _KINDS.get(device.type, stat.S_IFCHR)
            os.mknod(name, kind | device.mode, os.makedev(device.major, device.minor), dir_fd=parent)
        except FileExistsError:
            if not self._is_it(os.stat(name, dir_fd=parent, follow_symlinks=False)):
                raise Invalid("make device", device.path, "the image has something else in its place") from None
        finally:
            os.umask(umask)


def _is_of_dev(path: str) -> bool:
    """What is made there must be there: an image whose /dev is a link gets no nodes elsewhere."""
    return path.startswith("/dev/")


@dataclass(frozen=True, slots=True)
class MakeLink:
    """A symbolic link, most of them in the container's /dev."""

    path: str
    to: str
    why: str
    replaces: bool = False
    """What is there goes; else the image may have brought its own."""

    def describe(self) -> str:
        return f"ln -s{'f' if self.replaces else ''} {self.to} {self.path}"

    def apply(self, context: Context) -> None:
        parent, name = parent_of(context, self.path, no_links=_is_of_dev(self.path))
        try:
            os.symlink(self.to, name, dir_fd=parent)
        except FileExistsError:
            if self.replaces:
                os.unlink(name, dir_fd=parent)
                os.symlink(self.to, name, dir_fd=parent)
        finally:
            os.close(parent)


@dataclass(frozen=True, slots=True)
class ReopenNull:
    """A stream that is the host's null device becomes the container's: its node's mode and owner are the container's."""

    why: str

    def describe(self) -> str:
        return "exec 0</dev/null 1>/dev/null 2>/dev/null, as far as they are one"

    def apply(self, context: Context) -> None:
        for number in (0, 1, 2):
            found = os.fstat(number)
            if found.st_rdev == _NULL and stat.S_ISCHR(found.st_mode):
                own = os.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    if os.fstat(own).st_rdev != _NULL:
                        raise Invalid("open", "/dev/null", "it is not the null device")
                    os.dup2(own, number)
                finally:
                    os.close(own)


@dataclass(frozen=True, slots=True)
class ShowConsole:
    """The container's terminal at /dev/console."""

    why: str

    def describe(self) -> str:
        return "mount --bind /dev/pts/0 /dev/console"

    def apply(self, context: Context) -> None:
        peer = kernel_mount.clone_tree("", fd=context.console, recursive=False)  # itself, whatever its name is by now
        try:
            put(peer, "/dev/console", context)
        finally:
            os.close(peer)
