"""Steps that mount: the root, what the specification lists; and the pivot at the end.

What is mounted is born detached, gets its options while nobody can see it, and is put onto a descriptor of its place (see
`places`). With ids of its own the init has no right to the host's files: what it mounts of them is opened by another (see
`sources`). You come from `steps`; the order is `plan`'s and `plan_mounts`'s. Devices and masks are in `devices` and `covers`.
"""

from __future__ import annotations

import errno
import os
import stat

from onggi.errors import KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel.flags import MountAttr, Ms
from onggi.kernel.path import open_in_root
from onggi.oci.runtime import IdMap
from onggi.runtime.mount_attributes import set_options, set_propagation
from onggi.runtime.options import MountOptions
from onggi.runtime.places import directory_of, existing, made, put
from onggi.runtime.steps import Context
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    IdMaps: TypeAlias = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]
    """Users' and groups'."""

_PROPAGATIONS = (
    (Ms.SLAVE, "slave"),
    (Ms.SHARED, "shared"),
    (Ms.UNBINDABLE, "unbindable"),
    (Ms.PRIVATE, "private"),
)


def propagation_word(kind: Ms) -> str:
    """`rslave`, as mount(8) has it."""
    word = next(word for flag, word in _PROPAGATIONS if kind & flag)
    return f"r{word}" if kind & Ms.REC else word


@dataclass(frozen=True, slots=True)
class Propagation:
    """Keep this process's mounts to itself."""

    kind: Ms
    why: str

    def describe(self) -> str:
        return f"mount --make-{propagation_word(self.kind)} /"

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
        take_root(context, place_root(root, self.at))

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
    private: bool
    """Nothing that is mounted on it may spread, whatever its parent does."""
    why: str

    def describe(self) -> str:
        return f"mount --rbind {self.path} {self.path}"

    def apply(self, context: Context) -> None:
        spot = context.sources.open(self.path) if context.sources else kernel_mount.open_path(self.path)
        try:
            root = kernel_mount.clone_tree("", fd=spot, recursive=True)
            if self.private:
                kernel_mount.set_attributes(root, propagation=Ms.PRIVATE)
            kernel_mount.attach(root, spot)
        finally:
            os.close(spot)
        take_root(context, root)


def place_root(mounted: int, at: str) -> int:
    """Attach a detached mount at a path of ours (never one inside the container); its descriptor stays good."""
    spot = kernel_mount.open_path(at)
    try:
        kernel_mount.attach(mounted, spot)
    finally:
        os.close(spot)
    return mounted


def take_root(context: Context, root: int) -> None:
    """From here on `root` is the container's root."""
    found = os.fstat(root)
    context.root, context.root_file = root, (found.st_dev, found.st_ino)


