"""`exec` for a keeper: from the engine's request to one more process in a container that runs.

The keeper in waiting whose starter takes the request keeps this process as another keeps a container: its streams and its
exit status. It has no group to remove, and leaves no record: without the engine that asked, nobody would ask for it.
You come from `starter`; the plan is `entry`'s; the next door is `enter`.
"""

from __future__ import annotations

import os
import time

from onggi.errors import Conflict
from onggi.kernel import process
from onggi.kernel.cgroup.layout import Layout
from onggi.oci.runtime import IdMap, parse_process
from onggi.runtime import enter
from onggi.runtime.entry import Entry, build
from onggi.runtime.handover import Made, pipes
from onggi.runtime.log import open_log
from onggi.trace import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Json = Mapping[str, Any]

_SAME = ("mnt", "pid")
"""The namespaces by which a container's first process is told from somebody who has its pid by now."""


def make(document: Json, layout: Layout, trace: Trace) -> Made:
    """Start the process that the document asks for; on failure there is none, and it says why."""
    entry = read(document, layout)
    pidfd = _open(entry.container, document["numbers"])
    log, log_start = open_log("", document["run_dir"])
    if entry.process.terminal:
        entered = enter.start(entry, layout, pidfd, None, trace, for_parent=True)
        ours = [entered.console]
    else:
        id_maps = tuple(IdMap(*entries) for entries in document["id_maps"])
        stdio, ours = pipes(open_stdin=document["open_stdin"], id_maps=id_maps, for_others=True)
        entered = enter.start(entry, layout, pidfd, stdio, trace, for_parent=True)
    os.close(pidfd)
    return Made(
        _facts(document, entry, entered, log_start),
        entered.pidfd,
        [log, *ours],
        entered.rows,
        lambda: process.kill(entered.pid, entered.pidfd, for_parent=True),
    )


def read(document: Json, layout: Layout) -> Entry:
    """The entry of a decoded document; Invalid when its `process` is malformed."""
    last = layout.mounts[-1]
    return Entry(
        id=document["id"],
        container=document["entry"],
        process=parse_process(document["process"]),
        namespaces=tuple(document["kinds"]),
        groups=layout.joins(document["cgroup"]),
        unified=last.directory if last.version == 2 else "",
        user=document["user"],
        extra_groups=tuple(document["extra_groups"]),
        seccomp=document["seccomp"],
        seccomp_flags=document["seccomp_flags"],
    )


def _open(pid: int, numbers: Json) -> int:
    """A pidfd of the container's first process and of no successor."""
    try:
        pidfd = os.pidfd_open(pid)
        if all(os.stat(f"/proc/{pid}/ns/{kind}").st_ino == numbers.get(kind) for kind in _SAME if kind in numbers):
            return pidfd
    except (ProcessLookupError, FileNotFoundError):
        cause = "its first process has just ended"
    else:
        os.close(pidfd)
        cause = "somebody else has its pid by now"
    raise Conflict("enter", "container", cause, code="container.not-running")


def _facts(document: Json, entry: Entry, entered: enter.Entered, log_start: int) -> dict[str, Any]:
    return {
        "run_dir": "",
        "cgroup": "",
        "own_processes": True,
        "terminal": entry.process.terminal,
        "keeps_log": False,
        "log_start": log_start,
        "stdin_once": True,
        "streams": [[stream["stdin"], stream["stdout"], stream["stderr"]] for stream in document["streams"]],
        "state": {
            "id": document["id"],
            "pid": entered.pid,
            "keeper": os.getppid(),
            "started_at": time.time_ns(),
            "warnings": entered.warnings,
        },
    }


def warm_up(layout: Layout) -> None:
    """Go through what an entry goes through, short of acting, as `container.warm_up` does for a start."""
    for _, step in build(read(_SAMPLE, layout)).in_order():
        step.describe()


_SAMPLE: dict[str, Any] = {
    "id": "0" * 64,
    "entry": 1,
    "process": {"args": ["true"], "env": ["PATH=/bin"], "capabilities": {"bounding": ["CAP_CHOWN"]}, "terminal": True},
    "kinds": ["mount", "pid", "network", "ipc", "uts", "cgroup", "time"],
    "cgroup": "/sample",
    "user": "",
    "extra_groups": [],
    "seccomp": "/nonexistent",
    "seccomp_flags": 0,
}
