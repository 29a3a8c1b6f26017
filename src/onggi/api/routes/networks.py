"""`/networks` and `/volumes`. The next room is `engine/networks`."""

from __future__ import annotations

from onggi.api.http import Reply, Request, Response, Route, json_response
from onggi.api.ports import Networks
from onggi.api.shield import Shield
from onggi.wire import document, filters
from onggi.wire.networks import NetworkCreate


class NetworkRoutes:
    """The handlers, and the engine that they ask."""

    def __init__(self, networks: Networks, shield: Shield) -> None:
        self._networks = networks
        self._finish = shield.finish

    def routes(self) -> list[Route]:
        """Method, path, handler."""
        return [
            ("GET", "/networks", self.list),
            ("GET", "/networks/", self.list),
            ("POST", "/networks/create", self.create),
            ("GET", "/networks/{id}", self.inspect),
            ("DELETE", "/networks/{id}", self.remove),
            ("GET", "/volumes", self.volumes),
        ]

    async def list(self, request: Request) -> Reply:
        """GET /networks"""
        wanted = filters.parse(request.query.text("filters"), filters.NETWORKS)
        return json_response(await self._networks.list(wanted))

    async def inspect(self, request: Request) -> Reply:
        """GET /networks/{id}"""
        return json_response(await self._networks.inspect(request.params["id"]))

    async def create(self, request: Request) -> Reply:
        """POST /networks/create"""
        body = document.decode(await request.read_json(), NetworkCreate)
        return json_response(await self._finish(self._networks.create(body)), 201)

    async def remove(self, request: Request) -> Reply:
        """DELETE /networks/{id}"""
        await self._finish(self._networks.remove(request.params["id"]))
        return Response(204)

    async def volumes(self, request: Request) -> Reply:
        """GET /volumes: there are none as long as nothing makes one."""
        filters.parse(request.query.text("filters"), filters.VOLUMES)
        return json_response({"Volumes": [], "Warnings": None})
