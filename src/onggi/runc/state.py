"""The state of containers that `onggi-oci` made: one directory each below its root.

    ROOT/ID/state.json      ociVersion, id, pid, bundle, created, config, …, and what tells a pid from its successor
    ROOT/ID/exec.fifo       while the container waits for `start`

The document is written aside and renamed, so a reader finds a whole one or none. Whether the container runs is asked of
the kernel each time, never remembered. Callers: the commands. Read next: the runtime specification's runtime.md.
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import Conflict, Invalid, NotFound, OnggiError
from onggi.oci.runtime import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.words import Options

    Json: TypeAlias = dict[str, Any]

_NAME, FIFO = "state.json", "exec.fifo"
_SIGNS = frozenset("_+-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_LONGEST = 1024
_OURS = ("cgroup", "started", "config", "new_keyring", "streams")
"""Members of the document that are ours, not the specification's."""


def root(options: Options) -> str:
    """Where the containers' directories are: `--root`, or what belongs to the caller."""
    given = options.get("root")
    if given:
        return os.path.abspath(given)
    own = os.environ.get("XDG_RUNTIME_DIR", "") if os.geteuid() else ""
    return os.path.join(own or "/run", "onggi-oci")


def checked_id(container_id: str) -> str:
    """The id, if it can name a directory."""
    if not 0 < len(container_id) <= _LONGEST or container_id in (".", "..") or set(container_id) - _SIGNS:
        raise Invalid("read container id", container_id, "invalid id format: letters, digits and the signs _ + - .")
    return container_id


def reserve(root: str, container_id: str) -> str:
    """Make the container's directory; Conflict when the id is in use."""
    directory = os.path.join(root, checked_id(container_id))
    os.makedirs(root, 0o711, exist_ok=True)
    try:
        os.mkdir(directory, 0o711)
    except FileExistsError as error:
        hint = f"onggi-oci delete {container_id}" if os.path.exists(os.path.join(directory, _NAME)) else ""
        raise Conflict("create container", container_id, "container with given ID already exists", hint=hint) from error
    return directory


def release(directory: str) -> None:
    """Remove the container's directory."""
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
    os.rmdir(directory)


def document(container_id: str, pid: int, bundle: str, config: Json, rootfs: str, cgroup: str, created: str) -> Json:
    """What is kept of a container that runs."""
    return {
        "ociVersion": VERSION,
        "id": container_id,
        "pid": pid,
        "bundle": bundle,
        "rootfs": rootfs,
        "created": created,
        "owner": "root" if os.geteuid() == 0 else str(os.geteuid()),
        "annotations": config.get("annotations") or {},
        "cgroup": cgroup,
        "started": _started(pid),
        "config": config,
    }


def write(directory: str, kept: Json) -> None:
    """Keep it, whole or not at all."""
    new = os.path.join(directory, f".{_NAME}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, documents.dumps(kept))
    finally:
        os.close(descriptor)
    os.rename(new, os.path.join(directory, _NAME))


def read(root: str, container_id: str) -> Json:
    """What is kept of this container; NotFound when nothing is."""
    path = os.path.join(root, checked_id(container_id), _NAME)
    try:
        with open(path, "rb") as file:
            kept: Json = documents.loads(file.read())
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
        except OnggiError:  # the cache of filters, or a container that is coming or going
            continue
    return found


def is_running(kept: Json) -> bool:
    """Whether its first process lives, and no other has its pid by now."""
    return bool(kept["pid"] > 0 and _started(kept["pid"]) == kept["started"])


def open_process(kept: Json) -> int:
    """A pidfd of the container's first process and of no successor, owned by the caller; -1 when it is gone."""
    try:
        pidfd = os.pidfd_open(kept["pid"])
    except ProcessLookupError:
        return -1
    if is_running(kept):
        return pidfd
    os.close(pidfd)
    return -1


def status(kept: Json, layout: Layout) -> str:
    """created, running, paused or stopped, as the kernel has it now."""
    if not is_running(kept):
        return "stopped"
    if layout.exists(kept["cgroup"]) and layout.is_frozen(kept["cgroup"]):
        return "paused"
    return "created" if kept.get("fifo") and os.path.exists(kept["fifo"]) else "running"


def shown(kept: Json, layout: Layout) -> Json:
    """The document that `state` prints: the specification's members, and runc's."""
    now = status(kept, layout)
    public = {name: value for name, value in kept.items() if name not in (*_OURS, "fifo")}
    if not public["annotations"]:
        del public["annotations"]
    return {**public, "status": now, "pid": kept["pid"] if now != "stopped" else 0}


def run_hooks(kept: Json, kind: str, status: str) -> list[str]:
    """Run the hooks that are told a container's state from outside it; returns what went wrong."""
    if not (kept["config"].get("hooks") or {}).get(kind):
        return []
    from onggi.oci.runtime import parse
    from onggi.runtime import hooks

    spec = parse(kept["config"])
    annotations = tuple((name, str(value)) for name, value in spec.annotations.items())
    told = hooks.State(spec.version, kept["id"], kept["bundle"], annotations)
    return hooks.run_all(kind, spec.hooks[kind], told.document(status, kept["pid"] if status != "stopped" else 0))


def _started(pid: int) -> int:
    """When a process was started, in clock ticks since the boot; 0 when it is gone. Together with the pid it is one process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in b"ZX" else int(fields[19])
