"""What a container is made of, in words: each namespace with both numbers, live facts, limits, rights, what is shared.

`explain(record)` reads /proc and the cgroup files of the container's first process and changes nothing. When the
container has ended, what is left is its configuration and its trace. The record is what the engine's
`containers.facts(ref)` gives:

    id, name        the container's
    image, status   as inspect has them; may be missing
    exit_code       how it ended, when it has ended; may be missing
    pid             of its first process on the host; 0 when it does not run
    cgroup          the path of its group; may be missing, then /proc tells it
    warnings        what could not be kept of what was asked for; may be missing
    config          the runtime spec's config.json: hostname, linux.namespaces, linux.cgroupsPath, process.capabilities
    plan            rows as `plan_view` takes them; may be missing
    trace           rows as `plan_view` takes them; may be missing
    namespaces      {kind: number} noted at the start, for a container that has ended; may be missing

Callers: `routes`. Read next: `plan_view`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onggi.errors import NotFound, OnggiError
from onggi.glass import namespaces as proc_reader
from onggi.glass import plan_view, words
from onggi.glass.facts import Fact, View
from onggi.glass.interfaces import interfaces
from onggi.glass.limits import limit_facts, right_facts
from onggi.glass.namespaces import KINDS, Namespace
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.cgroup.layout import Layout

Record = Mapping[str, Any]

_SPEC_NAMES = {"mnt": "mount", "net": "network"}  # the runtime spec's names, where they are not the kernel's
_MOST_PROCESSES = 50


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one container, ready to be shown."""

    id: str
    name: str
    image: str
    status: str
    exit_code: int
    pid: int
    running: bool
    steps: tuple[plan_view.Row, ...]
    namespaces: tuple[View, ...]
    limits: tuple[Fact, ...]
    rights: tuple[Fact, ...]
    shared: tuple[Fact, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the API sends it: every fact with `title` and `text`."""
        return {
            "id": self.id,
            "name": self.name,
            "image": self.image,
            "status": self.status,
            "exit_code": self.exit_code,
            "pid": self.pid,
            "running": self.running,
            "warnings": list(self.warnings),
            "steps": list(self.steps),
            "took": plan_view.total(self.steps),
            "namespaces": [view.to_json() for view in self.namespaces],
            "limits": [fact.to_json() for fact in self.limits],
            "rights": [fact.to_json() for fact in self.rights],
            "shared": [fact.to_json() for fact in self.shared],
        }


def explain(record: Record, proc: str = "/proc", layout: Layout | None = None) -> Explanation:
    """The container as it is now; as it was configured and started, when it has ended or ends meanwhile."""
    pid = int(record.get("pid") or 0)
    views: tuple[View, ...] = ()
    limits: tuple[Fact, ...] = ()
    rights: tuple[Fact, ...] = ()
    if pid:
        try:
            views = _live_views(pid, record, proc)
            rights = right_facts(proc_reader.status(pid, proc))
            limits = _limits(pid, record, proc, layout)
        except NotFound:
            pid, limits, rights = 0, (), ()  # it ended while we read
    return Explanation(
        id=str(record.get("id", "")),
        name=str(record.get("name", "")),
        image=str(record.get("image", "")),
        status=str(record.get("status", "")),
        exit_code=int(record.get("exit_code") or 0),
        pid=pid,
        running=pid > 0,
        steps=tuple(plan_view.rows(record.get("plan") or (), record.get("trace") or ())),
        namespaces=views if pid else _ended_views(record, proc),
        limits=limits,
        rights=rights,
        shared=words.shared_facts(),
        warnings=tuple(str(warning) for warning in record.get("warnings") or ()),
    )


def _live_views(pid: int, record: Record, proc: str) -> tuple[View, ...]:
    found = proc_reader.namespaces(pid, proc)
    asked = _asked(record)
    return tuple(
        _view(space, str(space.inside), _live_facts(space, pid, record, proc), asked) for space in found if space.inside
    )


def _asked(record: Record) -> dict[str, Mapping[str, Any]]:
    """The configuration's namespaces by the kernel's names."""
    given = {item["type"]: item for item in _config(record).get("linux", {}).get("namespaces") or ()}
    return {kind: given[name] for kind in KINDS if (name := _SPEC_NAMES.get(kind, kind)) in given}


def _view(space: Namespace, container: str, facts: tuple[Fact, ...], asked: Mapping[str, Mapping[str, Any]]) -> View:
    title, own, shared = words.NAMESPACES[space.kind]
    text = own if space.own else shared
    if space.own and (path := asked.get(space.kind, {}).get("path")):
        text = f"It has joined another process's ({path}), and sees what that one sees."
    host = str(space.host) if space.host else "none"
    return View(space.kind, title, space.own, container, host, text, facts)


def _live_facts(space: Namespace, pid: int, record: Record, proc: str) -> tuple[Fact, ...]:
    if space.kind == "user":
        return words.id_facts(proc_reader.id_map(pid, proc), own=space.own)
    if space.kind == "pid":
        return words.process_facts(proc_reader.processes(_members(pid, record, proc), proc))
    if space.kind == "mnt":
        return words.mount_facts(proc_reader.mounts(pid, proc))
    if space.kind == "net":
        return words.interface_facts(interfaces(pid, proc))
    if space.kind == "uts":
        return words.hostname_facts(_config(record).get("hostname") or "", own=space.own)
    if space.kind == "cgroup":
        return words.cgroup_facts(proc_reader.cgroups(pid, proc), own=space.own)
    return ()


def _members(pid: int, record: Record, proc: str) -> tuple[int, ...]:
    """The pids of the container's processes: those of its group, or at least the first."""
    path = _group(pid, record, proc)
    try:
        members = detect().pids(path) if path else ()
    except (OnggiError, OSError):
        members = ()  # another cgroup tree than ours, as in a container of another engine
    return members[:_MOST_PROCESSES] if pid in members else (pid,)


def _limits(pid: int, record: Record, proc: str, layout: Layout | None) -> tuple[Fact, ...]:
    path = _group(pid, record, proc)
    return limit_facts(layout or detect(), path) if path else ()


def _group(pid: int, record: Record, proc: str) -> str:
    """The path of the container's group; empty when it is in none of its own."""
    if record.get("cgroup"):
        return str(record["cgroup"])
    groups = proc_reader.cgroups(pid, proc)
    path = groups.get("pids") or groups.get("") or ""
    return "" if path == "/" or ".." in path.split("/") else path


def _ended_views(record: Record, proc: str) -> tuple[View, ...]:
    """From the configuration: which namespaces were its own, and their numbers if somebody noted them."""
    asked = _asked(record)
    noted = record.get("namespaces") or {}
    views = []
    for ours in proc_reader.namespaces(os.getpid(), proc):
        if ours.host is None:
            continue
        item = asked.get(ours.kind)
        number = noted.get(ours.kind)
        own = item is not None and (not item.get("path") or (number is not None and number != ours.host))
        space = Namespace(ours.kind, number or (-1 if own else ours.host), ours.host)
        views.append(_view(space, "gone" if own and not number else str(space.inside), (), asked))
    return tuple(views)


def _config(record: Record) -> Mapping[str, Any]:
    config: Mapping[str, Any] = record.get("config") or {}
    return config
