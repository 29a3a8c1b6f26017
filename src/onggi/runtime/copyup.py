"""The step for `tmpcopyup`: a tmpfs that begins with what is at its place already. Loaded with such a mount only.

The image's tree is its author's, and on a shared directory others may change it while we read. So it is walked by
descriptors, one name at a time and through no link; what is no longer what it was when it was looked at is refused. The
copy is made in a tmpfs that nobody can see yet. You come from `plan_mounts`; read next: `mounts`.
"""

from __future__ import annotations

import errno
import os
import stat

from onggi.errors import KernelError
from onggi.kernel import mount as kernel_mount
from onggi.runtime.mount_attributes import set_propagation
from onggi.runtime.mounts import MountFilesystem
from onggi.runtime.steps import Context
from onggi.values import dataclass

_CHUNK = 8 << 20
_DEEPEST = 200
"""Directories in one another: each costs an open descriptor."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class MountCopy:
    """A tmpfs with a copy of the directory that it covers."""

    mount: MountFilesystem
    why: str

    def describe(self) -> str:
        return f"{self.mount.describe()}; cp -a {self.mount.destination}/. {self.mount.destination}"

    def apply(self, context: Context) -> None:
        mount = self.mount
        spot, is_new = mount.spot(context)
        try:
            tree = mount.make(context, spot, is_new=is_new)
            source = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=spot)
            target = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
            umask = os.umask(0)
            try:
                copy_directory(source, target)
            finally:
                os.umask(umask)
                os.close(source)
                os.close(target)
            set_propagation(tree, mount.options)
            kernel_mount.attach(tree, spot)
        finally:
            os.close(spot)
        mount.keep(context, tree)


def copy_directory(source: int, target: int) -> None:
    """Everything in one directory into another, both by descriptor: contents, modes, owners, times, links of both sorts.

    Sockets are left out, for they are nothing without who listens.
    """
    _copy_inside(source, target, {}, 0)


def _copy_inside(source: int, target: int, seen: dict[tuple[int, int], tuple[int, str]], depth: int) -> None:
    if depth > _DEEPEST:
        raise KernelError("copy", "directory", errno.ELOOP, detail=f"more than {_DEEPEST} directories in one another")
    for name in os.listdir(source):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFDIR:
            _copy_subdirectory(name, source, target, seen, depth)
        elif kind == stat.S_IFREG:
            _copy_file(name, found, source, target, seen)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            _take_over(name, found, target)
        elif kind != stat.S_IFSOCK:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
            _take_over(name, found, target)


def _copy_subdirectory(
    name: str, source: int, target: int, seen: dict[tuple[int, int], tuple[int, str]], depth: int
) -> None:
    inner = os.open(name, _DIRECTORY, dir_fd=source)
    try:
        found = os.fstat(inner)
        os.mkdir(name, 0o700, dir_fd=target)
        copy = os.open(name, _DIRECTORY, dir_fd=target)
        try:
            _copy_inside(inner, copy, seen, depth + 1)
            os.fchown(copy, found.st_uid, found.st_gid)
            os.fchmod(copy, stat.S_IMODE(found.st_mode))
            os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(copy)
    finally:
        os.close(inner)


def _copy_file(
    name: str, expected: os.stat_result, source: int, target: int, seen: dict[tuple[int, int], tuple[int, str]]
) -> None:
    inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
    try:
        found = os.fstat(inner)
        if not stat.S_ISREG(found.st_mode):  # a fifo or a device took its name since: it was opened, and not read
            raise KernelError("copy", name, errno.ESTALE, detail="it has become another file meanwhile")
        key = (expected.st_dev, expected.st_ino)
        if found.st_nlink > 1 and key in seen:
            directory, first = seen[key]
            os.link(first, name, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
            return
        copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while data := os.read(inner, _CHUNK):
                _write(copy, data)
            os.fchown(copy, found.st_uid, found.st_gid)
            os.fchmod(copy, stat.S_IMODE(found.st_mode))
            os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(copy)
        if found.st_nlink > 1:
            seen[key] = (target, name)
    finally:
        os.close(inner)


def _write(copy: int, data: bytes) -> None:
    while data:
        data = data[os.write(copy, data) :]


def _take_over(name: str, found: os.stat_result, target: int) -> None:
    """Owner and times of what has no descriptor of its own; a node has its mode from its making."""
    os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)
