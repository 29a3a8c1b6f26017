"""A mount's attributes, given to it before anybody sees it.

In a user namespace of the container's own, mounts of the host are locked: what is set there cannot be cleared
(mount_namespaces(7)). A bind mount that asks for some flags then keeps the locked ones beside them; one that asks for the
absence of a locked flag, or for another atime, is refused, as runc does it. Callers: the steps that mount. Read next:
`mounts`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError
from onggi.kernel import mount as kernel_mount
from onggi.kernel.flags import ATIME_MASK, MountAttr, names
from onggi.runtime.options import MountOptions

_OWN = MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV | MountAttr.NOEXEC | MountAttr.NOSYMFOLLOW
"""What a bind mount that asks for flags loses, unless it asks for them."""
_LOCKED = int(MountAttr.RDONLY | MountAttr.NOSUID | MountAttr.NODEV | MountAttr.NOEXEC)
_ATIME = ATIME_MASK | int(MountAttr.NODIRATIME)
# statvfs(3) and mount_setattr(2) have the same flags under other numbers.
_SHOWN = (
    (os.ST_RDONLY, MountAttr.RDONLY),
    (os.ST_NOSUID, MountAttr.NOSUID),
    (os.ST_NODEV, MountAttr.NODEV),
    (os.ST_NOEXEC, MountAttr.NOEXEC),
    (os.ST_NOATIME, MountAttr.NOATIME),
    (os.ST_NODIRATIME, MountAttr.NODIRATIME),
)


def set_options(tree: int, options: MountOptions) -> None:
    """Give a detached copy of a mount what its options ask for: flags, flags of the whole tree, propagation."""
    if options.exact:
        on, off = options.attributes, int(_OWN) & ~options.attributes
        off |= _ATIME & ~(options.attributes & MountAttr.NODIRATIME) if options.atime else 0
        try:
            kernel_mount.set_attributes(tree, MountAttr(on), MountAttr(off))
        except KernelError as error:
            if error.errno != errno.EPERM:
                raise
            _keep_locked(tree, options, error)
    if options.recursive != (0, 0):
        kernel_mount.set_attributes(tree, *map(MountAttr, options.recursive), recursive=True)
    set_propagation(tree, options)


def set_propagation(tree: int, options: MountOptions) -> None:
    """The propagation words in their order."""
    for kind, recursive in options.propagation:
        kernel_mount.set_attributes(tree, propagation=kind, recursive=recursive)


def _keep_locked(tree: int, options: MountOptions, refusal: KernelError) -> None:
    shown = os.fstatvfs(tree).f_flag
    there = 0
    for flag, attribute in _SHOWN:
        there |= int(attribute) if shown & flag else 0
    if not shown & (os.ST_RELATIME | os.ST_NOATIME):
        there |= int(MountAttr.STRICTATIME)
    locked = there & options.cleared & (_LOCKED | _ATIME)
    if locked:
        raise _refused(refusal, f"cannot clear locked flags {names(MountAttr(locked))}")
    if options.atime and (options.attributes ^ there) & _ATIME:
        raise _refused(refusal, f"cannot change locked atime flags {names(MountAttr(there & _ATIME))}")
    on = options.attributes & ~_ATIME | there & _LOCKED
    kernel_mount.set_attributes(tree, MountAttr(on), MountAttr(int(_OWN) & ~on))


def _refused(refusal: KernelError, detail: str) -> KernelError:
    return KernelError(refusal.verb, refusal.object, errno.EPERM, detail=detail)
