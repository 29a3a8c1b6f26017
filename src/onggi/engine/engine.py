"""The engine: its use cases put together, in the order in which they start and end. You come from `daemon`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from onggi.engine import registries
from onggi.engine.containers import Containers
from onggi.engine.events import Events
from onggi.engine.execs import Execs
from onggi.engine.images import Images
from onggi.engine.instance import Instance
from onggi.engine.launcher import Launcher
from onggi.engine.networks import Networks, Options
from onggi.engine.parts import Parts
from onggi.engine.records import Records
from onggi.engine.system import Counts, System
from onggi.kernel.cgroup.detect import detect
from onggi.network.ipam import DEFAULT_POOLS, AddressPool
from onggi.trace import Event

_log = logging.getLogger("onggi.kernel")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line and the configuration file say."""

    instance: Instance
    bip: str = ""
    pools: tuple[AddressPool, ...] = DEFAULT_POOLS
    mtu: int = 1500
    registries: registries.Settings = field(default_factory=registries.Settings)


class KernelLog:
    """An observer that writes what the engine itself does to the kernel into its log."""

    def saw(self, event: Event) -> None:
        """One line; a failure is a warning."""
        level = logging.WARNING if event.error else logging.DEBUG
        _log.log(level, "%s: %s (%.2f ms) %s", event.who, event.step, event.lasted / 1e6, event.error)


class Engine:
    """One engine; `start` before anything else, `stop` at the end."""

    def __init__(self, settings: Settings) -> None:
        instance = settings.instance
        instance.prepare()
        layout = detect()
        self.events = Events()
        self._records = Records(instance.records)
        self._launcher = Launcher()
        options = Options(
            instance.name,
            str(instance.data_root / "networks.json"),
            bip=settings.bip,
            pools=settings.pools,
            mtu=settings.mtu,
        )
        self.networks = Networks(options, KernelLog(), self._name_of)
        self.images = Images(instance, self.events, self._users_of_image, settings.registries)
        self.registries = self.images.registries
        parts = Parts(instance, layout, self._records, self._launcher, self.images, self.networks, self.events)
        self.containers = Containers(parts)
        self.execs = Execs(parts)
        self.system = System(instance, layout, self.events, self._count)

    async def start(self) -> None:
        """Take back what runs, remove what nobody owns, warm the launcher."""
        await self._launcher.start()
        await self.images.start()
        endpoints = await self.containers.restore()
        await self.networks.start(endpoints)

    async def stop(self) -> None:
        """Let go of everything; containers go on."""
        self.execs.close()
        await self.containers.close()
        await self.images.close()
        await self.networks.stop()
        await self._launcher.close()
        await self._records.close()

    def _name_of(self, container_id: str) -> str:
        container = self.containers.directory.get(container_id)
        return container.name if container else container_id[:12]

    def _users_of_image(self, image_id: str) -> list[tuple[str, bool]]:
        return self.containers.find_image_users(image_id)

    async def _count(self) -> Counts:
        statuses = [c.status for c in self.containers.directory]
        running, paused = statuses.count("running"), statuses.count("paused")
        return Counts(running, paused, len(statuses) - running - paused, await self.images.count())
