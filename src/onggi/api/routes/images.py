"""`/images`. Names may hold slashes. The next room is `engine/images`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from onggi.api import errors
from onggi.api.http import Reply, Request, Response, Route, StreamResponse, json_response
from onggi.api.ports import Images
from onggi.api.shield import Shield
from onggi.errors import OnggiError, Unsupported
from onggi.wire import document, filters, progress
from onggi.wire.images import ImageSummary

AUTH = "x-registry-auth"
"""The header that carries credentials for a registry."""


class ImageRoutes:
    """The handlers, and the engine that they ask."""

    def __init__(self, images: Images, shield: Shield) -> None:
        self._images = images
        self._finish = shield.finish

    def routes(self) -> list[Route]:
        """Method, path, handler."""
        return [
            ("GET", "/images/json", self.list),
            ("POST", "/images/load", self.load),
            ("POST", "/images/create", self.pull),
            ("POST", "/images/prune", self.prune),
            ("GET", "/images/{name...}/json", self.inspect),
            ("GET", "/images/{name...}/history", self.history),
            ("POST", "/images/{name...}/tag", self.tag),
            ("DELETE", "/images/{name...}", self.delete),
        ]

    async def list(self, request: Request) -> Reply:
        """GET /images/json"""
        query = request.query
        found = await self._images.list(
            all=query.flag("all"), filters=filters.parse(query.text("filters"), filters.IMAGES)
        )
        return json_response([_older(image, request.version) for image in found])

    async def inspect(self, request: Request) -> Reply:
        """GET /images/{name}/json"""
        return json_response(await self._images.inspect(request.params["name"]))

    async def history(self, request: Request) -> Reply:
        """GET /images/{name}/history"""
        return json_response(await self._images.history(request.params["name"]))

    async def tag(self, request: Request) -> Reply:
        """POST /images/{name}/tag"""
        query = request.query
        await self._finish(self._images.tag(request.params["name"], query.text("repo"), query.text("tag")))
        return Response(201)

    async def delete(self, request: Request) -> Reply:
        """DELETE /images/{name}"""
        query = request.query
        work = self._images.delete(request.params["name"], force=query.flag("force"), prune=not query.flag("noprune"))
        return json_response(await self._finish(work))

    async def prune(self, request: Request) -> Reply:
        """POST /images/prune"""
        wanted = filters.parse(request.query.text("filters"), filters.IMAGE_PRUNE)
        return json_response(await self._finish(self._images.prune(wanted)))

    async def pull(self, request: Request) -> Reply:
        """POST /images/create: pull. An error before the first line is a status, a later one a line."""
        query = request.query
        if query.text("fromSrc") or not query.text("fromImage"):
            raise Unsupported("import", query.text("fromSrc") or "image", "importing is not supported yet")
        lines = self._images.pull(
            query.text("fromImage"),
            query.text("tag"),
            platform=query.text("platform"),
            auth=request.headers.get(AUTH, ""),
        )
        return StreamResponse(_reported(request, await anext(lines, b""), lines), close=lines.aclose)

    async def load(self, request: Request) -> Reply:
        """POST /images/load: an error before the first line is a status, a later one a line."""
        lines = self._images.load(request.body.__aiter__(), quiet=request.query.flag("quiet"))
        try:
            first = await anext(lines, b"")
        except OnggiError:
            await _skip(request)
            raise
        return StreamResponse(_reported(request, first, lines), close=lines.aclose)


def _older(image: ImageSummary, version: tuple[int, ...]) -> dict[str, object]:
    """The element as this version of the API has it."""
    fields: dict[str, object] = document.to_wire(image)
    if version < (1, 51):
        fields["Containers"] = -1
    if version < (1, 44):
        fields["VirtualSize"] = image.size
    if version < (1, 43) and not image.repo_tags:
        fields["RepoTags"], fields["RepoDigests"] = ["<none>:<none>"], image.repo_digests or ["<none>@<none>"]
    return fields


async def _skip(request: Request) -> None:
    """Read what is left of the archive: a client that still sends would see a broken pipe, not the error."""
    with contextlib.suppress(OnggiError):  # the client stopped in the middle: then nobody reads the answer
        async for _ in request.body:
            pass


async def _reported(request: Request, first: bytes, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        yield first
        async for line in lines:
            yield line
    except OnggiError as error:
        yield progress.error(errors.sentence(error))
        await _skip(request)
