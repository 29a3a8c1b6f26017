"""Steps that mount: the root, what the specification lists, devices, masks; and the pivot at the end.

Every destination is resolved once, below the container's root, by openat2 with RESOLVE_IN_ROOT, and the mount is put
onto that descriptor. A symbolic link planted in the image leads at most to another place in the image. You come from
`steps`; the order is `plan`'s.
"""

from __future__ import annotations

import errno
import os
import posixpath
import socket
import stat
from dataclasses import dataclass

from onggi.errors import Invalid, KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel import tty
from onggi.kernel.flags import ATIME_MASK, MountAttr, Ms
from onggi.kernel.path import Resolve, open_in_root
from onggi.runtime.options import MountOptions
from onggi.runtime.steps import Context

_STRICT = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS | Resolve.NO_SYMLINKS
_LINK_LIMIT = 40
# What lxcfs and its like put over single files of /proc; anything else below it would deceive us and the container.
_PROC_EXCEPTIONS = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "sys/kernel/ns_last_pid",
    )
)


def target(context: Context, path: str, *, directory: bool, strict: bool = False) -> int:
    """A descriptor (O_PATH) of `path` below the container's root, made if it is missing; the caller closes it."""
    resolve = _STRICT if strict else Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
    try:
        found = open_in_root(context.root, path, os.O_PATH, resolve=resolve)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        found = _make(context.root, path, directory=directory)
    return _outside_proc(context, path, found)


def _outside_proc(context: Context, path: str, found: int) -> int:
    if os.fstat(found).st_dev == context.proc_device and posixpath.normpath(path) not in _PROC_EXCEPTIONS:
        os.close(found)
        raise Invalid("mount", path, "the destination is inside the container's /proc")
    return found


def _make(root: int, path: str, *, directory: bool, depth: int = 0) -> int:
    """Make `path` below `root`, parents too, through links that dangle inside it, as Docker does for resolv.conf."""
    if depth > _LINK_LIMIT:
        raise KernelError("openat2", path, errno.ELOOP)
    parent_path, name = posixpath.split(posixpath.normpath("/" + path))
    parent = _directory(root, parent_path, depth)
    try:
        link = _link(parent, name)
        if link is not None:
            return _make(root, posixpath.join(parent_path, link), directory=directory, depth=depth + 1)
        if directory:
            _mkdir(parent, name)
        else:
            os.close(
                os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644, dir_fd=parent)
            )
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


def _directory(root: int, path: str, depth: int) -> int:
    try:
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno != errno.ENOENT or path == "/":
            raise
        return _make(root, path, directory=True, depth=depth + 1)


