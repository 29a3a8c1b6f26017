"""Steps for mounts that are no plain ones: `remount`, and crun's words for links. Loaded with such a mount only.

You come from `plan_mounts`; read next: `mounts`.
"""

from __future__ import annotations

import errno
import os
import stat

from onggi.errors import Invalid, KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel import procfs
from onggi.kernel.flags import MountAttr
from onggi.runtime.mount_attributes import set_options
from onggi.runtime.mounts import MountBind
from onggi.runtime.options import MountOptions
from onggi.runtime.places import existing, made, parent_of, put
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class Remount:
    """Other options for what is mounted at a place: with `bind` the mount's own, else also the file system's."""

    destination: str
    options: MountOptions
    why: str

    def describe(self) -> str:
        return f"mount -o {self.options.text()} {self.destination}"

    def apply(self, context: Context) -> None:
        spot = existing(context, self.destination)
        if spot < 0:
            raise KernelError("remount", self.destination, errno.ENOENT)
        try:
            if not self.options.bind:
                flags = [(word, None) for word in self.options.superblock]
                flags.append(("ro" if self.options.attributes & MountAttr.RDONLY else "rw", None))
                kernel_mount.reconfigure(spot, [*flags, *self.options.data])
            set_options(spot, self.options)
        finally:
            os.close(spot)


@dataclass(frozen=True, slots=True)
class BindLink:
    """A bind mount whose source, or whose place, may be a symbolic link that is meant itself.

    `copy-symlink`: a source that is a link becomes a link like it; `src-nofollow`: the link is mounted, not what it leads
    to; `dest-nofollow`: what is mounted lies on the link.
    """

    mount: MountBind
    why: str

    def describe(self) -> str:
        return self.mount.describe()

    def apply(self, context: Context) -> None:
        words, mount = self.mount.options.links, self.mount
        found = self._source(context)
        try:
            is_link = stat.S_ISLNK(os.fstat(found).st_mode)
            if is_link and "copy-symlink" in words:
                self._copy(os.readlink("", dir_fd=found), context)
                return
            if is_link and "src-nofollow" in words:
                tree = kernel_mount.clone_tree("", fd=found, recursive=mount.options.recursive_bind)
                set_options(tree, mount.options)
            else:
                tree = mount.open(context)
        finally:
            os.close(found)
        try:
            self._put(tree, context)
        finally:
            os.close(tree)

    def _source(self, context: Context) -> int:
        if context.sources:
            return context.sources.open(self.mount.source, follow=False)
        return os.open(self.mount.source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _copy(self, link: str, context: Context) -> None:
        parent, name = parent_of(context, self.mount.destination)
        try:
            os.symlink(link, name, dir_fd=parent)
        except FileExistsError:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISLNK(there.st_mode) or os.readlink(name, dir_fd=parent) != link:
                raise
        finally:
            os.close(parent)

    def _put(self, tree: int, context: Context) -> None:
        if "dest-nofollow" not in self.mount.options.links:
            put(tree, self.mount.destination, context)
            return
        place = self.mount.destination
        spot = existing(context, place, follow=False)
        if spot < 0:
            spot = made(context, place, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        try:
            kernel_mount.attach(tree, spot)
        finally:
            os.close(spot)


@dataclass(frozen=True, slots=True)
class BindProc:
    """A bind mount at /proc: only of a procfs, for what is written below it would go who knows where."""

    mount: MountBind
    why: str

    def describe(self) -> str:
        return self.mount.describe()

    def apply(self, context: Context) -> None:
        tree = self.mount.open(context)
        if not procfs.is_procfs(tree):
            os.close(tree)
            raise Invalid("mount", "/proc", f"{self.mount.source} is not of type proc")
        put(tree, "/proc", context)
        context.proc, context.proc_device = tree, os.fstat(tree).st_dev
