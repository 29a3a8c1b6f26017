"""`/exec`: one more process in a container that runs. You came from `api/router`; the next room is `engine/execs`."""

from __future__ import annotations

from onggi.api import errors
from onggi.api.http import Channel, Hijack, Reply, Request, Response, Route, json_response
from onggi.api.joining import join, let_go
from onggi.api.ports import Execs
from onggi.api.routes.containers import cells
from onggi.api.shield import Shield
from onggi.errors import OnggiError
from onggi.wire import document, frames, upgrade
from onggi.wire.exec import ExecCreate, ExecStart


class ExecRoutes:
    """The handlers, and the engine that they ask."""

    def __init__(self, execs: Execs, shield: Shield) -> None:
        self._execs = execs
        self._finish = shield.finish

    def routes(self) -> list[Route]:
        """Method, path, handler."""
        return [
            ("POST", "/containers/{id}/exec", self.create),
            ("POST", "/exec/{id}/start", self.start),
            ("POST", "/exec/{id}/resize", self.resize),
            ("GET", "/exec/{id}/json", self.inspect),
        ]

    async def create(self, request: Request) -> Reply:
        """POST /containers/{id}/exec"""
        body = document.decode(await request.read_json(), ExecCreate)
        return json_response({"Id": await self._execs.create(request.params["id"], body)}, 201)

    async def start(self, request: Request) -> Reply:
        """POST /exec/{id}/start: what goes wrong after the connection was handed over is told in its stream."""
        raw = await request.read_json()
        body = document.decode(raw, ExecStart) if raw.strip() else ExecStart()
        exec_id = request.params["id"]
        asked = self._execs.check(exec_id)
        if body.detach:
            streams = await self._finish(self._execs.start(exec_id, detach=True, console_size=body.console_size))
            await streams.close()
            return Response(200)

        async def run(channel: Channel) -> None:
            try:
                streams = await self._finish(self._execs.start(exec_id, detach=False, console_size=body.console_size))
            except OnggiError as error:
                text = f"{errors.sentence(error)}\r\n".encode()
                await channel.write(text if asked.tty else frames.encode(frames.STDOUT, text))
                await let_go(channel)
                return
            try:
                await join(channel, streams, has_input=asked.attach_stdin)
            finally:
                await streams.close()

        return Hijack(run, upgrade.content_type(tty=asked.tty, version=request.version))

    async def resize(self, request: Request) -> Reply:
        """POST /exec/{id}/resize"""
        await self._execs.resize(request.params["id"], cells(request, "h"), cells(request, "w"))
        return Response(200)

    async def inspect(self, request: Request) -> Reply:
        """GET /exec/{id}/json"""
        return json_response(await self._execs.inspect(request.params["id"]))
