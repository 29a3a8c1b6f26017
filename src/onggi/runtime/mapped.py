"""Steps for a container with ids of its own: what the init cannot do, because inside it is root and outside nobody.

The keeper opens what belongs to the host (layers, bind mounts) as detached mounts and hands them over beside the word
"mapped"; the init puts them into place. A detached mount is no path: what the container's root may not even look at can
be shown to it all the same, and nothing else with it. The layers are shown through the container's id map
(mount_setattr(2), IDMAP), so what its root writes is root's on disk, whichever ids the container has today. You come from
`steps`; the order is `plan`'s.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from onggi.kernel import mount as kernel_mount
from onggi.kernel import process
from onggi.oci.runtime import IdMap
from onggi.runtime.mounts import MountBind, place_root
from onggi.runtime.steps import Context
from onggi.values import dataclass


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
            upper, work = self._changes(userns, closing)
            with process.file_system_ids(self.uid, self.gid):
                context.handed.append(kernel_mount.overlay_of(layers, upper, work))

    @staticmethod
    def _layer(path: str, userns: int, closing: ExitStack) -> int:
        tree = kernel_mount.clone_tree(path, recursive=False)
        closing.callback(os.close, tree)
        kernel_mount.map_ids(tree, userns)
        return tree

    def _changes(self, userns: int, closing: ExitStack) -> tuple[int, int]:
        """Upper and work directory as descriptors on one mount, as overlayfs wants them."""
        names = (os.path.basename(self.upper), os.path.basename(self.work))
        if self.in_memory:
            base = kernel_mount.new("tmpfs", (("mode", "0700"),), source="tmpfs")
            closing.callback(os.close, base)
            for name in names:
                os.mkdir(name, 0o755, dir_fd=base)
            kernel_mount.map_ids(base, userns)
        else:
            base = self._layer(os.path.dirname(self.upper), userns, closing)
        found = []
        for name in names:
            found.append(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base))
            closing.callback(os.close, found[-1])
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class OpenSource:
    """In the keeper: a directory or file of the host as a detached mount, for the init to put into place."""

    mount: MountBind
    why: str

    def describe(self) -> str:
        return f"exec {{fd}}<{self.mount.source}"

    def apply(self, context: Context) -> None:
        tree = self.mount.open()
        context.handed.append(tree)
        if self.mount.options.idmap:
            userns = os.open(f"/proc/{context.child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            try:
                kernel_mount.map_ids(tree, userns, recursive=self.mount.options.idmap == "ridmap")
            finally:
                os.close(userns)


@dataclass(frozen=True, slots=True)
class AttachRoot:
    """The root that the keeper mounted becomes this mount namespace's."""

    at: str
    handed: int
    why: str

    def describe(self) -> str:
        return f"mount --move /proc/self/fd/$FD {self.at}"

    def apply(self, context: Context) -> None:
        context.root = place_root(context.handed[self.handed], self.at)
