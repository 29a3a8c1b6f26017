"""With ids of its own the init is nobody on the host; here is who opens the host's files for it.

The init may mount, but not walk to what it is to mount: a directory above may be closed to it. So the keeper forks a helper
with the host's rights, which enters the init's mount namespace and opens there what the init asks for:

    keeper ──fork──► helper: makes the device nodes, enters the init's mount namespace
    init ──{"open": PATH}──────────► helper ──{} + a descriptor──► init: clones what it names
    init ──{"map": PATH, …}────────► helper ──{} + a mount that is shown through an id map──► init
    init ──{"node": NUMBER}────────► helper ──{} + a mount of that device node──► init

It sees the mounts that the init has made so far, so a source may lie on one of them. And what is opened there is a mount of
that namespace, whose flags the kernel has locked when it copied them from the host's (mount_namespaces(7)): what the host
has mounted read-only stays so, whatever the container's root tries. A request names nothing that the configuration does not.
Loaded with such a plan only. You come from `plan`; read next: `mounts`, `mapped`.
"""

from __future__ import annotations

import os
import stat

from onggi import documents
from onggi.errors import Invalid, KernelError, OnggiError, from_fields
from onggi.kernel import mount as kernel_mount
from onggi.kernel import process, sockets
from onggi.kernel.flags import Clone, MountAttr, Ms
from onggi.kernel.path import open_in_root
from onggi.kernel.sockets import Socket
from onggi.oci.runtime import Device, IdMap
from onggi.runtime.steps import Context
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Maps = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]

