"""`kill` and `delete`: the end of a container. Callers: `main`, `create`. Read next: `state`."""

from __future__ import annotations

import os
import select

from onggi.errors import Conflict, NotFound, StartFailed
from onggi.kernel import signals
from onggi.kernel.cgroup.detect import detect
from onggi.runc import state
from onggi.runc.words import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout

_PATIENCE = 10_000
"""Milliseconds that a killed process gets to be gone."""


def kill(options: Options, given: Options, container_id: str, word: str = "TERM") -> int:
    """`onggi-oci kill [--all] ID [SIGNAL]`."""
    number = signals.number(word)
    kept, layout = state.read(state.root(options), container_id), detect()
    stopped = state.status(kept, layout) == "stopped"
    if not stopped and not given.has("all") and _own_pids(kept):
        pidfd = state.open_process(kept)
        if pidfd >= 0:
            signals.send_to_pidfd(pidfd, number)
            os.close(pidfd)
            return _thaw(kept, layout, number)
        stopped = True
    reached = _signal_group(kept, layout, number)
    if stopped and not reached and not given.has("all"):
        raise Conflict("send signal to", container_id, "container not running")
    return _thaw(kept, layout, number)


def _own_pids(kept: dict[str, Any]) -> bool:
    """Whether its first process takes all others with it."""
    namespaces = (kept["config"].get("linux") or {}).get("namespaces") or ()
    return any(entry["type"] == "pid" and not entry.get("path") for entry in namespaces)


def _signal_group(kept: dict[str, Any], layout: Layout, number: int) -> bool:
    """To every process of a container without a pid namespace of its own; the caller of `--all` means that, too."""
    if number == signals.KILL and layout.exists(kept["cgroup"]):
        there = bool(layout.pids(kept["cgroup"]))
        layout.kill(kept["cgroup"])
        return there
    pids = layout.pids(kept["cgroup"]) if layout.exists(kept["cgroup"]) else ()
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it went by itself
    return bool(pids)


def _thaw(kept: dict[str, Any], layout: Layout, number: int) -> int:
    """What is frozen cannot die, on cgroup v1."""
    if number == signals.KILL and layout.exists(kept["cgroup"]) and layout.is_frozen(kept["cgroup"]):
        layout.thaw(kept["cgroup"])
    return 0


def delete(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci delete [--force] ID`."""
    force, root = given.has("force"), state.root(options)
    try:
        kept, layout = state.read(root, container_id), detect()
    except NotFound:
        if force:
            return 0
        raise
    now = state.status(kept, layout)
    if now not in ("stopped", "created") and not force:
        raise Conflict(
            "delete container", container_id, f"cannot delete container {container_id} that is not stopped: {now}",
            hint="onggi-oci delete --force",
        )  # fmt: skip
    if now != "stopped":
        end(kept, layout)
    for note in destroy(root, kept, layout):
        from onggi.runc.logging import warn

        warn(note, options)
    return 0


def end(kept: dict[str, Any], layout: Layout) -> None:
    """SIGKILL, and wait until the first process is gone."""
    pidfd = state.open_process(kept)
    if pidfd < 0:
        return
    try:
        signals.send_to_pidfd(pidfd, signals.KILL)
        _thaw(kept, layout, signals.KILL)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_PATIENCE):
            raise StartFailed("delete container", kept["id"], "container init still running")
    finally:
        os.close(pidfd)


def destroy(root: str, kept: dict[str, Any], layout: Layout) -> list[str]:
    """Remove the groups of a container that has ended, run its poststop hooks, forget it; returns the hooks' failures."""
    if layout.exists(kept["cgroup"]):
        layout.kill(kept["cgroup"])
        layout.remove(kept["cgroup"])
    notes = state.run_hooks(kept, "poststop", "stopped")
    state.release(os.path.join(root, kept["id"]))
    return notes