@dataclass(frozen=True, slots=True)
class MountFilesystem:
    """A new file system at a place below the root."""

    type: str
    source: str
    destination: str
    options: MountOptions
    why: str
    kept: bool = False
    """Its descriptor stays open, for the step that makes it read-only when all is in it."""

    def describe(self) -> str:
        return f"mount -t {self.type} -o {self.options.text()} {self.source or self.type} {self.destination}"

    def apply(self, context: Context) -> None:
        spot, is_new = self.spot(context)
        try:
            tree = self.make(context, spot, is_new=is_new)
            set_propagation(tree, self.options)
            kernel_mount.attach(tree, spot)
        finally:
            os.close(spot)
        self.keep(context, tree)

    def spot(self, context: Context) -> tuple[int, bool]:
        """The place, and whether it had to be made. Of proc and sysfs, through no link (CVE-2019-19921, CVE-2023-27561)."""
        own = self.type in ("proc", "sysfs")
        try:
            found = existing(context, self.destination, no_links=own)
        except KernelError as error:
            if not own or error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            detail = f'filesystem "{self.type}" must be mounted on ordinary directory'
            raise KernelError(error.verb, error.object, error.errno, detail=detail) from error
        return (found, False) if found >= 0 else (made(context, self.destination, directory=True), True)

    def make(self, context: Context, spot: int, *, is_new: bool) -> int:
        """The file system, detached."""
        options = self.options
        data = [*((word, None) for word in options.superblock), *options.data]
        if self.type == "tmpfs" and not is_new and not any(key == "mode" for key, _ in data):
            data.append(("mode", f"{stat.S_IMODE(os.fstat(spot).st_mode):04o}"))
        try:
            tree = kernel_mount.new(self.type, data, MountAttr(options.attributes), self.source or self.type)
        except KernelError as error:
            if not context.sources or self.type != "sysfs" or error.errno != errno.EPERM:
                raise
            return self._host_sysfs()
        if options.recursive != (0, 0):
            kernel_mount.set_attributes(tree, *map(MountAttr, options.recursive))
        return tree

    def _host_sysfs(self) -> int:
        """The kernel gives a sysfs to who owns the network namespace only; for others it is the host's, as it is there."""
        tree = kernel_mount.clone_tree("/sys", recursive=True)
        kernel_mount.set_attributes(tree, MountAttr(self.options.attributes), recursive=True)
        return tree

    def keep(self, context: Context, tree: int) -> None:
        """Remember the container's own /proc, and what a later step needs."""
        if self.destination == "/proc":
            context.proc, context.proc_device = tree, os.fstat(tree).st_dev
        elif self.kept:
            context.kept[self.destination] = tree
        else:
            os.close(tree)


@dataclass(frozen=True, slots=True)
class MountBind:
    """A directory or file of the host at a place below the root."""

    source: str
    destination: str
    options: MountOptions
    why: str
    inside: bool = False
    """The source is a path below the container's root, and looked up there: no link of the image's leads out of it."""
    id_map: IdMaps | None = None
    """How its owners are shown; two empty maps: as the container's."""

    def describe(self) -> str:
        verb = "rbind" if self.options.recursive_bind else "bind"
        return f"mount --{verb} -o {self.options.text()} {self.source} {self.destination}"

    def apply(self, context: Context) -> None:
        tree = self.open(context)
        try:
            put(tree, self.destination, context)
        finally:
            os.close(tree)

    def open(self, context: Context) -> int:
        """The source as a detached mount with all its options; the caller owns the descriptor."""
        tree = self._clone(context)
        try:
            set_options(tree, self.options)
        except KernelError:
            os.close(tree)
            raise
        return tree

    def _clone(self, context: Context) -> int:
        recursive = self.options.recursive_bind
        if context.sources and self.id_map is not None:
            root = context.root if self.inside else -1
            deep = self.options.idmap == "ridmap"
            return context.sources.mapped(self.source, self.id_map, root, recursive=recursive, deep=deep)
        if not self.inside and not context.sources:
            tree = kernel_mount.clone_tree(self.source, recursive=recursive)
        else:
            found = self._find(context)
            try:
                tree = kernel_mount.clone_tree("", fd=found, recursive=recursive)
            finally:
                os.close(found)
        if self.id_map is not None:
            kernel_mount.map_ids(tree, context.id_maps[self.id_map], recursive=self.options.idmap == "ridmap")
        return tree

    def _find(self, context: Context) -> int:
        if self.inside:
            return open_in_root(context.root, self.source, os.O_PATH)
        assert context.sources is not None
        return context.sources.open(self.source)


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """The working directory is made when the image has none."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mkdir -p {self.path}"

    def apply(self, context: Context) -> None:
        os.close(directory_of(context.root, self.path))


@dataclass(frozen=True, slots=True)
class PivotRoot:
    """Make the container's root this process's root and let the host's go."""

    why: str

    def describe(self) -> str:
        return "pivot_root . . && umount -l ."

    def apply(self, context: Context) -> None:
        os.fchdir(context.root)
        kernel_mount.pivot_to_here()
