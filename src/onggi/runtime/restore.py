"""Images become a container again: the plan of a restore, and its steps.

    keeper   before     cgroup, limits                                  as a start has them
             places     make what is missing of the mount points        as a start makes them, in a namespace thrown away
             restore    CRIU, in the group: namespaces, mounts, processes; it asks us on the way
                        └─ setup-namespaces: 127.0.0.1, prestart and createRuntime hooks
                        └─ orphan-pts-master: the terminal's other end

What CRIU is told of the configuration comes from the plan of the container's start (`external`): a restored container has the
host's files where a started one has them. CRIU wants the root as a mount of its own; that is made in a mount namespace that
ends with CRIU, so that nothing of it is left whatever happens. You come from `runc/restore`; the next door is `criu`.
"""

from __future__ import annotations

import os
import time

from onggi import documents
from onggi.errors import Invalid, NotFound, Unsupported
from onggi.kernel import mount as kernel_mount
from onggi.kernel import process, sockets
from onggi.kernel.cgroup.detect import here
from onggi.kernel.flags import Clone, Ms
from onggi.runtime import criu, external
from onggi.runtime.container import Started, undo_cgroup
from onggi.runtime.dump import DESCRIPTORS, MakeDirectory, Wish, common_options, open_directories
from onggi.runtime.init import NAMESPACES
from onggi.runtime.mounts import MountBind, MountFilesystem, place_root, take_root
from onggi.runtime.plan import Plan, build
from onggi.runtime.plan_mounts import all_devices
from onggi.runtime.steps import Context, carry_out
from onggi.runtime.surroundings import BearInPidNamespace
from onggi.unwinding import ExitStack, contextmanager
from onggi.values import dataclass, replace
from onggi.wire import criu as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from onggi.kernel.cgroup.layout import Layout
    from onggi.oci.runtime import Device, IdMap, Spec
    from onggi.runtime.request import Request
    from onggi.runtime.steps import Step
    from onggi.trace import Trace

    IdMaps: TypeAlias = tuple[tuple[IdMap, ...], tuple[IdMap, ...]]
    Born: TypeAlias = Callable[[int, dict[str, int]], None]

LOG = "restore.log"
_ROOT, NODES = "root", "nodes"
"""Below `place`, in CRIU's mount namespace."""
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class MakePlaces:
    """The mount points that the root lacks, by the mounts of a start: what was made then may be gone by now."""

    root: str
    place: str
    mounts: tuple[Step, ...]
    why: str

    def describe(self) -> str:
        made = "; ".join(step.describe() for step in self.mounts)
        return f"unshare --mount sh -c 'mount --rbind {self.root} {self.place}; {made}'"

    def apply(self, context: Context) -> None:
        inside = Context(context.observer, context.who, context.layout)
        with _aside(), ExitStack() as undo:
            undo.callback(_let_go, inside)
            take_root(inside, place_root(kernel_mount.clone_tree(self.root, recursive=True), self.place))
            for step in self.mounts:
                step.apply(inside)


