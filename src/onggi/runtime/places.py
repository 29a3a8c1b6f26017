"""Places below the container's root: looked up or made, and what is mounted put onto them.

Every place is resolved once, below the container's root, by openat2 with RESOLVE_IN_ROOT, and what is mounted is put onto
that descriptor. A symbolic link planted in the image leads at most to another place in the image. Nothing is put onto the
root itself, nor into the container's /proc. Callers: the steps that mount, and those that make files. Read next: `mounts`.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from onggi.errors import Invalid, KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel.path import Resolve, open_in_root
from onggi.runtime.steps import Context

_LOOSE = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
_STRICT = _LOOSE | Resolve.NO_SYMLINKS
_LINK_LIMIT = 40
PROC_FILES = frozenset(
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
        "sys/crypto/fips_enabled",
    )
)
"""What lxcfs and its like put over single files of /proc; anything else below it would deceive us and the container."""


def clean(path: str) -> str:
    """An absolute path without `.`, `..` and more slashes than it needs."""
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def target(context: Context, path: str, *, directory: bool) -> int:
    """A descriptor (O_PATH) of `path` below the container's root, made if it is missing; the caller closes it."""
    found = existing(context, path)
    return found if found >= 0 else made(context, path, directory=directory)


def existing(context: Context, path: str, *, follow: bool = True, no_links: bool = False) -> int:
    """The place, if there is one, else -1; without `follow` its last name may be a link, with `no_links` no name may."""
    flags = os.O_PATH | (0 if follow else os.O_NOFOLLOW)
    try:
        found = open_in_root(context.root, path, flags, resolve=_STRICT if no_links else _LOOSE)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return -1
    return _checked(context, path, found)


def made(context: Context, path: str, *, directory: bool) -> int:
    """The place as a new directory or empty file."""
    return _checked(context, path, _make(context.root, path, directory=directory))


def _checked(context: Context, path: str, found: int) -> int:
    is_now = os.fstat(found)
    cause = ""
    if is_now.st_dev == context.proc_device and clean(path) not in PROC_FILES:
        cause = "it is inside the container's /proc"
    elif is_now.st_ino == context.root_file[1] and is_now.st_dev == context.root_file[0] and _is_root(context, found):
        cause = "it is the root itself"
    if cause:
        os.close(found)
        raise Invalid("mount", path, cause)
    return found


def _is_root(context: Context, found: int) -> bool:
    """Whether two descriptors of one directory are of one mount, too."""
    return _mount_id(found) == _mount_id(context.root)


def _mount_id(descriptor: int) -> bytes:
    told = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return next(line for line in os.read(told, 4096).split(b"\n") if line.startswith(b"mnt_id:"))
    finally:
        os.close(told)


def _make(root: int, path: str, *, directory: bool, depth: int = 0) -> int:
    """Make `path` below `root`, parents too, through links that dangle inside it, as Docker does for resolv.conf."""
    if depth > _LINK_LIMIT:
        raise KernelError("openat2", path, errno.ELOOP)
    parent_path, name = posixpath.split(clean(path))
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


def directory_of(root: int, path: str, depth: int = 0) -> int:
    """A descriptor (O_PATH) of a directory below `root`, made if it is missing."""
    try:
        return open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno != errno.ENOENT or path == "/":
            raise
        return _make(root, path, directory=True, depth=depth + 1)


def parent_of(context: Context, path: str, *, no_links: bool = False) -> tuple[int, str]:
    """A descriptor (O_PATH) of the directory that `path` names a file in, made if it is missing, and the file's name."""
    parent_path, name = posixpath.split(clean(path))
    if not no_links:
        return directory_of(context.root, parent_path), name
    try:
        return _open_directory(context, parent_path), name
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    os.close(directory_of(context.root, parent_path))
    return _open_directory(context, parent_path), name


def _open_directory(context: Context, path: str) -> int:
    return open_in_root(context.root, path, os.O_PATH | os.O_DIRECTORY, resolve=_STRICT)


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


def put(tree: int, destination: str, context: Context) -> None:
    """Attach a detached tree at `destination` below the container's root, made if it is missing."""
    spot = target(context, destination, directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    try:
        kernel_mount.attach(tree, spot)
    finally:
        os.close(spot)
