"""Finding running containers again, and clearing what nobody owns.

Start-up compares what the kernel and the run directories have with what the records say: a keeper that answers is taken
back; one that left an exit record tells how its container ended; what has no record is removed. Only things of this
instance are touched: they carry its name. Callers: `containers`. Read next: `runtime/keeper`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onggi.engine.container import Container
from onggi.engine.instance import Instance
from onggi.engine.keeper_link import KeeperLink
from onggi.errors import OnggiError
from onggi.kernel.cgroup.layout import Layout
from onggi.runtime.keeper import EXIT_NAME, SOCKET_NAME, STATE_NAME

_log = logging.getLogger("onggi.adopt")
_TRACE = "trace.json"
_ENDPOINTS = "endpoints.json"
Ended = Callable[[Container, dict[str, Any] | None], None]


async def reconnect(instance: Instance, container: Container, ended: Ended) -> KeeperLink | None:
    """The line to a keeper that is still there, its state written into the record; None when nobody listens."""
    run_dir = instance.run_dir(container.id)
    confirmed = False
    try:
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        path = f"/proc/self/fd/{directory}/{SOCKET_NAME}"  # sun_path holds 107 bytes
        link = KeeperLink.connect(path, lambda record: ended(container, record) if confirmed else None)
    except OSError:  # no socket, or nobody behind it
        return None
    finally:
        os.close(directory)
    link.adopted()
    try:
        state = await link.ask("state")
    except OnggiError:  # it ended between the two calls: the caller finds its exit record
        return None
    confirmed = True
    container.record.endpoints = _read(run_dir / _ENDPOINTS) or []
    record = container.record.state
    record.pid, record.started_at = state["pid"], state["started_at"]
    container.adopted = True
    container.namespaces, container.warnings = state["namespaces"], state["warnings"]
    if record.status != "paused":
        record.status = "running"
    return link


def exit_record(instance: Instance, container_id: str) -> dict[str, Any] | None:
    """What the keeper left about the end of the last run."""
    found: dict[str, Any] | None = _read(instance.run_dir(container_id) / EXIT_NAME)
    return found


def ran(instance: Instance, container_id: str) -> bool:
    """A run began, by what its keeper left, that the record may not know of."""
    return (instance.run_dir(container_id) / STATE_NAME).exists()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def begin_run(run_dir: Path, endpoints: list[dict[str, Any]]) -> None:
    """Remove what the last run left, and note the next one's addresses: they are taken before any record says so."""
    for name in (EXIT_NAME, STATE_NAME, SOCKET_NAME):
        (run_dir / name).unlink(missing_ok=True)
    (run_dir / _ENDPOINTS).write_text(json.dumps(endpoints))


def remove_trees(*directories: Path) -> None:
    """Remove directories of the engine's own files, which may not be there."""
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def keep_trace(instance: Instance, container_id: str, trace: bytes) -> None:
    """Write what a start did beside the container's data; nothing when the container is gone already."""
    with contextlib.suppress(FileNotFoundError):
        (instance.container_dir(container_id) / _TRACE).write_bytes(trace)


def read_trace(instance: Instance, container_id: str) -> bytes:
    """What `keep_trace` wrote, an empty list when there is none."""
    try:
        return (instance.container_dir(container_id) / _TRACE).read_bytes()
    except FileNotFoundError:
        return b"[]"


def clean_cgroup(layout: Layout, path: str) -> None:
    """Kill what is left in a group and remove it; what resists is logged, for the rest of a container must go on."""
    try:
        if layout.exists(path):
            layout.kill(path)
            layout.remove(path)
    except OnggiError as error:
        _log.error("%s", error)


def remove_group(instance: Instance, layout: Layout) -> None:
    """Remove the engine's own group above its containers', unless one of them is still in it."""
    for directory in layout.directories(f"/{instance.name}"):
        with contextlib.suppress(OSError):  # a container's group is below it, or it was never made
            os.rmdir(directory)


def sweep(instance: Instance, layout: Layout, known: set[str]) -> None:
    """Remove run directories, data directories and groups of containers that no record knows."""
    for parent in (instance.exec_root / "containers", instance.data_root / "containers"):
        for entry in os.scandir(parent):
            if entry.name not in known:
                shutil.rmtree(entry.path, ignore_errors=True)
    for directory in layout.directories(f"/{instance.name}"):
        if not os.path.isdir(directory):
            continue
        for entry in os.scandir(directory):
            if entry.is_dir() and entry.name not in known:
                clean_cgroup(layout, f"/{instance.name}/{entry.name}")