def _let_go(context: Context) -> None:
    """Close what a start would have had use for."""
    for descriptor in {context.root, context.proc, *context.kept.values()} - {-1}:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Restore:
    """CRIU makes the processes anew, the first as a child of ours."""

    wish: Wish
    root: str
    place: str
    """A directory of ours that the root is shown at."""
    group: str
    options: dict[str, Any]
    inherited: tuple[tuple[str, str], ...]
    """Paths of namespaces that CRIU has open, and the key by which the images name each."""
    pipes: tuple[tuple[int, str], ...]
    """The streams of ours that are the container's, and what the images call them."""
    terminal: bool
    loopback: bool
    """The network namespace is made anew, empty."""
    hooks: tuple[Step, ...]
    ids: IdMaps | None
    """Of a user namespace that CRIU makes anew."""
    devices: tuple[Device, ...]
    born: Born
    why: str

    def describe(self) -> str:
        told = {
            **self.options,
            "root": f"{self.place}/{_ROOT}",
            "external": [f"{path}:{key}" for path, key in self.inherited],
            "inherit_fd": [{"fd": number, "key": key} for number, key in self.pipes],
        }
        return wire.command(wire.RESTORE, told, self.wish.images, self.wish.work)

    def apply(self, context: Context) -> None:
        with ExitStack() as undo:
            keys, opened = self._open_namespaces(undo)
            options = {**self.options, "root": f"{self.place}/{_ROOT}", "rst_sibling": True}
            options["inherit_fd"] = keys + [{"fd": number, "key": key} for number, key in self.pipes]
            with _aside():
                self._furnish()
                options |= open_directories(self._where(), undo)  # from in here, for CRIU mounts something below them
                peer = undo.enter_context(self._execute(opened, undo))
            peer.check_version(options)
            peer.set_log(os.path.join(self.wish.work or self.wish.images, LOG))
            if self.group:
                context.layout.join(self.group, peer.pid)
                options["cg_root"] = [{"ctrl": name, "path": path} for name, path in here(peer.pid).items()]
            answer = peer.carry_out(wire.RESTORE, options, lambda *told: self._notified(context, *told))
        context.child = answer.pid

    def _furnish(self) -> None:
        """What CRIU is to find at `place`: the root as a mount of its own; for other ids, nodes and images as they see them."""
        os.close(place_root(kernel_mount.new("tmpfs", (("mode", "0711"),), source="tmpfs"), self.place))
        root = os.path.join(self.place, _ROOT)
        os.mkdir(root)
        os.close(place_root(kernel_mount.clone_tree(self.root, recursive=True), root))
        if self.ids:
            from onggi.runtime import elsewhere

            elsewhere.furnish(self.place, self.ids, self.devices, self.wish.images)

    def _where(self) -> Wish:
        """The directories as CRIU opens them: the log is not the container's, so it goes where it goes without an id map."""
        if not self.ids:
            return self.wish
        return replace(self.wish, images=f"{self.place}/images", work=self.wish.work or self.wish.images)

    def _open_namespaces(self, undo: ExitStack) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
        keys, opened = [], []
        for path, key in self.inherited:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise NotFound("restore into namespace", path, "it is not there") from error
            undo.callback(os.close, descriptor)
            opened.append(descriptor)
            keys.append({"fd": descriptor, "key": key})
        return keys, tuple(opened)

    def _execute(self, inherited: tuple[int, ...], undo: ExitStack) -> criu.Peer:
        """CRIU; its streams are the container's."""
        streams = (0, 1, 2)
        if self.terminal:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            undo.callback(os.close, null)
            streams = (null, null, null)
        return criu.Peer(criu.find(), streams, inherited)

    def _notified(self, context: Context, answer: wire.Answer, descriptors: list[int]) -> None:
        if answer.script == "setup-namespaces":
            context.child = answer.pid
            if self.loopback:
                _loopback_up(answer.pid)
            carry_out(self.hooks, context)
        elif answer.script == "orphan-pts-master" and descriptors:
            context.console = os.dup(descriptors[0])
        elif answer.script == "post-restore":  # the last point before the program may end
            directory = f"/proc/{answer.pid}/ns"
            self.born(answer.pid, {kind: os.stat(f"{directory}/{kind}").st_ino for kind in NAMESPACES})


@contextmanager
def _aside() -> Iterator[None]:
    """In the body this process is in a mount namespace of its own, which ends when nobody is in it any more."""
    home, directory = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/self/ns/mnt", "."))
    try:
        process.unshare(Clone.NEWNS)
        kernel_mount.set_propagation("/", Ms.SLAVE | Ms.REC)
        yield
    finally:
        process.setns(home, Clone.NEWNS)
        os.fchdir(directory)
        os.close(home)
        os.close(directory)


