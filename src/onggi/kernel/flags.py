"""Kernel flags by name, so that errors and plans can print them.

Only what Python's `os` does not have. Values are those of the uapi headers named above each class.
Callers: the files beside this one, and whoever calls them. Read next: `mount`.
"""

from __future__ import annotations

from onggi.values import IntFlag


class Clone(IntFlag):
    """sched.h: what clone3(2), unshare(2) and setns(2) name."""

    NEWTIME = 0x00000080
    PIDFD = 0x00001000
    PARENT = 0x00008000
    NEWNS = 0x00020000
    NEWCGROUP = 0x02000000
    NEWUTS = 0x04000000
    NEWIPC = 0x08000000
    NEWUSER = 0x10000000
    NEWPID = 0x20000000
    NEWNET = 0x40000000


CLONE_INTO_CGROUP = 0x200000000


class Ms(IntFlag):
    """mount.h: flags of mount(2)."""

    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    SYNCHRONOUS = 0x10
    REMOUNT = 0x20
    MANDLOCK = 0x40
    DIRSYNC = 0x80
    NOSYMFOLLOW = 0x100
    NOATIME = 0x400
    NODIRATIME = 0x800
    BIND = 0x1000
    REC = 0x4000
    SILENT = 0x8000
    UNBINDABLE = 1 << 17
    PRIVATE = 1 << 18
    SLAVE = 1 << 19
    SHARED = 1 << 20
    RELATIME = 1 << 21
    I_VERSION = 1 << 23
    STRICTATIME = 1 << 24
    LAZYTIME = 1 << 25


class MountAttr(IntFlag):
    """mount.h: attributes of fsmount(2) and mount_setattr(2)."""

    RDONLY = 0x1
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    NOATIME = 0x10
    STRICTATIME = 0x20
    NODIRATIME = 0x80
    IDMAP = 0x100000
    NOSYMFOLLOW = 0x200000


ATIME_MASK = 0x70
"""The three bits of MountAttr that are one field: to set one of them, this is cleared."""

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_FDCWD = -100
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = 0o2000000
AT_SYMLINK_NOFOLLOW = 0x100
FSPICK_CLOEXEC = 1
FSPICK_EMPTY_PATH = 8
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MNT_DETACH = 2


def names(value: IntFlag | int) -> str:
    """`NOSUID|NODEV`; unknown bits in hex; `0` for none."""
    if not isinstance(value, IntFlag):
        return hex(value)
    members = {name: int(member) for name, member in vars(type(value)).items() if isinstance(member, int)}
    known = [name for name, member in members.items() if member & value]
    rest = int(value)
    for member in members.values():
        rest &= ~member
    if rest:
        known.append(hex(rest))
    return "|".join(known) or "0"
