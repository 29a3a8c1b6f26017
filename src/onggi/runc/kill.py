"""`kill` and `delete`: the end of a container. Callers: `main`, `create`. Read next: `state`.

A container with a pid namespace of its own ends with its first process: the kernel kills the rest. Without one the others
live on, and are found by their cgroup.
"""

from __future__ import annotations

import os
import select
import time

from onggi.errors import Conflict, Invalid, NotFound, OnggiError, StartFailed
from onggi.kernel import signals
from onggi.runc import state
from onggi.runc.words import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout

_PATIENCE = 10_000
"""Milliseconds that a killed process gets to be gone."""
_GLANCE = 20
_GRACE = 2_000
"""Milliseconds that who makes a container gets to end its hook and to clean up."""


def kill(options: Options, given: Options, container_id: str, word: str = "TERM") -> int:
    """`onggi-oci kill [--all] ID [SIGNAL]`: to the first process, to all with `--all`, and KILL to all that it leaves behind."""
    number = signals.number(word)
    kept = state.read(state.root(options), container_id)
    layout = state.layout_of(kept)
    everybody = given.has("all") or (number == signals.KILL and not _own_pids(kept))
    if everybody and layout.exists(kept["cgroup"]):
        _signal_group(kept, layout, number)
    elif not _signal_first(kept, number) and not given.has("all"):
        raise Conflict("send signal to", container_id, "container not running")
    if number == signals.KILL:
        _thaw(kept, layout)
    return 0


def _own_pids(kept: dict[str, Any]) -> bool:
    """Whether its first process takes all others with it."""
    namespaces = (kept["config"].get("linux") or {}).get("namespaces") or ()
    return any(entry["type"] == "pid" and not entry.get("path") for entry in namespaces)


def _signal_first(kept: dict[str, Any], number: int) -> bool:
    pidfd = state.open_process(kept)
    if pidfd < 0:
        return False
    try:
        signals.send_to_pidfd(pidfd, number)
    finally:
        os.close(pidfd)
    return True


def _signal_group(kept: dict[str, Any], layout: Layout, number: int) -> None:
    if number == signals.KILL:
        layout.kill(kept["cgroup"])
        return
    for pid in layout.pids(kept["cgroup"]):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it went by itself


def _thaw(kept: dict[str, Any], layout: Layout) -> None:
    """What is frozen cannot die, on cgroup v1."""
    if layout.exists(kept["cgroup"]) and layout.is_frozen(kept["cgroup"]):
        layout.thaw(kept["cgroup"])


def delete(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci delete [--force] ID`, or of all whose id has the regular expression in it (`--regex`)."""
    if given.has("regex"):
        _delete_matching(options, container_id, force=given.has("force"))
    else:
        _delete(options, container_id, force=given.has("force"))
    return 0


def _delete(options: Options, container_id: str, *, force: bool) -> None:
    root = state.root(options)
    directory = os.path.join(root, state.checked_id(container_id))
    if force:
        _end_creator(directory)
    try:
        kept = state.read(root, container_id)
    except NotFound:
        if not state.creator(directory):
            _sweep(directory)
        if force:
            return
        raise
    layout = state.layout_of(kept)
    now = state.status(kept, layout)
    if now not in ("stopped", "created") and not force:
        raise Conflict(
            "delete container", container_id, f"cannot delete container {container_id} that is not stopped: {now}",
            hint="onggi-oci delete --force",
        )  # fmt: skip
    if now != "stopped":
        end(kept, layout)
    for note in destroy(root, kept, layout):
        _warn(note, options)


def _delete_matching(options: Options, pattern: str, *, force: bool) -> None:
    import re

    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise Invalid("delete containers", pattern, f"invalid regular expression: {error}") from error
    for kept in state.every(state.root(options)):
        if wanted.search(kept["id"]):
            try:
                _delete(options, kept["id"], force=force)
            except OnggiError as error:
                _warn(str(error), options)


def _sweep(directory: str) -> None:
    """Remove what a `create` that was killed left of a container before it was one."""
    if os.path.isdir(directory) and not os.path.islink(directory):
        state.release(directory)


def _warn(note: str, options: Options) -> None:
    from onggi.runc.logging import warn

    warn(note, options)


def _end_creator(directory: str) -> None:
    """End whoever is still making the container, so that nothing more of it comes into being."""
    pid = state.creator(directory)
    if not pid:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, patience in ((signals.TERM, _GRACE), (signals.KILL, _PATIENCE)):
            deadline = time.monotonic() + patience / 1000
            if state.creator(directory) == pid:
                signals.send_to_pidfd(pidfd, number)
            while time.monotonic() < deadline:
                if _is_gone(pidfd, _GLANCE) or state.creator(directory) != pid:
                    return
    finally:
        os.close(pidfd)


def _is_gone(pidfd: int, milliseconds: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(milliseconds))


def end(kept: dict[str, Any], layout: Layout) -> None:
    """SIGKILL, and wait until the first process is gone."""
    pidfd = state.open_process(kept)
    if pidfd < 0:
        return
    try:
        signals.send_to_pidfd(pidfd, signals.KILL)
        _thaw(kept, layout)
        if not _is_gone(pidfd, _PATIENCE):
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
