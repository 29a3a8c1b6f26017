"""The glass's own routes. What they answer is plain data; whoever joins them to a server makes a response of it.

    GET  /glass/containers/{id}/explain    Explanation.to_json(): id, name, image, status, exit_code, pid, running,
                                           warnings, steps, took, namespaces, limits, rights, shared
    GET  /glass/containers/{id}/trace      {"id", "name", "steps": rows of `plan_view`, "took": nanoseconds}
    POST /glass/plan                       body: Docker's create body; {"steps": rows of `plan_view`}; nothing is done

Nothing of `api/` is imported here, since the two are siblings: a handler takes anything that has `params` and
`read_json()` (the API's `Request` has) and returns a JSON-able value, and `daemon` makes a response of it:

    async def handler(request): return json_response(await answer(request))

The engine offers `await containers.facts(ref) -> dict` (its keys: see `explain`) and
`await containers.plan(body: ContainerCreate) -> list[dict]` (rows: see `plan_view`). Callers: `daemon`. Read next: `explain`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from onggi.glass import plan_view
from onggi.glass.explain import explain
from onggi.wire.containers import ContainerCreate, decode_create


class Containers(Protocol):
    """What the glass asks of `engine.containers`."""

    async def facts(self, ref: str) -> Mapping[str, Any]:
        """All that is known of a container; `NotFound`."""

    async def plan(self, body: ContainerCreate) -> Sequence[Mapping[str, Any]]:
        """The steps that a create and start with this body would take."""


class Engine(Protocol):
    """The engine, as far as the glass looks."""

    @property
    def containers(self) -> Containers:
        """The use cases of containers."""


class Request(Protocol):
    """A request, as far as the glass reads it."""

    @property
    def params(self) -> Mapping[str, str]:
        """The path's `{names}`."""

    async def read_json(self) -> bytes:
        """The whole body."""


Answer: TypeAlias = Callable[[Request], Awaitable[dict[str, Any]]]


def routes(engine: Engine) -> list[tuple[str, str, Answer]]:
    """Method, path pattern, handler."""

    async def explained(request: Request) -> dict[str, Any]:
        record = await engine.containers.facts(request.params["id"])
        return (await asyncio.to_thread(explain, record)).to_json()  # a hundred small files of /proc

    async def traced(request: Request) -> dict[str, Any]:
        record = await engine.containers.facts(request.params["id"])
        steps = plan_view.rows(record.get("plan") or (), record.get("trace") or ())
        return {"id": record["id"], "name": record["name"], "steps": steps, "took": plan_view.total(steps)}

    async def planned(request: Request) -> dict[str, Any]:
        return {"steps": plan_view.rows(await engine.containers.plan(decode_create(await request.read_json())))}

    return [
        ("GET", "/glass/containers/{id}/explain", explained),
        ("GET", "/glass/containers/{id}/trace", traced),
        ("POST", "/glass/plan", planned),
    ]
