"""Steps: what a plan is made of.

A step is a small frozen value. `describe()` is the nearest shell command, `why` the field of the specification or the
security reason it comes from, `apply` does it. Steps decide nothing: the order and the choice are `plan`'s. The files
`mounts`, `rights` and `surroundings` hold the steps themselves; here is what they share, and `carry_out`, the only
place that runs them. You come from `plan`; the next door is `container`.
"""

from __future__ import annotations

import time

from onggi.errors import KernelError, OnggiError, StartFailed
from onggi.kernel.cgroup.layout import Layout
from onggi.trace import Event, Observer
from onggi.values import Protocol, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from socket import socket
    from typing import Any


class Step(Protocol):
    """One thing that is done to the kernel."""

    @property
    def why(self) -> str:
        """The specification's field, or the danger that this averts."""

    def describe(self) -> str:
        """The nearest shell command."""

    def apply(self, context: Context) -> None:
        """Do it; an `OnggiError` or `OSError` says why not."""


class Sources(Protocol):
    """Who opens the host's files for an init that is nobody there; what is asked for the asker owns. See `sources`."""

    def open(self, path: str, *, follow: bool = True) -> int:
        """A descriptor (O_PATH) of a path of the host's, in the init's mount namespace."""

    def mapped(self, path: str, maps: Any, root: int, *, recursive: bool, deep: bool) -> int:
        """A detached mount of a path, shown through id maps; `root`: below this one, or -1; `deep`: all mounts of it."""

    def node(self, number: int) -> int:
        """A detached mount of a device node: which of those that were made."""

    def close(self) -> None:
        """No more questions."""


@dataclass(slots=True)
class Context:
    """What steps of one process hand on to later ones: descriptors and what was found out on the way."""

    observer: Observer
    who: str
    layout: Layout
    group: tuple[str, ...] | None = None
    """In the keeper: the directories that were made for the container's cgroup; None before it is there."""
    child: int = 0
    """In the keeper: the init's pid on the host."""
    network: int = -1
    """An empty network namespace, made ahead."""
    own_pid_namespace: int = -1
    """In the keeper: its own, while its next child is to be born in another."""
    container: int = -1
    """When a container is entered: a pidfd of its first process."""
    born_inside: bool = False
    """In the init: it was cloned into the v2 group."""
    root: int = -1
    """The container's root directory, O_PATH."""
    root_file: tuple[int, int] = (-1, -1)
    """Its device and inode."""
    sources: Sources | None = None
    """With ids of its own: whom the init asks for what is the host's."""
    id_maps: dict[Any, int] = field(default_factory=dict)
    """A user namespace for each pair of id maps that a mount has of its own."""
    kept: dict[str, int] = field(default_factory=dict)
    """Mounts that a later step goes on with, by their place."""
    helper: int = -1
    """In the keeper: the pidfd of who opens the host's files for the init."""
    proc: int = -1
    """The container's own /proc, as it came from the kernel, whatever lies at `/proc` by now."""
    proc_device: int = -1
    console: int = -1
    """The slave of the container's terminal."""
    keeper: socket | None = None
    """In the init: the socket to the keeper."""
    handed: list[int] = field(default_factory=list)
    """Detached mounts that the keeper opened for an init with ids of its own, in the plan's order."""
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    program: str = ""
    """The file to execute."""
    fifo: int = -1
    """Where to wait for the start."""
    hook_streams: tuple[int, int] = (-1, -1)
    """Files for what hooks say, where they are named."""
    filter: bytes = b""
    """The compiled seccomp filter."""
    warnings: list[str] = field(default_factory=list)

    def path_of(self, descriptor: int) -> str:
        """A name for a descriptor that calls which take only paths accept."""
        return f"/proc/self/fd/{descriptor}"


def carry_out(steps: Iterable[Step], context: Context) -> None:
    """Apply the steps in order, telling the observer of each; the first that fails ends it as `StartFailed`."""
    clock, saw, who = time.monotonic_ns, context.observer.saw, context.who
    for step in steps:
        started = clock()
        try:
            step.apply(context)
        except OSError as error:
            failure = failed(step, error)
            saw(Event(who, step, started, clock() - started, str(failure)))
            raise failure from error
        except OnggiError as error:
            saw(Event(who, step, started, clock() - started, str(error)))
            raise
        saw(Event(who, step, started, clock() - started))


def failed(step: Step, error: OSError) -> StartFailed:
    """The failure of a step as fields: which step, which call, which errno."""
    call = error.verb if isinstance(error, KernelError) else ""
    cause = str(error) if isinstance(error, KernelError) else f"{error.strerror or error}"
    if error.filename and not call:
        cause += f" ({error.filename})"
    facts: dict[str, Any] = {"step": step.describe(), "why": step.why, "call": call, "errno": error.errno or 0}
    if hasattr(step, "destination"):
        facts["mount"] = [getattr(step, "source", ""), step.destination]
    return StartFailed("carry out", step.describe(), cause, hint=getattr(error, "hint", ""), facts=facts)
