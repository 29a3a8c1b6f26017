"""The state of containers that `onggi-oci` made: one directory each below its root.

    ROOT/ID/state.json      ociVersion, id, pid, bundle, created, config, …, and what tells a pid from its successor
    ROOT/ID/status          the same, for who looks where crun has it (`external_descriptors`)
    ROOT/ID/creator         who is making the container, as long as it is being made
    ROOT/ID/exec.fifo       while the container waits for `start`

The document is written aside and renamed, so a reader finds a whole one or none. It is there before anything else of the
container is, without a pid, and again with its pid before any program of it can run: whoever makes it may be killed at any
instruction, and `delete` knows what there is to remove. Whether the container runs is asked of the kernel each time, never
remembered. Callers: the commands. Read next: the runtime specification's runtime.md.
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import Conflict, Invalid, NotFound, OnggiError
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.layout import NONE, Layout
from onggi.oci.runtime import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from onggi.runc.words import Options

    Json: TypeAlias = dict[str, Any]

_NAME, FIFO, _CREATOR, _OTHER_NAME = "state.json", "exec.fifo", "creator", "status"
_SIGNS = frozenset("_+-.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_LONGEST = 1024
_OURS = ("cgroup", "cgroup_paths", "started", "config", "external_descriptors", "fifo", "directory", "new_keyring")
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
    if not container_id:
        raise Invalid("read container id", container_id, "container id cannot be empty")
    strange = next((sign for sign in container_id if sign not in _SIGNS), "")
    if strange or len(container_id) > _LONGEST or container_id[0] == ".":
        cause = (
            f"invalid character `{strange}` in the container ID" if strange else "it begins with a dot or is too long"
        )
        raise Invalid("read container id", container_id, f"invalid container ID format: {cause}")
    return container_id


def reserve(root: str, container_id: str) -> str:
    """Make the container's directory, with us as its creator; Conflict when the id is in use."""
    directory = os.path.join(root, checked_id(container_id))
    os.makedirs(root, 0o711, exist_ok=True)
    try:
        os.mkdir(directory, 0o711)
    except FileExistsError as error:
        hint = f"onggi-oci delete {container_id}"
        raise Conflict("create container", container_id, "container with given ID already exists", hint=hint) from error
    _put(directory, _CREATOR, f"{os.getpid()} {_started(os.getpid())}".encode())
    os.symlink(_NAME, os.path.join(directory, _OTHER_NAME))
    return directory


def made(directory: str) -> None:
    """The container is there: it needs its creator no more."""
    os.unlink(os.path.join(directory, _CREATOR))


def creator(directory: str) -> int:
    """The pid of the process that is making this container; 0 when nobody is."""
    try:
        with open(os.path.join(directory, _CREATOR), "rb") as file:
            pid, started = map(int, file.read().split())
    except (OSError, ValueError):  # it is made; or its creator was killed before it could say who it is
        return 0
    return pid if started and _started(pid) == started else 0


def release(directory: str) -> None:
    """Remove the container's directory with all that is in it; that another did so is fine."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for path, is_directory in found:
            if is_directory:
                release(path)
            else:
                os.unlink(path)
        os.rmdir(directory)
    except FileNotFoundError:
        return


def document(directory: str, bundle: str, config: Json, rootfs: str, cgroup: str, created: str, layout: Layout) -> Json:
    """What is kept of a container that has no process yet; `cgroup` is its group's path in that layout."""
    return {
        "ociVersion": str(config.get("ociVersion") or VERSION),
        "id": os.path.basename(directory),
        "pid": 0,
        "status": "",
        "bundle": bundle,
        "rootfs": rootfs,
        "created": created,
        "annotations": config.get("annotations") or {},
        "owner": "root" if os.geteuid() == 0 else str(os.geteuid()),
        "directory": directory,
        "cgroup": cgroup,
        "cgroup_paths": layout.paths(cgroup) if cgroup else {},
        "started": 0,
        "config": config,
        "external_descriptors": documents.dumps([_descriptor(number) for number in (0, 1, 2)]).decode(),
    }


def _descriptor(number: int) -> str:
    """What a stream of ours is, and so the container's: a checkpoint has to say which were not its own."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


def born(kept: Json, pid: int) -> None:
    """Keep the pid of its first process, which has not run anything yet."""
    kept["pid"], kept["started"] = pid, _started(pid)
    write(kept)


def write(kept: Json) -> None:
    """Keep it, whole or not at all."""
    directory, new = kept["directory"], f".{_NAME}.{os.getpid()}"  # of two writers at once each has its own
    _put(directory, new, documents.dumps(kept))
    os.rename(os.path.join(directory, new), os.path.join(directory, _NAME))


def _put(directory: str, name: str, data: bytes) -> None:
    path = os.path.join(directory, name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def read(root: str, container_id: str) -> Json:
    """What is kept of this container; NotFound when nothing is."""
    directory = os.path.join(root, checked_id(container_id))
    try:
        with open(os.path.join(directory, _NAME), "rb") as file:
            kept: Json = documents.loads(file.read())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("find container", container_id, "container does not exist") from error
    except ValueError as error:
        raise Invalid("read state of container", container_id, str(error)) from error
    return {**kept, "directory": directory}


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
    return bool(kept["pid"] > 0 and kept["started"] and _started(kept["pid"]) == kept["started"])


def is_same(kept: Json) -> bool:
    """Whether the container of this id is still the one of this document."""
    try:
        found = read(os.path.dirname(kept["directory"]), kept["id"])
    except OnggiError:
        return False
    return bool((found["pid"], found["started"]) == (kept["pid"], kept["started"]))


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


def layout_of(kept: Json, host: Layout | None = None) -> Layout:
    """The layout in which `kept["cgroup"]` is the path of the container's group; without hierarchies when it has none."""
    return (host or detect()).of_paths(kept["cgroup"], kept["cgroup_paths"]) if kept["cgroup"] else NONE


def status(kept: Json, host: Layout) -> str:
    """creating, created, running, paused or stopped, as the kernel has it now."""
    if creator(kept["directory"]):
        return "creating"
    if not is_running(kept):
        return "stopped"
    layout = layout_of(kept, host)
    if layout.exists(kept["cgroup"]) and layout.is_frozen(kept["cgroup"]):
        return "paused"
    return "created" if kept.get("fifo") and os.path.exists(kept["fifo"]) else "running"


def shown(kept: Json, layout: Layout) -> Json:
    """The document that `state` prints: the specification's members, and runc's, in runc's order."""
    now = status(kept, layout)
    public = {name: value for name, value in kept.items() if name not in _OURS}
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
    return hooks.run_all(kind, spec.hooks[kind], told(kept, status, kept["pid"] if status != "stopped" else 0))


def told(kept: Json, status: str, pid: int) -> Json:
    """The state as hooks and seccomp agents are told it (runtime.md, "State")."""
    from onggi.runtime import hooks

    version = kept["config"].get("ociVersion", VERSION)
    annotations = hooks.texts(kept["annotations"])
    return hooks.State(version, kept["id"], kept["bundle"], annotations).document(status, pid)


def _started(pid: int) -> int:
    """When a process was started, in clock ticks since the boot; 0 when it is gone. Together with the pid it is one process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in b"ZX" else int(fields[19])
