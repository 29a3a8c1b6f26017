"""`pause` and `resume`: all processes of a container stand still, and go on. Callers: `main`. Read next: `state`."""

from __future__ import annotations

from onggi.errors import Conflict, Unavailable
from onggi.runc import state
from onggi.runc.words import Options


def pause(options: Options, _given: Options, container_id: str) -> int:
    """`onggi-oci pause ID`."""
    kept = state.read(state.root(options), container_id)
    layout = state.layout_of(kept)
    now = state.status(kept, layout)
    if now not in ("running", "created"):
        cause = "container already paused" if now == "paused" else "container not running"
        raise Conflict("pause container", container_id, cause)
    if not layout.exists(kept["cgroup"]):
        raise Unavailable("pause container", container_id, "it has no cgroup that could be frozen")
    layout.freeze(kept["cgroup"])
    return 0


def resume(options: Options, _given: Options, container_id: str) -> int:
    """`onggi-oci resume ID`."""
    kept = state.read(state.root(options), container_id)
    layout = state.layout_of(kept)
    if state.status(kept, layout) != "paused":
        raise Conflict("resume container", container_id, "container not paused")
    layout.thaw(kept["cgroup"])
    return 0
