"""A container becomes images: the plan of a checkpoint, and its steps.

    keeper   make the directories, write descriptors.json, let CRIU dump (or, before that, dump the memory only)

CRIU stops the container's processes, by the freezer where there is one, writes their memory and all that hangs on them, and
lets them go on or kills them. `plan` is pure; what it must know of the container comes in. You come from `runc/checkpoint`;
the next doors are `external`, `criu` and, for the way back, `restore`.
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import OnggiError
from onggi.runtime import criu
from onggi.runtime.steps import Context
from onggi.unwinding import ExitStack, suppress
from onggi.values import dataclass
from onggi.wire import criu as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runtime.external import Pairs
    from onggi.runtime.steps import Step

LOG = "dump.log"
DESCRIPTORS = "descriptors.json"
"""What the program's 0, 1 and 2 were, as a list: a restore connects those that were pipes with its own."""
LOG_LEVEL = 4
"""All but what CRIU's own developers need."""
EMPTY_NETWORK = 0x40000000
"""CLONE_NEWNET: links and addresses are whose who made them, before the dump and after the restore."""
CONFIG = "org.criu.config"
"""The annotation that names a file of CRIU's options; those in it win."""
_CONFIG = "/etc/criu/runc.conf"
"""The file without one, as with runc; CRIU goes on if it is not there."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants of either command: where the images are, and CRIU's options by their own names."""

    images: str
    work: str
    """Where CRIU's log and what else it writes along the way go; empty: to the images."""
    options: dict[str, Any]
    status_fd: int = -1
    """Gets one null byte when pages can be fetched (`lazy_pages`)."""
    only_memory: bool = False
    """A dump that comes before the real one, so that that has less to write."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be known of a container that runs."""

    pid: int
    group: str
    """Its cgroup; empty for none of its own."""
    freezer: str
    """The directory of its group that can be frozen; empty where there is none."""
    mounts: Pairs
    namespaces: list[str]
    descriptors: list[str]


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """A directory that only root can read: a container's memory comes into it."""

    path: str
    why: str

    def describe(self) -> str:
        return f"mkdir -p -m 700 {self.path}"

    def apply(self, context: Context) -> None:
        os.makedirs(self.path, 0o700, exist_ok=True)


@dataclass(frozen=True, slots=True)
class WriteDescriptors:
    """Which streams the container has, for the one who restores it."""

    path: str
    descriptors: tuple[str, ...]
    why: str

    def describe(self) -> str:
        return f"echo '{documents.dumps(list(self.descriptors)).decode()}' > {self.path}"

    def apply(self, context: Context) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            os.write(descriptor, documents.dumps(list(self.descriptors)))
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Dump:
    """CRIU writes the images. On failure the processes go on as before."""

    wish: Wish
    group: str
    options: dict[str, Any]
    why: str

    @property
    def _kind(self) -> int:
        return wire.PRE_DUMP if self.wish.only_memory else wire.DUMP

    def describe(self) -> str:
        return wire.command(self._kind, self.options, self.wish.images, self.wish.work)

    def apply(self, context: Context) -> None:
        frozen = self._is_frozen(context.layout)
        try:
            self._dump()
        except OnggiError:
            if not frozen and self._is_frozen(context.layout):
                context.layout.thaw(self.group)  # CRIU was killed before it could
            if not self.wish.only_memory:
                with suppress(FileNotFoundError):  # half of a checkpoint is none
                    os.unlink(os.path.join(self.wish.images, DESCRIPTORS))
            raise

    def _is_frozen(self, layout: Layout) -> bool:
        return bool(self.group) and layout.is_frozen(self.group)

    def _dump(self) -> None:
        with ExitStack() as undo:
            options = {**self.options, **open_directories(self.wish, undo)}
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            undo.callback(os.close, null)
            peer = undo.enter_context(criu.Peer(criu.find(), (null, null, null), apart=True))
            peer.check_version(options)
            if self.wish.only_memory:
                peer.need("mem_track", "--pre-dump")
            if options.get("lazy_pages"):
                peer.need("lazy_pages", "--lazy-pages")
            peer.set_log(os.path.join(self.wish.work or self.wish.images, LOG))
            peer.carry_out(self._kind, options, self._notified)

    def _notified(self, answer: wire.Answer, _descriptors: list[int]) -> None:
        """CRIU waits for us at each of its points; the only one where we have something to do is the pages' turn."""
        if answer.script == "status-ready" and self.wish.status_fd >= 0:
            os.write(self.wish.status_fd, b"\0")
            os.close(self.wish.status_fd)


def open_directories(wish: Wish, undo: ExitStack) -> dict[str, int]:
    """The options by which CRIU finds the directories: as descriptors of ours, whatever becomes of their names."""
    found = {}
    for option, path in (("images_dir_fd", wish.images), ("work_dir_fd", wish.work)):
        if path:
            found[option] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, found[option])
    return found


def common_options(wish: Wish, annotations: dict[str, Any], log: str) -> dict[str, Any]:
    """What a dump and a restore have in common."""
    config = str(annotations.get(CONFIG, _CONFIG))
    return {
        "log_level": LOG_LEVEL,
        "log_file": log,
        "notify_scripts": True,
        "orphan_pts_master": True,
        "manage_cgroups": True,
        "config_file": config or None,
        **wish.options,
    }


def plan(wish: Wish, found: Found, annotations: dict[str, Any]) -> tuple[Step, ...]:
    """The steps of a checkpoint, in their order."""
    options = {
        "pid": found.pid,
        **common_options(wish, annotations, LOG),
        "external": found.namespaces,
        "freeze_cgroup": found.freezer or None,
    }
    directories = [MakeDirectory(path, "a place for what is written") for path in (wish.images, wish.work) if path]
    if wish.only_memory:
        return (*directories, Dump(wish, found.group, options, "the most of the memory, while the container runs"))
    options["ext_mnt"] = found.mounts
    return (
        *directories,
        WriteDescriptors(
            os.path.join(wish.images, DESCRIPTORS), tuple(found.descriptors), "a restore connects the streams"
        ),
        Dump(wish, found.group, options, "the container as it is now"),
    )
