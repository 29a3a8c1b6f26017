"""What the engine asks the launcher for: one container's configuration and what lies around it, as frozen values.

The document is JSON in a memory file, so that its size has no limit; descriptors (the control socket, waiting attach
streams) travel beside it. `config` is the OCI `config.json`; the rest is what the specification leaves to the caller.
Callers: `engine/launcher` writes it, `container` reads it, `plan` reads it. Read next: `plan`.
"""

from __future__ import annotations

from onggi.oci.runtime import Spec, parse
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class Overlay:
    """The root's layers, the top one first, and where changes go."""

    lowers: tuple[str, ...]
    upper: str
    work: str
    in_memory: bool


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface: a veth pair between a bridge and the container."""

    host_name: str
    name: str
    bridge: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    """Of the default routes, one for each family."""
    sysctls: tuple[tuple[str, str], ...]
    """Kernel parameters, written before the link goes up."""
    hairpin: bool
    """The container may reach itself by a published port of the host."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who answers the system calls that a seccomp filter lets wait."""

    path: str
    """The agent's socket; one that begins with `@` is in the abstract namespace."""
    metadata: str
    """What it is told beside the container's state."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A client that attached before the start: which of the container's streams it wants."""

    stdin: bool
    stdout: bool
    stderr: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One container to start."""

    id: str
    spec: Spec
    run_dir: str
    """The directory of this run: socket, exit record, trace."""
    rootfs: str
    """Where the root is mounted in the container's mount namespace, until it is `/`."""
    log: str
    """The log file; empty for none."""
    overlay: Overlay | None
    links: tuple[Link, ...]
    user: str | None
    """The image's `USER`, to be looked up inside; None when the specification's numbers count."""
    extra_groups: tuple[str, ...]
    seccomp: str
    """The file of the compiled filter; empty for none."""
    seccomp_flags: int
    open_stdin: bool
    stdin_once: bool
    streams: tuple[Stream, ...]
    private_cgroup: bool
    bundle: str = ""
    """The bundle's directory, which hooks are told."""
    fifo: str = ""
    """Where the program waits for its start (`create`); empty: it goes on at once."""
    dies_with_keeper: bool = True
    """When the keeper is killed the container goes too."""
    pivot: bool = True
    """Leave the old root by pivot_root(2), not by a move of the mount and chroot(2)."""
    new_keyring: bool = True
    terminal_relayed: bool = False
    """Its terminal is copied to another one."""
    kept_fds: int = 0
    """Descriptors from 3 on that are the program's."""
    listener: Listener | None = None
    """With a filter that has calls to be answered by somebody else."""
    inherited: tuple[int, ...] = ()
    """Descriptors of whoever called the runtime, which the init closes: those that an execve would close too late."""
    warnings: tuple[str, ...] = ()
    """What whoever made the request found that its caller should know."""
    best_effort: bool = True
    """A limit that this host or process cannot set is a warning; False: an error, as the specification has it."""
    take_empty_cgroup: bool = False
    """A cgroup that is there already is taken, if nobody is in it; False: it is somebody else's."""


def from_json(document: Mapping[str, Any]) -> Request:
    """The request of a decoded document; Invalid when its `config` is malformed."""
    overlay = document.get("overlay")
    return Request(
        id=document["id"],
        spec=parse(document["config"]),
        run_dir=document["run_dir"],
        rootfs=document["rootfs"],
        log=document.get("log", ""),
        overlay=overlay
        and Overlay(tuple(overlay["lowers"]), overlay["upper"], overlay["work"], bool(overlay.get("in_memory"))),
        links=tuple(_link(link) for link in document.get("links", ())),
        user=document.get("user"),
        extra_groups=tuple(document.get("extra_groups", ())),
        seccomp=document.get("seccomp", ""),
        seccomp_flags=document.get("seccomp_flags", 0),
        open_stdin=bool(document.get("open_stdin")),
        stdin_once=bool(document.get("stdin_once")),
        streams=tuple(Stream(s["stdin"], s["stdout"], s["stderr"]) for s in document.get("streams", ())),
        private_cgroup=bool(document.get("private_cgroup", True)),
        listener=Listener(*document["listener"]) if document.get("listener") else None,
    )


def _link(link: Mapping[str, Any]) -> Link:
    return Link(
        link["host_name"],
        link["name"],
        link["bridge"],
        link["mac"],
        link["mtu"],
        tuple(link["addresses"]),
        tuple(route["gateway"] for route in link.get("routes", ())),
        tuple(link.get("sysctls", {}).items()),
        bool(link.get("hairpin")),
    )
