"""What the use cases of containers share: the engine's parts, and the few things that all of them do with these.

Callers: `creation`, `lifecycle`, `streams`, `containers`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from onggi.engine import adopt, spec
from onggi.engine.blocking import blocking
from onggi.engine.container import Container
from onggi.engine.directory import Directory
from onggi.engine.events import Events
from onggi.engine.images import Images
from onggi.engine.instance import Instance
from onggi.engine.launcher import Launcher
from onggi.engine.networks import Networks
from onggi.engine.records import Records
from onggi.kernel.cgroup.layout import Layout

_log = logging.getLogger("onggi.containers")
_REMEMBERED = 8
_SETTLE_SECONDS = 5


@dataclass(slots=True)
class Parts:
    """The parts of one engine that containers are made with."""

    instance: Instance
    layout: Layout
    records: Records
    launcher: Launcher
    images: Images
    networks: Networks
    events: Events
    directory: Directory = field(default_factory=Directory)
    gone: deque[Container] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """The last that were removed: `onggi run --rm` explains what it just ran."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def cgroup(self, container: Container) -> str:
        """The path of a container's group."""
        return spec.cgroup_path(self.instance, container.id, container.body.host_config.cgroup_parent)

    async def discard(self, container_id: str) -> None:
        """Remove everything of a container's on disk."""
        await blocking(self._discard, container_id)

    def _discard(self, container_id: str) -> None:
        self.images.discard(container_id)
        adopt.remove_trees(self.instance.container_dir(container_id), self.instance.run_dir(container_id))

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event of this container."""
        self.events.publish("container", action, container.id, {**container.attributes, **attributes})

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that nobody waits for; its failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("after the fact: %s", error, exc_info=error)

    async def settle(self) -> None:
        """Wait for what nobody waits for; for an engine that ends."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=_SETTLE_SECONDS)
