"""What of a container is not its own, as CRIU must be told on both sides: mounts of the host's files, namespaces of others.

All that is known of it comes from the plan of the container's start: what that mounts from the host is external. Each such
mount has a key, its destination in the configuration, which the images keep; a restore finds the host's source by it. Pure
but for `keys`. Callers: `dump`, `restore`. Read next: criu(8), --external and --inherit-fd.
"""

from __future__ import annotations

import os
import stat

from onggi.errors import KernelError, Unsupported
from onggi.kernel.path import open_in_root
from onggi.runtime.covers import MaskPath
from onggi.runtime.devices import MakeDevice
from onggi.runtime.mounts import MountBind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from onggi.oci.runtime import Namespace, Spec
    from onggi.runtime.plan import Plan

    Pairs: TypeAlias = list[dict[str, str]]

NULL = "/dev/null"
"""The key and the source of every masked file."""
_BY_DESCRIPTOR = {"network": ("net", "extRootNetNS"), "pid": ("pid", "extRootPidNS")}
"""Namespaces that a restore is given by descriptor: CRIU's word for the kind, and the key."""
CRIUS_WORDS = {"ipc": "ipc", "uts": "uts", "user": "user", "mount": "mnt", "time": "time"}
"""Namespaces that CRIU joins by path."""


def sources(plan: Plan, nodes: str = "") -> Iterator[tuple[str, str]]:
    """Every mount that shows something of the host: its destination, and what it shows.

    Device nodes that were made for a user namespace are `nodes`/NUMBER. A bind of the root's own is the root's. Unsupported
    names a mount that CRIU would make another than it was.
    """
    for step in plan.inside:
        mount = getattr(step, "mount", step)
        if isinstance(mount, MountBind) and not mount.inside:
            if mount.id_map is not None:
                raise Unsupported("checkpoint mount", mount.destination, "CRIU knows nothing of its id map")
            yield mount.destination, mount.source
        elif isinstance(mount, MakeDevice) and mount.handed >= 0:
            yield mount.device.path, f"{nodes}/{mount.handed}"


def given(plan: Plan, nodes: str) -> Pairs:
    """For a restore: by which source each key is to be mounted."""
    found = dict(sources(plan, nodes))
    if any(isinstance(step, MaskPath) for step in plan.after):
        found[NULL] = NULL
    return [{"key": key, "val": source} for key, source in found.items()]


def keys(plan: Plan, root: int) -> Pairs:
    """For a dump: which mount points of the container below `root` are external, and the key of each."""
    found = {_real(root, destination): destination for destination, _ in sources(plan)}
    masked = (_real(root, step.path) for step in plan.after if isinstance(step, MaskPath) and _is_file(root, step.path))
    found |= dict.fromkeys(masked, NULL)
    return [{"key": place, "val": key} for place, key in found.items()]


def _real(root: int, path: str) -> str:
    """Where a path below `root` really is, links followed, as the container sees it; the path itself if it is gone."""
    try:
        spot = open_in_root(root, path, os.O_PATH)
    except KernelError:
        return path
    try:
        return os.readlink(f"/proc/self/fd/{spot}")
    finally:
        os.close(spot)


def _is_file(root: int, path: str) -> bool:
    try:
        spot = open_in_root(root, path, os.O_PATH)
    except KernelError:  # this kernel has no such file, or a link on the way leads nowhere: nothing was masked
        return False
    try:
        return not stat.S_ISDIR(os.fstat(spot).st_mode)
    finally:
        os.close(spot)


def described(spec: Spec, pid: int) -> list[str]:
    """For a dump: `net[INODE]:KEY` of each namespace that the container was given and a restore will be given again."""
    found = []
    for namespace in spec.namespaces:
        if namespace.path and namespace.type in _BY_DESCRIPTOR:
            word, key = _BY_DESCRIPTOR[namespace.type]
            found.append(f"{word}[{os.stat(f'/proc/{pid}/ns/{word}').st_ino}]:{key}")
    return found


def by_descriptor(spec: Spec) -> Iterator[tuple[Namespace, str]]:
    """For a restore: the namespaces that CRIU inherits as descriptors, and the key of each."""
    for namespace in spec.namespaces:
        if namespace.path and namespace.type in _BY_DESCRIPTOR:
            yield namespace, _BY_DESCRIPTOR[namespace.type][1]


def joined(spec: Spec) -> list[dict[str, str]]:
    """For a restore: the namespaces that CRIU joins by itself."""
    return [
        {"ns": CRIUS_WORDS[namespace.type], "ns_file": namespace.path}
        for namespace in spec.namespaces
        if namespace.path and namespace.type in CRIUS_WORDS
    ]
