"""The step that shares a mount of another container, such as its /dev/shm.

A mount can be copied only from inside the mount namespace that it is in (open_tree(2) gives EINVAL elsewhere). So the init,
which has one thread, goes there, copies, and comes back; what it carries belongs to no namespace and can be attached. The
place is looked up below the other container's root and through none of its symbolic links. You come from `plan`; read
next: `mounts`.
"""

from __future__ import annotations

import os

from onggi.kernel import mount as kernel_mount
from onggi.kernel import process
from onggi.kernel.flags import Clone
from onggi.kernel.path import Resolve, open_in_root
from onggi.runtime.mount_attributes import set_options
from onggi.runtime.options import MountOptions
from onggi.runtime.places import put
from onggi.runtime.steps import Context
from onggi.values import dataclass

_STRICT = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS | Resolve.NO_SYMLINKS


@dataclass(frozen=True, slots=True)
class MountOfContainer:
    """What is mounted at `destination` in the mount namespace `namespace`, at the same place here."""

    namespace: str
    destination: str
    options: MountOptions
    why: str

    def describe(self) -> str:
        return f"mount --bind -o {self.options.text()} {self.namespace}:{self.destination} {self.destination}"

    def apply(self, context: Context) -> None:
        tree = self._copy()
        try:
            set_options(tree, self.options)
            put(tree, self.destination, context)
        finally:
            os.close(tree)

    def _copy(self) -> int:
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            process.setns(there, Clone.NEWNS)
            try:
                return _copy_here(self.destination)
            finally:
                process.setns(home, Clone.NEWNS)
        finally:
            os.close(there)
            os.close(home)


def _copy_here(path: str) -> int:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_in_root(root, path, os.O_PATH, resolve=_STRICT)
        try:
            return kernel_mount.clone_tree("", fd=found, recursive=False)
        finally:
            os.close(found)
    finally:
        os.close(root)
