"""A directory tree by descriptors: find a place below its root, and remove whatever lies there.

No string is ever joined to a root. Names are resolved by openat2(2); where a tree has symbolic links on the way, they
are walked one by one, absolute ones from the tree's root, and a step above the root is an error, not a redirection.
Callers: `store/unpack`, `store/snapshots`, `store/layers`. Read next: `unpack`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from typing import Protocol

from onggi.errors import Corrupt, KernelError
from onggi.kernel.fd import Fd
from onggi.kernel.path import Resolve, open_in_root

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANY_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_LINK = os.O_PATH | os.O_NOFOLLOW
_BENEATH = Resolve.BENEATH | Resolve.NO_MAGICLINKS
_STRICT = _BENEATH | Resolve.NO_SYMLINKS
_MOST_LINKS = 40  # as the kernel (MAXSYMLINKS)

_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_FROZEN = 0x10 | 0x20  # FS_IMMUTABLE_FL, FS_APPEND_FL
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 64  # one descriptor each


def split(name: bytes) -> list[bytes]:
    """The components of an archive's name; a leading `/` and `.` mean nothing, `..` is Corrupt."""
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise escapes(name)
    return parts


def escapes(name: bytes) -> Corrupt:
    """The error of a name that leads out of its tree."""
    return Corrupt(
        "unpack",
        name.decode(errors="backslashreplace"),
        "the name leads outside of the tree",
        hint="the archive is hostile; do not trust its source",
        code="archive.escapes",
    )


def open_directory(root: int, parts: list[bytes]) -> Fd:
    """The directory `parts` below `root`, links on the way followed within it; OSError, or Corrupt if one leaves."""
    try:
        return _open(root, parts, _ANY_DIRECTORY, _STRICT)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    return _walk(root, parts)


def _open(root: int, parts: list[bytes], flags: int, resolve: int) -> Fd:
    """openat2(2), its failures as the builtin classes (FileNotFoundError and so on) that code below can tell apart."""
    name = b"/".join(parts) or b"."
    try:
        return Fd(open_in_root(root, name, flags, resolve=resolve))
    except KernelError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _walk(root: int, parts: list[bytes]) -> Fd:
    """Resolve links by hand: `openat2` can redirect `..` at the root or refuse absolute links, and we want neither."""
    trail: list[bytes] = []
    todo = list(reversed(parts))
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            if not trail:
                raise escapes(b"/".join(parts))
            trail.pop()
            continue
        trail.append(part)
        target = _link_target(root, trail)
        if target is None:
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), b"/".join(parts))
        trail = [] if target.startswith(b"/") else trail[:-1]
        todo += reversed([step for step in target.split(b"/") if step and step != b"."])
    return _open(root, trail, _ANY_DIRECTORY, _STRICT)


def _link_target(root: int, trail: list[bytes]) -> bytes | None:
    """Where the link at `trail` points; None if it is none. No component before the last is a link."""
    with _open(root, trail, _LINK, _BENEATH) as place:
        if not stat.S_ISLNK(os.fstat(place.fileno()).st_mode):
            return None
        return os.readlink(b"", dir_fd=place.fileno())


def remove(parent: int, name: str | bytes) -> None:
    """Remove whatever `name` in the directory `parent` is, with all below it; nothing there is no error.

    Depth costs neither stack nor descriptors, and immutable and append-only files go too. A mount below it is an error.
    """
    name = os.fsencode(name)
    if not _unlink(parent, name):
        return
    with Fd(os.open(name, _LISTED, dir_fd=parent)) as top:
        while os.listdir(top.fileno()):
            _empty(top.fileno(), top.fileno(), 0)
    _forced(os.rmdir, parent, name)


def _empty(top: int, directory: int, depth: int) -> None:
    """Remove what is in `directory`; what lies too deep is moved to `top`, for the next round."""
    for name in map(os.fsencode, os.listdir(directory)):
        if not _unlink(directory, name):
            continue
        if depth == _DEEPEST:
            aside = b".onggi-" + os.urandom(8).hex().encode()
            _forced(
                lambda old, dir_fd, new=aside: os.rename(old, new, src_dir_fd=dir_fd, dst_dir_fd=top), directory, name
            )
            continue
        with Fd(os.open(name, _LISTED, dir_fd=directory)) as below:
            _empty(top, below.fileno(), depth + 1)
        _forced(os.rmdir, directory, name)


def _unlink(parent: int, name: bytes) -> bool:
    """Remove `name` if it is no directory; True if it is one."""
    try:
        _forced(os.unlink, parent, name)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        return True
    return False


class _ByName(Protocol):
    def __call__(self, name: bytes, /, *, dir_fd: int) -> None: ...


def _forced(action: _ByName, parent: int, name: bytes) -> None:
    """Do it; where the immutable or append-only attribute forbids it, take that away and do it again."""
    try:
        action(name, dir_fd=parent)
    except PermissionError:
        thawed = [_thaw(parent, place) for place in (name, b".")]
        if not any(thawed):
            raise
        action(name, dir_fd=parent)


def _thaw(parent: int, name: bytes) -> bool:
    """Clear chattr(1)'s `i` and `a` (ioctl_iflags(2)) of a file or directory; whether one was set."""
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return False  # to open anything else could have effects, and it cannot have the attributes
    with Fd(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)) as file:
        try:
            flags = int.from_bytes(fcntl.ioctl(file.fileno(), _FS_IOC_GETFLAGS, bytes(8)), sys.byteorder)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):  # a file system without such attributes
                return False
            raise
        if not flags & _FS_FROZEN:
            return False
        fcntl.ioctl(file.fileno(), _FS_IOC_SETFLAGS, (flags & ~_FS_FROZEN).to_bytes(8, sys.byteorder))
    return True
