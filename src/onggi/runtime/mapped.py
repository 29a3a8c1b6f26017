"""Steps for a container with ids of its own: what the init cannot do, because inside it is root and outside nobody.

The keeper opens what belongs to the host (layers, bind mounts) as detached mounts and hands them over beside the word
"mapped"; the init puts them into place. A detached mount is no path: what the container's root may not even look at can
be shown to it all the same, and nothing else with it. The layers are shown through the container's id map
(mount_setattr(2), IDMAP), so what its root writes is root's on disk, whichever ids the container has today. You come from
`steps`; the order is `plan`'s.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel import process
from onggi.kernel.flags import Clone, Ms
from onggi.oci.runtime import IdMap
from onggi.runtime.mounts import place_root, take_root
from onggi.runtime.steps import Context
from onggi.unwinding import ExitStack
from onggi.values import dataclass

_TOO_OLD = (errno.EINVAL, errno.EOPNOTSUPP)
"""What kernels say to an overlay of detached layers that do not know how: 6.7 to 6.14, and before."""


def host_root(maps: tuple[IdMap, ...]) -> int:
    """The id outside that stands for 0 inside; our own when nothing does."""
    return next((entry.host_id for entry in maps if entry.container_id == 0 and entry.size), 0)


@dataclass(frozen=True, slots=True)
class OpenOverlay:
    """In the keeper: the container's root, its layers shown through the id map of the init."""

    lowers: tuple[str, ...]
    upper: str
    work: str
    in_memory: bool
    at: str
    """An empty directory, which an older kernel needs: see `_attached`."""
    uid: int
    """Who is root inside: overlayfs makes its own files as whoever mounts it, and the map must know that id."""
    gid: int
    why: str

    def describe(self) -> str:
        layers = f"lowerdir={':'.join(self.lowers)},upperdir={self.upper},workdir={self.work}"
        return f"mount -t overlay -o X-mount.idmap=/proc/$INIT/ns/user,{layers} overlay"

    def apply(self, context: Context) -> None:
        with ExitStack() as closing:
            userns = os.open(f"/proc/{context.child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            closing.callback(os.close, userns)
            layers = [self._layer(lower, userns, closing) for lower in self.lowers]
            changes = self._changes(userns, closing)
            with process.file_system_ids(self.uid, self.gid):
                try:
                    root = self._detached(layers, changes, closing)
                except KernelError as error:
                    if error.errno not in _TOO_OLD:
                        raise
                    root = self._attached(layers, changes)
            context.handed.append(root)

    @staticmethod
    def _layer(path: str, userns: int, closing: ExitStack) -> int:
        tree = kernel_mount.clone_tree(path, recursive=False)
        closing.callback(os.close, tree)
        kernel_mount.map_ids(tree, userns)
        return tree

    def _names(self) -> tuple[str, str]:
        return os.path.basename(self.upper), os.path.basename(self.work)

    def _changes(self, userns: int, closing: ExitStack) -> int:
        """The mount on which upper and work directory lie, side by side as overlayfs wants them."""
        if not self.in_memory:
            return self._layer(os.path.dirname(self.upper), userns, closing)
        base = kernel_mount.new("tmpfs", (("mode", "0700"),), source="tmpfs")
        closing.callback(os.close, base)
        for name in self._names():
            os.mkdir(name, 0o755, dir_fd=base)
        kernel_mount.map_ids(base, userns)
        return base

    def _detached(self, layers: list[int], changes: int, closing: ExitStack) -> int:
        """All by descriptors, which Linux 6.15 was the first to take."""
        found = []
        for name in self._names():
            found.append(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=changes))
            closing.callback(os.close, found[-1])
        return kernel_mount.overlay_of(layers, *found)

    def _attached(self, layers: list[int], changes: int) -> int:
        """An older overlayfs wants layers that have paths: in a mount namespace of ours, which goes with this process."""
        process.unshare(Clone.NEWNS)
        kernel_mount.set_propagation("/", Ms.PRIVATE | Ms.REC)
        os.close(place_root(kernel_mount.new("tmpfs", (("mode", "0700"),), source="tmpfs"), self.at))
        paths = []
        for name, tree in (("c", changes), *((str(number), layer) for number, layer in enumerate(layers))):
            paths.append(os.path.join(self.at, name))
            os.mkdir(paths[-1])
            place_root(tree, paths[-1])
        upper, work = (os.path.join(paths[0], name) for name in self._names())
        target = os.path.join(self.at, "root")
        os.mkdir(target)
        return kernel_mount.overlay_by_mount(tuple(paths[1:]), upper, work, target)


@dataclass(frozen=True, slots=True)
class AttachRoot:
    """The root that the keeper mounted becomes this mount namespace's."""

    at: str
    handed: int
    why: str

    def describe(self) -> str:
        return f"mount --move /proc/self/fd/$FD {self.at}"

    def apply(self, context: Context) -> None:
        take_root(context, place_root(context.handed[self.handed], self.at))