def _link(parent: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:  # not there, or no link
        return None


def _mkdir(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return  # somebody was quicker: what matters is what the descriptor opened next names


@dataclass(frozen=True, slots=True)
class Propagation:
    """Keep this process's mounts to itself."""

    kind: Ms
    why: str

    def describe(self) -> str:
        word = "slave" if self.kind & Ms.SLAVE else "shared" if self.kind & Ms.SHARED else "private"
        return f"mount --make-r{word} /"

    def apply(self, context: Context) -> None:
        kernel_mount.set_propagation("/", self.kind)


@dataclass(frozen=True, slots=True)
class MountOverlay:
    """The container's root: the image's layers, read-only, below a directory for its own changes."""

    lowers: tuple[str, ...]
    upper: str
    work: str
    at: str
    in_memory: bool
    why: str

    def describe(self) -> str:
        return f"mount -t overlay -o lowerdir={':'.join(self.lowers)},upperdir={self.upper},workdir={self.work} overlay {self.at}"

    def apply(self, context: Context) -> None:
        upper, work = self.upper, self.work
        if self.in_memory:
            upper, work = self._memory()
        root = kernel_mount.overlay(self.lowers, upper, work, self.at)
        context.root = _place(root, self.at)

    def _memory(self) -> tuple[str, str]:
        """Upper and work directory on a tmpfs that only this mount namespace has, gone with its last process."""
        base = os.path.dirname(self.upper)
        os.close(_place(kernel_mount.new("tmpfs", (("mode", "0700"),), source="tmpfs"), base))
        os.mkdir(self.upper, 0o755)
        os.mkdir(self.work, 0o700)
        return self.upper, self.work


@dataclass(frozen=True, slots=True)
class BindRoot:
    """The bundle's root directory as a mount of its own, which pivot_root needs."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount --rbind {self.path} {self.path}"

    def apply(self, context: Context) -> None:
        context.root = _place(kernel_mount.clone_tree(self.path, recursive=True), self.path)


def _place(mounted: int, at: str) -> int:
    """Attach a detached mount at a path of ours (never one inside the container); its descriptor stays good."""
    spot = kernel_mount.open_path(at)
    try:
        kernel_mount.attach(mounted, spot)
    finally:
        os.close(spot)
    return mounted


@dataclass(frozen=True, slots=True)
class MountFilesystem:
    """A new file system at a place below the root."""

    type: str
    source: str
    destination: str
    options: MountOptions
    why: str

    def describe(self) -> str:
        return f"mount -t {self.type} -o {self.options.text()} {self.source or self.type} {self.destination}"

    def apply(self, context: Context) -> None:
        own = self.type in ("proc", "sysfs")
        spot = target(context, self.destination, directory=True, strict=own)
        try:
            data = self.options.data
            if "tmpcopyup" in self.options.extra:
                data = tuple(d for d in data if d[0] != "tmpcopyup")
            made = kernel_mount.new(self.type, data, self.options.attributes, self.source or self.type)
            kernel_mount.attach(made, spot)
        finally:
            os.close(spot)
        if self.options.propagation:
            kernel_mount.set_attributes(made, propagation=self.options.propagation)
        if self.type == "proc" and self.destination == "/proc":
            context.proc, context.proc_device = made, os.fstat(made).st_dev
        else:
            os.close(made)


def place(tree: int, destination: str, options: MountOptions, context: Context) -> None:
    """Give a detached tree its attributes and put it at `destination` below the container's root."""
    if options.attributes or options.cleared:
        off = options.cleared | (ATIME_MASK if options.sets_atime else 0)
        kernel_mount.set_attributes(tree, options.attributes, off)
    if options.recursive_attributes:
        kernel_mount.set_attributes(tree, options.recursive_attributes, recursive=True)
    if options.propagation:
        kernel_mount.set_attributes(tree, propagation=options.propagation, recursive=options.recursive_propagation)
    spot = target(context, destination, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    try:
        kernel_mount.attach(tree, spot)
    finally:
        os.close(spot)


@dataclass(frozen=True, slots=True)
class MountBind:
    """A directory or file of the host at a place below the root."""

    source: str
    destination: str
    options: MountOptions
    why: str

    def describe(self) -> str:
        verb = "rbind" if self.options.recursive_bind else "bind"
        return f"mount --{verb} -o {self.options.text()} {self.source} {self.destination}"

    def apply(self, context: Context) -> None:
        tree = kernel_mount.clone_tree(self.source, recursive=self.options.recursive_bind)
        try:
            place(tree, self.destination, self.options, context)
        finally:
            os.close(tree)


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
        if self.bind:  # in a user namespace mknod(2) is refused: show the host's node
            MountBind(self.path, self.path, MountOptions(), self.why).apply(context)
            return
        parent_path, name = posixpath.split(self.path)
        parent = _directory(context.root, parent_path, 0)
        try:
            self._make_node(name, parent)
            if self.uid or self.gid:
                os.chown(name, self.uid, self.gid, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def _make_node(self, name: str, parent: int) -> None:
        kind = {"b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(self.type, stat.S_IFCHR)
        device = os.makedev(self.major, self.minor)
        umask = os.umask(0)  # a chmod(2) afterwards would go by name, and names can be swapped
        try:
            os.mknod(name, kind | self.mode, device, dir_fd=parent)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != kind or (kind != stat.S_IFIFO and found.st_rdev != device):
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
        parent = _directory(context.root, parent_path, 0)
        try:
            os.symlink(self.to, name, dir_fd=parent)
        except FileExistsError:
            return  # the image brought its own
        finally:
            os.close(parent)


@dataclass(frozen=True, slots=True)
class OpenConsole:
    """A terminal from the container's own devpts, its master sent to the keeper."""

    size: tuple[int, int] | None
    why: str

    def describe(self) -> str:
        return "open /dev/ptmx; mount --bind /dev/pts/0 /dev/console"

    def apply(self, context: Context) -> None:
        master = open_in_root(context.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        try:
            tty.unlock(master)
            if self.size:
                tty.set_size(master, *self.size)
            context.console = tty.open_peer(master)
            self._show(context)
            assert context.keeper is not None
            socket.send_fds(context.keeper, [b'{"console": true}'], [master])
        finally:
            os.close(master)

    def _show(self, context: Context) -> None:
        spot = target(context, "/dev/console", directory=False)
        try:
            peer = kernel_mount.clone_tree(f"/proc/self/fd/{context.console}", recursive=False)
            kernel_mount.attach(peer, spot)
            os.close(peer)
        finally:
            os.close(spot)


@dataclass(frozen=True, slots=True)
class MaskPath:
    """Hide a path: an empty read-only directory over a directory, /dev/null over a file."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount --bind -o ro /dev/null {self.path}"

    def apply(self, context: Context) -> None:
        try:
            spot = open_in_root(context.root, self.path, os.O_PATH)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return  # this kernel has no such file
            raise
        try:
            if stat.S_ISDIR(os.fstat(spot).st_mode):
                cover = kernel_mount.new("tmpfs", (("size", "0"), ("nr_inodes", "1")), MountAttr.RDONLY, "tmpfs")
            else:
                cover = _null()
            kernel_mount.attach(cover, spot)
            os.close(cover)
        finally:
            os.close(spot)


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
        try:
            spot = open_in_root(context.root, self.path, os.O_PATH)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return  # this kernel has no such file
            raise
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
class PivotRoot:
    """Make the container's root this process's root and let the host's go."""

    why: str

    def describe(self) -> str:
        return "pivot_root . . && umount -l ."

    def apply(self, context: Context) -> None:
        os.fchdir(context.root)
        kernel_mount.pivot_to_here()


@dataclass(frozen=True, slots=True)
class ReadonlyRoot:
    """No write to the root file system."""

    why: str

    def describe(self) -> str:
        return "mount -o remount,ro,bind /"

    def apply(self, context: Context) -> None:
        kernel_mount.set_attributes(context.root, MountAttr.RDONLY)
