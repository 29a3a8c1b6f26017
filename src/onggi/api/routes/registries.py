"""`/auth`, `/images/search`, `/distribution`. The next room is `engine/registries`."""

from __future__ import annotations

from onggi.api.http import Reply, Request, Route, json_response
from onggi.api.ports import Registries
from onggi.api.routes.images import AUTH
from onggi.wire import filters


class RegistryRoutes:
    """The handlers, and the engine that they ask."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries

    def routes(self) -> list[Route]:
        """Method, path, handler."""
        return [
            ("POST", "/auth", self.login),
            ("GET", "/images/search", self.search),
            ("GET", "/distribution/{name...}/json", self.distribution),
        ]

    async def login(self, request: Request) -> Reply:
        """POST /auth"""
        return json_response(await self._registries.login(await request.read_json()))

    async def search(self, request: Request) -> Reply:
        """GET /images/search"""
        query = request.query
        limit = query.number("limit") if query.text("limit") else None
        wanted = filters.parse(query.text("filters"), filters.SEARCH)
        return json_response(
            await self._registries.search(query.text("term"), limit, wanted, request.headers.get(AUTH, ""))
        )

    async def distribution(self, request: Request) -> Reply:
        """GET /distribution/{name}/json"""
        auth = request.headers.get(AUTH, "")
        return json_response(await self._registries.distribution(request.params["name"], auth))
