"""`/containers`: form is checked here, everything else by `engine.containers`.

You came from `api/router`; the next room is `engine/containers`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from onggi.api import errors
from onggi.api.http import Channel, Hijack, Reply, Request, Response, Route, StreamResponse, json_response
from onggi.api.joining import join
from onggi.api.ports import Containers, LogStream
from onggi.api.shield import Shield
from onggi.errors import Invalid, OnggiError
from onggi.wire import document, filters, gotime, upgrade
from onggi.wire.containers import WaitError, WaitResult, decode_create
from onggi.wire.options import AttachOptions, LogOptions

_DONE = Response(204)
_CONDITIONS = ("", "not-running", "next-exit", "removed")


class ContainerRoutes:
    """The handlers, and the engine that they ask."""

    def __init__(self, containers: Containers, shield: Shield) -> None:
        self._containers = containers
        self._finish = shield.finish

    def routes(self) -> list[Route]:
        """Method, path, handler."""
        one = "/containers/{id}"
        return [
            ("GET", "/containers/json", self.list),
            ("POST", "/containers/create", self.create),
            ("GET", f"{one}/json", self.inspect),
            ("GET", f"{one}/top", self.top),
            ("GET", f"{one}/logs", self.logs),
            ("POST", f"{one}/attach", self.attach),
            ("POST", f"{one}/wait", self.wait),
            ("POST", f"{one}/start", self.start),
            ("POST", f"{one}/stop", self.stop),
            ("POST", f"{one}/restart", self.restart),
            ("POST", f"{one}/kill", self.kill),
            ("POST", f"{one}/pause", self.pause),
            ("POST", f"{one}/unpause", self.unpause),
            ("POST", f"{one}/rename", self.rename),
            ("POST", f"{one}/resize", self.resize),
            ("DELETE", one, self.remove),
        ]

    async def list(self, request: Request) -> Reply:
        """GET /containers/json"""
        query = request.query
        found = await self._containers.list(
            all=query.flag("all"),
            limit=query.number("limit", 0),
            size=query.flag("size"),
            filters=filters.parse(query.text("filters"), filters.CONTAINERS),
        )
        return json_response(found)

    async def create(self, request: Request) -> Reply:
        """POST /containers/create"""
        body = decode_create(await request.read_json())
        name, platform = request.query.text("name") or None, request.query.text("platform")
        return json_response(await self._containers.create(name, platform, body), 201)

    async def inspect(self, request: Request) -> Reply:
        """GET /containers/{id}/json"""
        found = await self._containers.inspect(request.params["id"], size=request.query.flag("size"))
        return json_response(found)

    async def top(self, request: Request) -> Reply:
        """GET /containers/{id}/top"""
        arguments = request.query.text("ps_args") or "-ef"
        return json_response(await self._containers.top(request.params["id"], arguments))

    async def start(self, request: Request) -> Reply:
        """POST /containers/{id}/start"""
        if len(await request.read()) > 7:  # an empty object with its line end was once sent, and is let pass
            refusal = (
                "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
            )
            raise Invalid("start", "container", refusal, code="text")
        await self._finish(self._containers.start(request.params["id"], request.query.text("detachKeys")))
        return _DONE

    async def stop(self, request: Request) -> Reply:
        """POST /containers/{id}/stop"""
        timeout, signal = _ending(request)
        await self._finish(self._containers.stop(request.params["id"], timeout=timeout, signal=signal))
        return _DONE

    async def restart(self, request: Request) -> Reply:
        """POST /containers/{id}/restart"""
        timeout, signal = _ending(request)
        await self._finish(self._containers.restart(request.params["id"], timeout=timeout, signal=signal))
        return _DONE

    async def kill(self, request: Request) -> Reply:
        """POST /containers/{id}/kill"""
        await self._finish(self._containers.kill(request.params["id"], request.query.text("signal") or "SIGKILL"))
        return _DONE

    async def pause(self, request: Request) -> Reply:
        """POST /containers/{id}/pause"""
        await self._finish(self._containers.pause(request.params["id"]))
        return _DONE

    async def unpause(self, request: Request) -> Reply:
        """POST /containers/{id}/unpause"""
        await self._finish(self._containers.unpause(request.params["id"]))
        return _DONE

    async def rename(self, request: Request) -> Reply:
        """POST /containers/{id}/rename"""
        name = request.query.text("name")
        if not name:
            raise Invalid("rename", "container", "Neither old nor new names may be empty", code="text")
        await self._finish(self._containers.rename(request.params["id"], name))
        return _DONE

    async def resize(self, request: Request) -> Reply:
        """POST /containers/{id}/resize"""
        height, width = cells(request, "h"), cells(request, "w")
        await self._containers.resize(request.params["id"], height, width)
        return Response(200)

    async def remove(self, request: Request) -> Reply:
        """DELETE /containers/{id}"""
        query = request.query
        work = self._containers.remove(
            request.params["id"], force=query.flag("force"), volumes=query.flag("v"), link=query.flag("link")
        )
        await self._finish(work)
        return _DONE

    async def wait(self, request: Request) -> Reply:
        """POST /containers/{id}/wait: registered before the header goes out, so that a short life is not missed."""
        condition = request.query.text("condition")
        if condition not in _CONDITIONS:
            facts = {"condition": condition}
            raise Invalid("wait", request.params["id"], "no such condition", code="wait.condition", facts=facts)
        result = asyncio.ensure_future(await self._containers.wait(request.params["id"], condition or "not-running"))

        async def answer() -> AsyncGenerator[bytes, None]:
            try:
                outcome = await result
            except OnggiError as error:
                outcome = WaitResult(status_code=-1, error=WaitError(message=errors.sentence(error)))
            yield document.encode(outcome) + b"\n"

        async def close() -> None:
            result.cancel()

        return StreamResponse(answer(), close=close)

    async def logs(self, request: Request) -> Reply:
        """GET /containers/{id}/logs"""
        log = await self._containers.logs(request.params["id"], _log_options(request))
        kind = upgrade.content_type(tty=log.tty, version=request.version)
        return StreamResponse(_lines(log), kind, close=log.close)

    async def attach(self, request: Request) -> Reply:
        """POST /containers/{id}/attach"""
        query = request.query
        options = AttachOptions(
            stdin=query.flag("stdin"),
            stdout=query.flag("stdout"),
            stderr=query.flag("stderr"),
            stream=query.flag("stream"),
            logs=query.flag("logs"),
            detach_keys=query.text("detachKeys"),
        )
        await request.read()
        attachment = await self._containers.attach(request.params["id"], options)

        async def run(channel: Channel) -> None:
            await join(channel, attachment, has_input=options.stdin and options.stream)

        kind = upgrade.content_type(tty=attachment.tty, version=request.version)
        return Hijack(run, kind, close=attachment.close)


def _ending(request: Request) -> tuple[int | None, str | None]:
    """How a container is asked to end: seconds and signal; the signal counts from API 1.42 on."""
    timeout = request.query.number("t") if request.query.text("t") else None
    signal = request.query.text("signal") if request.version >= (1, 42) else ""
    return timeout, signal or None


def cells(request: Request, name: str) -> int:
    """A terminal's height or width."""
    value = request.query.number(name)
    if not 0 <= value < 2**16:  # ioctl_tty(2) has 16 bits for it
        raise Invalid("resize", "container", f"invalid resize {name}: {value}: value out of range", code="text")
    return value


def _log_options(request: Request) -> LogOptions:
    query = request.query
    stdout, stderr = query.flag("stdout"), query.flag("stderr")
    if not (stdout or stderr):
        raise Invalid("read", "log", "Bad parameters: you must choose at least one stream", code="text")
    tail = query.text("tail")
    return LogOptions(
        stdout=stdout,
        stderr=stderr,
        follow=query.flag("follow"),
        since_ns=_moment(request, "since"),
        until_ns=_moment(request, "until"),
        timestamps=query.flag("timestamps"),
        details=query.flag("details"),
        tail=int(tail) if tail.isdecimal() and len(tail) < 19 else None,
    )


def _moment(request: Request, name: str) -> int:
    """A time in nanoseconds; 0 for none."""
    text = request.query.text(name)
    return gotime.parse_timestamp(text, time.time_ns()) if text else 0


async def _lines(log: LogStream) -> AsyncGenerator[bytes, None]:
    async for chunk in log:
        yield chunk