_LARGEST = 64 << 10
_QUIET = MountAttr.NOSUID | MountAttr.NOEXEC
_KINDS = {"b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Helped:
    """The init's end: what it asks for it owns, or the helper's error is raised."""

    __slots__ = ("_end",)

    def __init__(self, descriptor: int) -> None:
        self._end = Socket(fileno=descriptor)

    def open(self, path: str, *, follow: bool = True) -> int:
        """A descriptor (O_PATH) of a path of the host's, in our mount namespace."""
        return self._ask({"open": path, "follow": follow})

    def mapped(self, path: str, maps: Maps, root: int, *, recursive: bool, deep: bool) -> int:
        """A detached mount of a path, shown through id maps; `root`: below this one, or -1; `deep`: all mounts of it."""
        shown = [[[m.container_id, m.host_id, m.size] for m in some] for some in maps]
        request = {"map": path, "maps": shown, "recursive": recursive, "deep": deep, "inside": root >= 0}
        return self._ask(request, [root] if root >= 0 else [])

    def node(self, number: int) -> int:
        """A detached mount of a device node: which of those that the helper was given."""
        return self._ask({"node": number})

    def close(self) -> None:
        """No more questions: the helper ends."""
        self._end.close()

    def _ask(self, request: dict[str, Any], descriptors: list[int] | None = None) -> int:
        data = documents.dumps(request)
        if descriptors:
            sockets.send_descriptors(self._end, data, descriptors)
        else:
            self._end.send(data, sockets.MSG_NOSIGNAL)
        answer, received = sockets.receive(self._end, _LARGEST, 1)
        if not answer:
            raise Invalid("open", str(request), "the helper is gone")
        failed = documents.loads(answer).get("failed")
        if failed:
            raise from_fields(failed)
        return received[0]


@dataclass(frozen=True, slots=True)
class OpenForInit:
    """In the keeper: start the helper."""

    devices: tuple[Device, ...]
    why: str

    def describe(self) -> str:
        return "nsenter --mount --target $INIT sh -c 'while read path; do exec {fd}<$path; done' &"

    def apply(self, context: Context) -> None:
        ours, theirs = sockets.pair()
        pid, pidfd = process.clone(Clone(0))
        if pid == 0:
            theirs.close()
            _serve(ours, self.devices, context)
        ours.close()
        context.helper = pidfd
        context.handed.append(theirs.detach())


@dataclass(frozen=True, slots=True)
class TakeSources:
    """Where the init asks for what it cannot open itself."""

    handed: int
    why: str

    def describe(self) -> str:
        return f"exec {self.handed + 3}<>helper"

    def apply(self, context: Context) -> None:
        context.sources = Helped(context.handed[self.handed])


def _serve(end: Socket, devices: tuple[Device, ...], context: Context) -> NoReturn:
    """The helper's life: it ends when the init closes its end, or is gone."""
    process.set_death_signal(9)
    nodes: list[int] = []
    failure: OnggiError | None = None
    try:
        nodes = _nodes(devices, context.child)
        _enter(context.child)
    except OnggiError as error:
        failure = error
    except OSError as error:
        failure = KernelError("enter", "mount namespace of the init", error.errno or 0)
    while True:
        data, descriptors = sockets.receive(end, _LARGEST, 1)
        if not data:
            os._exit(0)
        try:
            if failure:
                raise failure
            found = _answer(documents.loads(data), descriptors, nodes, context)
            sockets.send_descriptors(end, b"{}", [found])
            os.close(found)
        except OSError as error:
            told = error if isinstance(error, KernelError) else KernelError("open", "source", error.errno or 0)
            end.send(documents.dumps({"failed": told.to_fields()}), sockets.MSG_NOSIGNAL)
        except OnggiError as error:
            end.send(documents.dumps({"failed": error.to_fields()}), sockets.MSG_NOSIGNAL)
        for descriptor in descriptors:
            os.close(descriptor)


def _answer(request: dict[str, Any], descriptors: list[int], nodes: list[int], context: Context) -> int:
    if "node" in request:
        return os.dup(nodes[request["node"]])
    if "open" in request:
        return _open(request["open"], 0 if request["follow"] else os.O_NOFOLLOW)
    inside = descriptors[0] if request["inside"] else -1
    path = request["map"]
    found = open_in_root(inside, path, os.O_PATH) if inside >= 0 else _open(path)
    try:
        tree = kernel_mount.clone_tree("", fd=found, recursive=request["recursive"])
    finally:
        os.close(found)
    uids, gids = (tuple(IdMap(*numbers) for numbers in some) for some in request["maps"])
    own = not uids and not gids
    maps = os.open(f"/proc/{context.child}/ns/user", os.O_RDONLY) if own else os.dup(context.id_maps[uids, gids])
    try:
        kernel_mount.map_ids(tree, maps, recursive=request["deep"])
    finally:
        os.close(maps)
    return tree


def _open(path: str, flags: int = 0) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
    except OSError as error:
        raise KernelError("open", path, error.errno or 0) from error


def _enter(child: int) -> None:
    """Its mounts, and its root, which is ours too: we may have been started below one ourselves."""
    namespace = os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root = os.open(f"/proc/{child}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    process.setns(namespace, Clone.NEWNS)
    os.fchdir(root)
    os.chroot(".")
    os.close(namespace)
    os.close(root)


def _nodes(devices: tuple[Device, ...], child: int) -> list[int]:
    """Each node as a mount of its own, made on a tmpfs that nobody else sees: the init itself could not make any.

    A mount can be cloned only in the namespace that it is in, hence the one of our own.
    """
    if not devices:
        return []
    process.unshare(Clone.NEWNS)
    kernel_mount.set_propagation("/", Ms.REC | Ms.SLAVE)
    place = kernel_mount.new("tmpfs", (("mode", "0700"),), _QUIET, "tmpfs")
    top = kernel_mount.open_path("/")
    kernel_mount.attach(place, top)
    os.close(top)
    uids, gids = (_id_map(child, name) for name in ("uid_map", "gid_map"))
    os.umask(0)
    found = [_node(place, str(number), device, uids, gids) for number, device in enumerate(devices)]
    os.umask(0o022)
    return found


def _node(place: int, name: str, device: Device, uids: tuple[IdMap, ...], gids: tuple[IdMap, ...]) -> int:
    try:
        make_node(place, name, device, uids, gids)
    except PermissionError:  # we may not either: the host's node of that name, if it is that device
        return _shown(device, _KINDS.get(device.type, stat.S_IFCHR), os.makedev(device.major, device.minor))
    return kernel_mount.clone_tree(name, fd=place, recursive=False)


def make_node(place: int, name: str, device: Device, uids: tuple[IdMap, ...], gids: tuple[IdMap, ...]) -> None:
    """A device node in a directory of ours, owned by whom the container's maps make of its owner."""
    kind = _KINDS.get(device.type, stat.S_IFCHR)
    os.mknod(name, kind | device.mode, os.makedev(device.major, device.minor), dir_fd=place)
    os.chown(name, _outside(device.uid, uids), _outside(device.gid, gids), dir_fd=place, follow_symlinks=False)
    os.chmod(name, device.mode, dir_fd=place)


def _shown(device: Device, kind: int, number: int) -> int:
    tree = kernel_mount.clone_tree(device.path, recursive=False)
    found = os.fstat(tree)
    if stat.S_IFMT(found.st_mode) != kind or (kind != stat.S_IFIFO and found.st_rdev != number):
        raise Invalid("show device", device.path, "the host has something else under this name")
    kernel_mount.set_attributes(tree, _QUIET)
    return tree


def _id_map(child: int, name: str) -> tuple[IdMap, ...]:
    told = os.open(f"/proc/{child}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return tuple(IdMap(*map(int, line.split())) for line in os.read(told, _LARGEST).splitlines())
    finally:
        os.close(told)


def _outside(inside: int, maps: tuple[IdMap, ...]) -> int:
    """Which id on the host stands for one of the container's; nobody's change of owner (-1) if none does."""
    for entry in maps:
        if entry.container_id <= inside < entry.container_id + entry.size:
            return entry.host_id + inside - entry.container_id
    return -1
