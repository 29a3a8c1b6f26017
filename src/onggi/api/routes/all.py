"""Every route of the Docker API, put together for a router. Callers: `daemon`."""

from __future__ import annotations

from onggi.api.http import Route
from onggi.api.ports import Engine
from onggi.api.routes.containers import ContainerRoutes
from onggi.api.routes.exec import ExecRoutes
from onggi.api.routes.images import ImageRoutes
from onggi.api.routes.networks import NetworkRoutes
from onggi.api.routes.registries import RegistryRoutes
from onggi.api.routes.system import SystemRoutes
from onggi.api.shield import Shield


def docker_routes(engine: Engine, shield: Shield) -> list[Route]:
    """The routes; `shield` keeps what a client may not interrupt, to be settled when the engine ends."""
    return [
        *SystemRoutes(engine.system, engine.events).routes(),
        *ContainerRoutes(engine.containers, shield).routes(),
        *ExecRoutes(engine.execs, shield).routes(),
        *RegistryRoutes(engine.registries).routes(),  # before the images: `search` is no image's name
        *ImageRoutes(engine.images, shield).routes(),
        *NetworkRoutes(engine.networks, shield).routes(),
    ]
