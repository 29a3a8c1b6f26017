"""Mounts that a create request asks for: binds, tmpfs, `--mount`. Checked and put in order; nothing is mounted here.

Callers: `engine/containers`. Read next: `runtime/mounts`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from onggi.engine.records import MountRecord
from onggi.errors import Invalid, Unsupported
from onggi.wire.containers import ContainerCreate
from onggi.wire.host_config import Mount

_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_IGNORED_MODES = frozenset({"z", "Z", "cached", "delegated", "consistent"})  # SELinux labels, and Docker Desktop's
_TMPFS_WORDS = frozenset(
    {"ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync", "noatime", "relatime"}
    | {"strictatime", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "size", "mpol"}
)


def _invalid(text: str) -> Invalid:
    return Invalid("read", "mount", text, code="text")


def requested(body: ContainerCreate) -> list[MountRecord]:
    """Every mount of the request, parents before what lies in them; Invalid when two want one place."""
    found: dict[str, MountRecord] = {}
    for record in _all(body):
        place = posixpath.normpath(record.destination)
        if place in found:
            raise _invalid(f"Duplicate mount point: {record.destination}")
        found[place] = record
    return [found[place] for place in sorted(found, key=lambda place: place.count("/"))]


def _all(body: ContainerCreate) -> Iterator[MountRecord]:
    host = body.host_config
    for text in host.binds or ():
        yield _bind(text)
    for mount in host.mounts or ():
        yield _mount(mount)
    for destination, options in (host.tmpfs or {}).items():
        _check_destination(destination)
        yield MountRecord(
            type="tmpfs",
            source="",
            destination=destination,
            options=_tmpfs(destination, options),
            rw=True,
            mode=options,
        )


def _bind(text: str) -> MountRecord:
    """`SOURCE:DESTINATION[:MODE,…]`, as `-v` takes it; a source that is missing is made, as Docker does."""
    parts = text.split(":")
    if len(parts) == 1 or len(parts) > 3 or not parts[0]:
        if len(parts) == 1 and text.startswith("/"):
            raise Unsupported(
                "mount", text, "anonymous volumes are not supported yet", hint="name a directory: /DIR:/DIR"
            )
        raise _invalid(f"invalid volume specification: '{text}'")
    source, destination, mode = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    if not source.startswith("/"):
        raise Unsupported(
            "mount", source, "named volumes are not supported yet", hint="give a directory's absolute path"
        )
    _check_destination(destination, f"invalid volume specification: '{text}': invalid mount config for type \"bind\": ")
    words = [word for word in mode.split(",") if word]
    for word in words:
        if word not in _PROPAGATIONS | _IGNORED_MODES | {"ro", "rw", "nocopy"}:
            raise _invalid(f"invalid mode: {mode}")
    os.makedirs(source, exist_ok=True) if not os.path.lexists(source) else None
    propagation = next((word for word in words if word in _PROPAGATIONS), "rprivate")
    read_only = "ro" in words
    options = ["rbind", propagation, *(["ro", "rro"] if read_only else ["rw"])]
    return MountRecord(
        type="bind",
        source=os.path.normpath(source),
        destination=posixpath.normpath(destination),
        options=options,
        rw=not read_only,
        mode=mode,
        propagation=propagation,
    )


def _check_destination(destination: str, where: str = "") -> None:
    if not destination.startswith("/"):
        raise _invalid(f"{where}invalid mount path: '{destination}' mount path must be absolute")
    if posixpath.normpath(destination) == "/":
        raise _invalid(f"{where}invalid specification: destination can't be '/'")


def _mount(mount: Mount) -> MountRecord:
    _check_destination(mount.target)
    if mount.type == "bind":
        return _bind_mount(mount)
    if mount.type == "tmpfs":
        return _tmpfs_mount(mount)
    if mount.type in ("volume", "image", "cluster", "npipe"):
        raise Unsupported("mount", f"type={mount.type}", "this type of mount is not supported yet")
    raise _invalid(f'invalid mount config for type "{mount.type}": mount type unknown')


def _bind_mount(mount: Mount) -> MountRecord:
    chosen = mount.bind_options
    if not mount.source.startswith("/"):
        raise _invalid(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}' mount path must be absolute"
        )
    if not os.path.exists(mount.source):
        if not (chosen and chosen.create_mountpoint):
            raise _invalid(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
        os.makedirs(mount.source, exist_ok=True)
    propagation = (chosen.propagation if chosen else "") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise _invalid(f'invalid mount config for type "bind": invalid propagation mode: {propagation}')
    options = ["bind" if chosen and chosen.non_recursive else "rbind", propagation]
    if mount.read_only:
        options += ["ro"] if chosen and chosen.read_only_non_recursive else ["ro", "rro"]
    return MountRecord(
        type="bind",
        source=os.path.normpath(mount.source),
        destination=posixpath.normpath(mount.target),
        options=options,
        rw=not mount.read_only,
        propagation=propagation,
    )


def _tmpfs_mount(mount: Mount) -> MountRecord:
    words = ["nosuid", "nodev", "noexec"]
    chosen = mount.tmpfs_options
    if chosen and chosen.size_bytes:
        words.append(f"size={chosen.size_bytes}")
    if chosen and chosen.mode:
        words.append(f"mode={chosen.mode:o}")
    if chosen and chosen.options:
        for option in chosen.options:
            words.append("=".join(option))
    if mount.read_only:
        words.append("ro")
    return MountRecord(type="tmpfs", source="", destination=mount.target, options=words, rw=not mount.read_only)


def _tmpfs(destination: str, options: str) -> list[str]:
    words = [word for word in options.split(",") if word]
    for word in words:
        if word.partition("=")[0] not in _TMPFS_WORDS:
            raise _invalid(f"invalid option for tmpfs {destination}: {word}")
    return ["nosuid", "nodev", "noexec", *words]
