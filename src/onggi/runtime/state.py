"""The state of containers that `onggi-oci` started: one directory each below its root, a state.json inside.

    ROOT/ID/state.json      ociVersion, id, pid, bundle, created, …, and what tells a pid from its successor

Written aside and renamed, so a reader finds the whole document or none. Whether the container still runs is asked of the
kernel each time, never remembered. Callers: `main`. Read next: the runtime specification's runtime.md, "State".
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from onggi.errors import Conflict, Invalid, NotFound, OnggiError
from onggi.kernel.cgroup.layout import Layout
from onggi.oci.runtime import VERSION

Json = dict[str, Any]

_NAME = "state.json"
_ID = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")


def checked_id(container_id: str) -> str:
    """The id, if it can name a directory."""
    if not _ID.fullmatch(container_id) or container_id in (".", ".."):
        raise Invalid("read container id", container_id, "it may hold letters, digits and the signs _ + - .")
    return container_id


def reserve(root: str, container_id: str) -> str:
    """Make the container's directory; Conflict when the id is in use."""
    directory = os.path.join(root, checked_id(container_id))
    os.makedirs(root, 0o711, exist_ok=True)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError as error:
        hint = f"onggi-oci delete {container_id}" if os.path.exists(os.path.join(directory, _NAME)) else ""
        raise Conflict("create container", container_id, "container with given ID already exists", hint=hint) from error
    return directory


def release(directory: str) -> None:
    """Remove the container's directory."""
    for name in (_NAME, f".{_NAME}.new"):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            continue
    os.rmdir(directory)


def document(
    container_id: str, pid: int, bundle: str, rootfs: str, cgroup: str, annotations: Json, created: str
) -> Json:
    """What is kept of a container that runs."""
    return {
        "ociVersion": VERSION,
        "id": container_id,
        "pid": pid,
        "bundle": bundle,
        "rootfs": rootfs,
        "created": created,
        "owner": "",
        "annotations": annotations,
        "cgroup": cgroup,
        "started": _started(pid),
    }


def write(directory: str, kept: Json) -> None:
    """Keep it, whole or not at all."""
    new = os.path.join(directory, f".{_NAME}.new")
    with open(new, "w") as file:
        json.dump(kept, file)
    os.rename(new, os.path.join(directory, _NAME))


def read(root: str, container_id: str) -> Json:
    """What is kept of this container; NotFound when nothing is."""
    path = os.path.join(root, checked_id(container_id), _NAME)
    try:
        with open(path) as file:
            kept: Json = json.load(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("find container", container_id, "container does not exist") from error
    except ValueError as error:
        raise Invalid("read state of container", container_id, str(error)) from error
    return kept


def every(root: str) -> list[Json]:
    """What is kept of all containers, by id."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(read(root, name))
        except OnggiError:  # the cache of filters, or a container that is going
            continue
    return found


def status(kept: Json, layout: Layout) -> str:
    """running, paused or stopped, as the kernel has it now."""
    if _started(kept["pid"]) != kept["started"]:
        return "stopped"
    if layout.exists(kept["cgroup"]) and layout.is_frozen(kept["cgroup"]):
        return "paused"
    return "running"


def shown(kept: Json, layout: Layout) -> Json:
    """The document that `state` prints: the specification's members, and runc's."""
    now = status(kept, layout)
    public = {name: value for name, value in kept.items() if name not in ("cgroup", "started")}
    return {**public, "status": now, "pid": kept["pid"] if now != "stopped" else 0}


def _started(pid: int) -> int:
    """When a process was started, in clock ticks since the boot; 0 when it is gone. Together with the pid it is one process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
