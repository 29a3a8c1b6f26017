"""Steps for the container's /dev: nodes, links, the console.

What an image or a shared directory has in a node's place is looked at, never trusted. You come from `steps`; the order is
`plan`'s; read next: `covers`.
"""

from __future__ import annotations

import fcntl
import os
import posixpath
import stat

from onggi.errors import Invalid
from onggi.kernel import mount as kernel_mount
from onggi.runtime.mounts import directory_of, put
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class MakeDevice:
    """A device node in the container's /dev."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    bind: bool
    why: str

    def describe(self) -> str:
        if self.bind:
            return f"mount --bind {self.path} {self.path}"
        return f"mknod -m {self.mode:o} {self.path} {self.type} {self.major} {self.minor}"

    def apply(self, context: Context) -> None:
        if self.bind:
            self._show(context)
            return
        parent_path, name = posixpath.split(self.path)
        parent = directory_of(context.root, parent_path, 0)
        try:
            self._make_node(name, parent)
            if self.uid or self.gid:
                os.chown(name, self.uid, self.gid, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def _show(self, context: Context) -> None:
        """In a user namespace mknod(2) is refused: show the host's node of that name, if it is that device."""
        tree = kernel_mount.clone_tree(self.path, recursive=False)
        try:
            if not self._is_it(os.fstat(tree)):
                raise Invalid("show device", self.path, "the host has something else under this name")
            put(tree, self.path, context)
        finally:
            os.close(tree)

    def _kind(self) -> int:
        return {"b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(self.type, stat.S_IFCHR)

    def _is_it(self, found: os.stat_result) -> bool:
        device = os.makedev(self.major, self.minor)
        return stat.S_IFMT(found.st_mode) == self._kind() and (self.type == "p" or found.st_rdev == device)

    def _make_node(self, name: str, parent: int) -> None:
        umask = os.umask(0)  # a chmod(2) afterwards would go by name, and names can be swapped
        try:
            os.mknod(name, self._kind() | self.mode, os.makedev(self.major, self.minor), dir_fd=parent)
        except FileExistsError:
            if not self._is_it(os.stat(name, dir_fd=parent, follow_symlinks=False)):
                raise Invalid("make device", self.path, "the image has something else in its place") from None
        finally:
            os.umask(umask)


@dataclass(frozen=True, slots=True)
class MakeLink:
    """A symbolic link in the container's /dev."""

    path: str
    to: str
    why: str

    def describe(self) -> str:
        return f"ln -s {self.to} {self.path}"

    def apply(self, context: Context) -> None:
        parent_path, name = posixpath.split(self.path)
        parent = directory_of(context.root, parent_path, 0)
        try:
            os.symlink(self.to, name, dir_fd=parent)
        except FileExistsError:
            return  # the image brought its own
        finally:
            os.close(parent)


@dataclass(frozen=True, slots=True)
class ShowConsole:
    """The container's terminal at /dev/console."""

    why: str

    def describe(self) -> str:
        return "mount --bind /dev/pts/0 /dev/console"

    def apply(self, context: Context) -> None:
        peer = kernel_mount.clone_tree(f"/proc/self/fd/{context.console}", recursive=False)
        try:
            put(peer, "/dev/console", context)
        finally:
            os.close(peer)


@dataclass(frozen=True, slots=True)
class ReopenNull:
    """Of 0, 1 and 2 those that are the host's null device become the container's: CRIU dumps no file of the host."""

    why: str

    def describe(self) -> str:
        return "exec 0</dev/null 1>/dev/null 2>/dev/null"

    def apply(self, context: Context) -> None:
        for place in range(3):
            found = os.fstat(place)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL:
                opened = os.open("/dev/null", fcntl.fcntl(place, fcntl.F_GETFL) & os.O_ACCMODE | os.O_CLOEXEC)
                os.dup2(opened, place)
                os.close(opened)


_NULL = os.makedev(1, 3)