def _loopback_up(pid: int) -> None:
    """127.0.0.1 works again: CRIU leaves an empty network as the kernel makes it."""
    home, theirs = (os.open(f"/proc/{name}/ns/net", os.O_RDONLY | os.O_CLOEXEC) for name in ("self", pid))
    try:
        process.setns(theirs, Clone.NEWNET)
        sockets.loopback_up()
    finally:
        process.setns(home, Clone.NEWNET)
        os.close(home)
        os.close(theirs)


def plan(start: Plan, request: Request, wish: Wish, streams: list[str], place: str, born: Born) -> tuple[Step, ...]:
    """The steps of a restore, in their order; Unsupported names what CRIU cannot join.

    `start` is how the container would be started, `streams` what the images call its 0, 1 and 2, `place` a directory of ours.
    """
    spec = request.spec
    _check_namespaces(spec)
    options = {
        **common_options(wish, dict(spec.annotations), LOG),
        "evasive_devices": True,
        "ext_mnt": external.given(start, f"{place}/{NODES}"),
        "join_ns": external.joined(spec),
    }
    network, user = spec.namespace("network"), spec.namespace("user")
    return (
        *(step for step in start.before if not isinstance(step, BearInPidNamespace)),
        MakePlaces(request.spec.root, place, tuple(_places(start)), "mounts: each needs a place"),
        *(MakeDirectory(path, "a place for what is written") for path in (wish.work,) if path),
        Restore(
            wish,
            spec.root,
            place,
            spec.cgroups_path,
            options,
            tuple((namespace.path, key) for namespace, key in external.by_descriptor(spec)),
            () if spec.process.terminal else tuple((n, s) for n, s in enumerate(streams[:3]) if s.startswith("pipe:")),
            spec.process.terminal,
            network is not None and not network.path,
            start.hooks,
            (spec.uid_mappings, spec.gid_mappings) if user and not user.path else None,
            all_devices(spec),
            born,
            "the container as it was",
        ),
    )


def _places(start: Plan) -> Iterator[Step]:
    """The mounts of a start."""
    for step in start.inside:
        mount = getattr(step, "mount", step)
        if isinstance(mount, MountFilesystem):
            yield mount
        elif isinstance(mount, MountBind):
            yield step


def _check_namespaces(spec: Spec) -> None:
    known = {namespace.type for namespace, _ in external.by_descriptor(spec)} | set(external.CRIUS_WORDS)
    for namespace in spec.namespaces:
        if namespace.path and namespace.type not in known:
            raise Unsupported("restore into namespace", namespace.path, f"CRIU joins no {namespace.type} namespace")


def read_streams(images: str) -> list[str]:
    """What a checkpoint says of the container's streams; NotFound or Invalid when it is none."""
    path = os.path.join(images, DESCRIPTORS)
    try:
        with open(path, "rb") as file:
            found = documents.loads(file.read(_LARGEST))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("read checkpoint", images, f"it has no {DESCRIPTORS}", hint="--image-path names it") from error
    except ValueError as error:
        raise Invalid("read", path, str(error)) from error
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise Invalid("read", path, "it is not a list of strings")
    return found


def start(request: Request, layout: Layout, wish: Wish, place: str, trace: Trace, born: Born) -> Started:
    """Restore a container; on failure nothing of it is left and it says why.

    `place` is a directory of ours; `born` is told the first process's pid and namespaces before it goes on.
    """
    streams = read_streams(wish.images)
    made = build(request, layout)
    context = Context(trace, "keeper", layout)
    with ExitStack() as undo:
        undo.callback(undo_cgroup, context, request.spec.cgroups_path)
        carry_out(plan(made, request, wish, streams, place, born), context)
        pidfd = os.pidfd_open(context.child)
        undo.pop_all()
    warnings = [*made.warnings, *context.warnings]
    return Started(context.child, pidfd, context.console, made, [], {}, warnings, time.time_ns())
