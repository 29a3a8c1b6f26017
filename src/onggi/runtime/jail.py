"""Ways into the container's root other than pivot_root(2), and what is done for them. Loaded with such a plan only.

    --no-pivot                        the root's mount is moved to /: pivot_root(2) refuses a root on an initramfs
    no mount namespace of its own     chroot(2) alone: the mounts are the caller's
    rootfsPropagation shared          pivot_root(2) refuses a root whose parent is shared, and what it is to be comes after

You come from `plan`; read next: `mounts`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel.flags import Ms
from onggi.runtime.mounts import propagation_word
from onggi.runtime.steps import Context
from onggi.values import dataclass

_FULL = ("proc", "sysfs")


@dataclass(frozen=True, slots=True)
class PrivateParent:
    """The mount on which the root lies propagates nothing: not the root's own mount, and pivot_root(2) asks for it."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mount --make-private $(findmnt -no TARGET -T {self.path})"

    def apply(self, context: Context) -> None:
        path = self.path
        while True:
            try:
                kernel_mount.set_propagation(path, Ms.PRIVATE)
            except OSError as error:
                if error.errno != errno.EINVAL or path == "/":
                    raise
                path = os.path.dirname(path)  # it is no mount: the next one up
                continue
            return


@dataclass(frozen=True, slots=True)
class RootPropagation:
    """How mounts below the root spread, once it is the root."""

    kind: Ms
    why: str

    def describe(self) -> str:
        return f"mount --make-{propagation_word(self.kind)} /"

    def apply(self, context: Context) -> None:
        recursive = bool(self.kind & Ms.REC)
        kernel_mount.set_attributes(context.root, propagation=self.kind & ~Ms.REC, recursive=recursive)


@dataclass(frozen=True, slots=True)
class MoveRoot:
    """The root's mount in place of /, without pivot_root(2).

    The host's mounts stay below it, out of reach but in the namespace, and among them a /proc and a /sys without masks:
    while there is one, the kernel lets the container's root make another (mount_too_revealing). So they go first.
    """

    path: str
    why: str

    def describe(self) -> str:
        return f"umount -a -l -t proc,sysfs; mount --move {self.path} /; chroot ."

    def apply(self, context: Context) -> None:
        for place in full_mounts(_mountinfo(), self.path):
            _let_go(place)
        top = kernel_mount.open_path("/")
        kernel_mount.attach(context.root, top)
        os.close(top)
        os.fchdir(context.root)
        os.chroot(".")
        os.chdir("/")


def _mountinfo() -> str:
    told = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    found = b""
    try:
        while data := os.read(told, 1 << 16):
            found += data
    finally:
        os.close(told)
    return os.fsdecode(found)


def full_mounts(mountinfo: str, outside_of: str) -> list[str]:
    """Where a whole procfs or sysfs is mounted, other than below `outside_of`. Pure; proc_pid_mountinfo(5)."""
    found = []
    for line in mountinfo.splitlines():
        words, _, rest = line.partition(" - ")
        root, place = words.split(" ")[3:5]
        kind = rest.partition(" ")[0]
        for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            place = place.replace(code, letter)
        below = place == outside_of or place.startswith(outside_of.rstrip("/") + "/")
        if root == "/" and kind in _FULL and not below:
            found.append(place)
    return found


def _let_go(place: str) -> None:
    try:
        kernel_mount.set_propagation(place, Ms.SLAVE | Ms.REC)
        kernel_mount.detach(place)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return  # it went with one above it
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        cover = kernel_mount.new("tmpfs", source="tmpfs")  # locked, in a user namespace: no full mount if it is covered
        spot = kernel_mount.open_path(place)
        kernel_mount.attach(cover, spot)
        os.close(spot)
        os.close(cover)


@dataclass(frozen=True, slots=True)
class ChangeRoot:
    """The container's root as this process's, in a mount namespace that is somebody else's too."""

    why: str

    def describe(self) -> str:
        return "chroot ."

    def apply(self, context: Context) -> None:
        os.fchdir(context.root)
        os.chroot(".")
        os.chdir("/")
