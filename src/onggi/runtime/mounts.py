"""Steps that mount: the root, what the specification lists; and the pivot at the end.

Every destination is resolved once, below the container's root, by openat2 with RESOLVE_IN_ROOT, and the mount is put
onto that descriptor. A symbolic link planted in the image leads at most to another place in the image. You come from
`steps`; the order is `plan`'s. Devices and masks are in `devices` and `covers`.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from onggi.errors import Invalid, KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel.flags import ATIME_MASK, Ms
from onggi.kernel.path import Resolve, open_in_root
from onggi.runtime.options import MountOptions
from onggi.runtime.steps import Context
from onggi.values import dataclass

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
    parent = directory_of(root, parent_path, depth)
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


def directory_of(root: int, path: str, depth: int) -> int:
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
        context.root = place_root(root, self.at)

    def _memory(self) -> tuple[str, str]:
        """Upper and work directory on a tmpfs that only this mount namespace has, gone with its last process."""
        base = os.path.dirname(self.upper)
        os.close(place_root(kernel_mount.new("tmpfs", (("mode", "0700"),), source="tmpfs"), base))
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
        context.root = place_root(kernel_mount.clone_tree(self.path, recursive=True), self.path)


def place_root(mounted: int, at: str) -> int:
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
            made = kernel_mount.new(self.type, self.options.data, self.options.attributes, self.source or self.type)
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
    set_options(tree, options)
    put(tree, destination, context)


def set_options(tree: int, options: MountOptions) -> None:
    """Give a detached tree its attributes, before anybody sees it."""
    if options.attributes or options.cleared:
        off = options.cleared | (ATIME_MASK if options.sets_atime else 0)
        kernel_mount.set_attributes(tree, options.attributes, off)
    if options.recursive_attributes:
        kernel_mount.set_attributes(tree, options.recursive_attributes, recursive=True)
    if options.propagation:
        kernel_mount.set_attributes(tree, propagation=options.propagation, recursive=options.recursive_propagation)


def put(tree: int, destination: str, context: Context) -> None:
    """Attach a detached tree at `destination` below the container's root, made if it is missing."""
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
    handed: int = -1
    """Which of the mounts that the keeper opened it is; -1: the init opens it itself."""

    def describe(self) -> str:
        verb = "rbind" if self.options.recursive_bind else "bind"
        return f"mount --{verb} -o {self.options.text()} {self.source} {self.destination}"

    def apply(self, context: Context) -> None:
        tree = context.handed[self.handed] if self.handed >= 0 else self.open()
        try:
            put(tree, self.destination, context)
        finally:
            os.close(tree)

    def open(self) -> int:
        """The source as a detached mount with all its attributes; the caller owns the descriptor."""
        tree = kernel_mount.clone_tree(self.source, recursive=self.options.recursive_bind)
        try:
            set_options(tree, self.options)
        except KernelError:
            os.close(tree)
            raise
        return tree


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """The working directory is made when the image has none."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mkdir -p {self.path}"

    def apply(self, context: Context) -> None:
        os.close(target(context, self.path, directory=True))


@dataclass(frozen=True, slots=True)
class PivotRoot:
    """Make the container's root this process's root and let the host's go."""

    why: str

    def describe(self) -> str:
        return "pivot_root . . && umount -l ."

    def apply(self, context: Context) -> None:
        os.fchdir(context.root)
        kernel_mount.pivot_to_here()
