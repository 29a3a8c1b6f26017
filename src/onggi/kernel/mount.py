"""Mounts by descriptor: the mount API of Linux 5.2 and later.

A new mount is born detached (`fsmount`, `open_tree` with CLONE), gets its attributes while nobody can see it, and is then
attached onto a descriptor (`move_mount`). No path is looked up twice, so nothing can be swapped in between
(CVE-2021-30465, CVE-2025-31133). Callers: `runtime/steps`, `runtime/launch`. Read next: `path`, `process`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    FSPICK_CLOEXEC,
    FSPICK_EMPTY_PATH,
    MNT_DETACH,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    MountAttr,
    Ms,
    names,
)
from onggi.kernel.syscall import bind, bind_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_c_int, _c_uint, _c_char_p = ctypes.c_int, ctypes.c_uint, ctypes.c_char_p

_fsopen = bind_number("fsopen", _c_char_p, _c_uint)
_fsconfig = bind_number("fsconfig", _c_int, _c_uint, _c_char_p, _c_char_p, _c_int)
_fsmount = bind_number("fsmount", _c_int, _c_uint, _c_uint)
_fspick = bind_number("fspick", _c_int, _c_char_p, _c_uint)
_open_tree = bind_number("open_tree", _c_int, _c_char_p, _c_uint)
_move_mount = bind_number("move_mount", _c_int, _c_char_p, _c_int, _c_char_p, _c_uint)
_mount_setattr = bind_number("mount_setattr", _c_int, _c_char_p, _c_uint, ctypes.c_void_p, ctypes.c_size_t)
_pivot_root = bind_number("pivot_root", _c_char_p, _c_char_p)
_umount2 = bind("umount2", _c_int, _c_char_p, _c_int)
_mount = bind("mount", _c_int, _c_char_p, _c_char_p, _c_char_p, ctypes.c_ulong, _c_char_p)

_SET_FLAG, _SET_STRING, _SET_FD, _CREATE, _RECONFIGURE = 0, 1, 5, 6, 7
_LONGEST_VALUE = 255
"""Bytes that fsconfig(2) takes for a string."""


class _MountAttrs(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def new(fstype: str, options: Iterable[tuple[str, str | None]] = (), attributes: int = 0, source: str = "") -> int:
    """A detached mount of a new file system: fsopen(2), fsconfig(2), fsmount(2).

    `options` are `(key, value)`, value None for a flag. The caller owns the descriptor. An option that the file system
    refuses is named in the error, with what the kernel wrote to the context's log.
    """
    context = _fsopen(fstype.encode(), FSOPEN_CLOEXEC)
    try:
        step = "source"
        try:
            if source:
                _fsconfig(context, _SET_STRING, b"source", source.encode(), 0)
            for step, value in options:
                _option(context, step, value)
            step = "create"
            _fsconfig(context, _CREATE, None, None, 0)
        except KernelError as error:
            raise KernelError("mount", fstype, error.errno or 0, detail=f"{step}: {_messages(context)}") from error
        try:
            return _fsmount(context, FSMOUNT_CLOEXEC, attributes)
        except KernelError as error:
            raise KernelError("fsmount", fstype, error.errno or 0, detail=names(MountAttr(attributes))) from error
    finally:
        os.close(context)


def _option(context: int, key: str, value: str | None) -> None:
    if value is None:
        _fsconfig(context, _SET_FLAG, os.fsencode(key), None, 0)
        return
    data = os.fsencode(value)
    if len(data) > _LONGEST_VALUE:
        raise KernelError(
            "fsconfig", key, errno.EINVAL, detail=f"a value of {len(data)} bytes, where the kernel takes 255"
        )
    _fsconfig(context, _SET_STRING, os.fsencode(key), data, 0)


def reconfigure(fd: int, options: Iterable[tuple[str, str | None]]) -> None:
    """Change the options of a mounted file system itself, by a descriptor of its mount: fspick(2), fsconfig(2)."""
    context = _fspick(fd, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH)
    step = "options"
    try:
        for step, value in options:
            _option(context, step, value)
        step = "reconfigure"
        _fsconfig(context, _RECONFIGURE, None, None, 0)
    except KernelError as error:
        raise KernelError("remount", step, error.errno or 0, detail=_messages(context)) from error
    finally:
        os.close(context)


def _messages(context: int) -> str:
    """What the kernel says in the log of a file system context, joined; empty when it says nothing."""
    said: list[str] = []
    os.set_blocking(context, False)
    while True:
        try:
            said.append(os.read(context, 4096).decode(errors="replace").strip())
        except OSError:  # ENODATA: the log is read to its end
            return "; ".join(said) or "no message"


def overlay(lowers: Iterable[str], upper: str, work: str, at: str, *, userxattr: bool = False) -> int:
    """A detached overlay of `lowers` (the top one first) below `upper`.

    With `lowerdir+` (Linux 6.7) each layer is an option of its own, so that their number has no limit. Older kernels
    call the whole invalid, some as late as at its creation; they take one string of a page by mount(2), which must
    attach: onto `at`, then cloned and let go.
    """
    lowers = tuple(lowers)
    extra: list[tuple[str, str | None]] = [("userxattr", None)] if userxattr else []
    try:
        layers: list[tuple[str, str | None]] = [("lowerdir+", lower) for lower in lowers]
        return new("overlay", [*layers, ("upperdir", upper), ("workdir", work), *extra], 0, "overlay")
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
    return overlay_by_mount(lowers, upper, work, at, ",userxattr" if userxattr else "")


def overlay_by_mount(lowers: tuple[str, ...], upper: str, work: str, at: str, extra: str = "") -> int:
    """The same by mount(2), on any kernel that has overlayfs: mounted onto `at`, cloned, let go."""
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        base = os.path.commonpath(lowers) if len(lowers) > 1 else os.path.dirname(lowers[0]) or "/"
        os.chdir(base)  # relative names: an option page holds 4,096 bytes
        joined = ":".join(os.path.relpath(lower, base) for lower in lowers)
        options = f"lowerdir={joined},upperdir={upper},workdir={work}{extra}"
        if len(options) >= os.sysconf("SC_PAGE_SIZE"):
            raise KernelError(
                "mount", "overlay", errno.E2BIG, detail=f"{len(lowers)} layers do not fit one option page"
            )
        _mount(b"overlay", os.fsencode(at), b"overlay", 0, os.fsencode(options))
    finally:
        os.fchdir(here)
        os.close(here)
    try:
        return clone_tree(at, recursive=False)
    finally:
        detach(at)


def overlay_of(lowers: Iterable[int], upper: int, work: int) -> int:
    """A detached overlay of layers that are descriptors, detached mounts among them: Linux 6.15 (overlayfs.rst)."""
    context = _fsopen(b"overlay", FSOPEN_CLOEXEC)
    step = "source"
    try:
        _fsconfig(context, _SET_STRING, b"source", b"overlay", 0)
        keys = [("lowerdir+", lower) for lower in lowers]
        for step, layer in (*keys, ("upperdir", upper), ("workdir", work)):
            _fsconfig(context, _SET_FD, step.encode(), None, layer)
        step = "create"
        _fsconfig(context, _CREATE, None, None, 0)
        step = "fsmount"
        return _fsmount(context, FSMOUNT_CLOEXEC, 0)
    except KernelError as error:
        hint = "an overlay of id-mapped layers that nobody else can see needs Linux 6.15 or later"
        detail = f"{step}: {_messages(context)}"
        raise KernelError("mount", "overlay", error.errno or 0, detail=detail, hint=hint) from error
    finally:
        os.close(context)


def open_path(path: str) -> int:
    """A descriptor of `path` as it is mounted now (O_PATH), close-on-exec."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def clone_tree(path: str, *, fd: int = AT_FDCWD, recursive: bool, follow: bool = True) -> int:
    """A detached copy of the mount at `path`: open_tree(2) with CLONE; with path "" of what `fd` itself names.

    Without `follow` a symbolic link is what is shown, not what it leads to.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    flags |= (0 if path else AT_EMPTY_PATH) | (0 if follow else AT_SYMLINK_NOFOLLOW)
    return _open_tree(fd, os.fsencode(path), flags)


def attach(mount_fd: int, target_fd: int) -> None:
    """Put a detached mount, or move an attached one, onto what `target_fd` names: move_mount(2)."""
    _move_mount(mount_fd, b"", target_fd, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)


def set_attributes(fd: int, on: int = 0, off: int = 0, *, propagation: int = 0, recursive: bool = False) -> None:
    """mount_setattr(2) on the mount that `fd` names. Setting an atime attribute clears the atime field first."""
    attributes = _MountAttrs(int(on), int(off), int(propagation), 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    try:
        _mount_setattr(fd, b"", flags, ctypes.byref(attributes), ctypes.sizeof(attributes))
    except KernelError as error:
        raise KernelError(
            "mount_setattr",
            f"+{names(MountAttr(on))} -{names(MountAttr(off))} {names(Ms(propagation))}",
            error.errno or 0,
        ) from error


def map_ids(fd: int, userns_fd: int, *, recursive: bool = False) -> None:
    """Let a detached mount show its owners through the id map of `userns_fd` (mount_setattr(2), IDMAP)."""
    attributes = _MountAttrs(int(MountAttr.IDMAP), 0, 0, userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    try:
        _mount_setattr(fd, b"", flags, ctypes.byref(attributes), ctypes.sizeof(attributes))
    except KernelError as error:
        hint = "not every file system can be shown through an id map; tmpfs can from Linux 6.3 on"
        raise KernelError("mount_setattr", "+IDMAP", error.errno or 0, hint=hint) from error


def set_propagation(path: str, kind: Ms) -> None:
    """mount(2) with a propagation flag only: `Ms.SLAVE | Ms.REC` on `/` keeps our mounts to ourselves."""
    _mount(None, os.fsencode(path), None, int(kind), None)


def pivot_to_here() -> None:
    """Make the working directory the root and let the old root go: pivot_root(2), the `.` `.` form of its man page."""
    _pivot_root(b".", b".")
    _umount2(b".", MNT_DETACH)
    os.chdir("/")


def detach(path: str) -> None:
    """umount2(2) with MNT_DETACH."""
    _umount2(os.fsencode(path), MNT_DETACH)
