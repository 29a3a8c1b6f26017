"""Routing, queries, errors and their words; the event bus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from onggi.api import errors
from onggi.api.http import Query, Reply, Request, Response
from onggi.api.router import Router
from onggi.engine import events
from onggi.errors import Conflict, Forbidden, Invalid, KernelError, NotFound, OnggiError, StartFailed, Unchanged
from onggi.wire.events import Event
from onggi.wire.filters import Filters


async def empty() -> AsyncIterator[bytes]:
    """No body."""
    nothing: list[bytes] = []
    for chunk in nothing:
        yield chunk


def ask(router: Router, method: str, path: str) -> Reply:
    """A request without a body."""
    return asyncio.run(_ask(router, method, path))


async def _ask(router: Router, method: str, path: str) -> Reply:
    return await router(Request(method, path, Query(""), {}, empty()))


async def show(request: Request) -> Reply:
    """What the router found out."""
    return Response(200, repr((request.path, request.params, request.version)).encode())


ROUTER = Router(
    [
        ("GET", "/images/json", show),
        ("GET", "/images/{name...}/json", show),
        ("DELETE", "/images/{name...}", show),
        ("GET", "/containers/{id}/json", show),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("GET", "/images/json", {}),
        ("GET", "/images/a/json", {"name": "a"}),
        ("GET", "/images/host:5000/a/b:c/json", {"name": "host:5000/a/b:c"}),
        ("GET", "/images/json/json", {"name": "json"}),
        ("DELETE", "/images/a/json", {"name": "a/json"}),
        ("GET", "/containers/x.y_z-1/json", {"id": "x.y_z-1"}),
        ("GET", "/v1.44/containers/x/json", {"id": "x"}),
    ],
)
def test_paths(method: str, path: str, params: dict[str, str]) -> None:
    """Names of images take slashes, ids do not; each path is there with a version too."""
    reply = ask(ROUTER, method, path)
    assert isinstance(reply, Response)
    assert repr(params) in reply.body.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/containers/a/b/json",
        "/containers//json",
        "/images//",
        "/containers/x/json/",
        "/vx/images/json",
        "",
        "x",
        "/v1.44",
    ],
)
def test_no_such_path(path: str) -> None:
    """What matches no route is not found."""
    assert getattr(ask(ROUTER, "GET", path), "status", 0) == 404


def test_booleans_are_dockers() -> None:
    """False is nothing, 0, no, false and none in any case; all else is true."""
    assert not any(Query(f"x={value}").flag("x") for value in ("", "0", "no", "False", "NONE", " 0 "))
    assert all(Query(f"x={value}").flag("x") for value in ("1", "true", "yes", "2", "off"))
    assert Query("").flag("x", default=True)


def test_numbers_are_gos() -> None:
    """A number has a sign and digits, and fits into 64 bits."""
    assert [Query(f"t={text}").number("t") for text in ("-1", "%2B7", "007")] == [-1, 7, 7]
    for text in ("", "x", "1.5", "1_0", "٣", "9223372036854775808", "9" * 5000):
        with pytest.raises(Invalid, match="strconv"):
            Query(f"t={text}").number("t")


# The sentences that the real Docker 26 answered with.
PREFIX = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: "
)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotFound.of("container", "x"), 404, "No such container: x"),
        (NotFound.of("image", "x:latest"), 404, "No such image: x:latest"),
        (NotFound.of("network", "x"), 404, "network x not found"),
        (
            Conflict("kill", "x", "", code="container.kill-not-running", facts={"name": "x", "id": "1" * 64}),
            409,
            f"cannot kill container: x: container {'1' * 64} is not running",
        ),
        (
            Conflict("remove", "x", "", code="container.running", facts={"name": "x"}),
            409,
            'cannot remove container "/x": container is running: stop the container before removing or force remove',
        ),
        (
            Forbidden("remove", "bridge", "", code="network.predefined", facts={"name": "bridge"}),
            403,
            "bridge is a pre-defined network and cannot be removed",
        ),
        (
            StartFailed("execute", "x", "", code="exec.not-in-path", facts={"command": "x"}),
            400,
            PREFIX + 'exec: "x": executable file not found in $PATH: unknown',
        ),
        (
            StartFailed("execute", "/x", "", code="exec.no-such-file", facts={"command": "/x"}),
            400,
            PREFIX + 'exec: "/x": stat /x: no such file or directory: unknown',
        ),
        (
            StartFailed("execute", "/x", "", code="exec.permission", facts={"command": "/x"}),
            400,
            PREFIX + 'exec: "/x": permission denied: unknown',
        ),
        (
            StartFailed("execute", "/x", "", code="exec.directory", facts={"command": "/x"}),
            400,
            PREFIX + 'exec: "/x": is a directory: unknown: permission denied',
        ),
        (
            StartFailed("find", "user u", "", code="user.not-found", facts={"user": "u"}),
            500,
            "unable to find user u: no matching entries in passwd file",
        ),
        (
            Conflict("delete image", "x", "unable to delete x (must be forced) - why", code="image.in-use"),
            409,
            "conflict: unable to delete x (must be forced) - why",
        ),
        (Invalid("read", "x", "exactly this", code="text"), 400, "exactly this"),
        (KernelError("mount(2)", "x", 1), 500, "mount(2) `x`: Operation not permitted (EPERM)"),
        (OnggiError("do", "x", "why", hint="try y"), 500, "do `x`: why\nhint: try y"),
    ],
)
def test_errors_are_worded(error: OnggiError, status: int, words: str) -> None:
    """Class gives the status, code the sentence."""
    assert (errors.status(error), errors.sentence(error)) == (status, words)


def test_a_sentence_survives_missing_facts_and_braces() -> None:
    """A fact that is missing, or one that looks like a placeholder, does not make an error of the error."""
    assert errors.sentence(Conflict("x", "thing", "", code="container.name-in-use")).startswith(
        "Conflict. The container"
    )
    assert errors.sentence(NotFound.of("container", "{x.__class__}")) == "No such container: {x.__class__}"


def test_unchanged_has_no_body() -> None:
    """304 is an answer without a word."""
    assert errors.reply(Unchanged("start", "x", "it runs")) == Response(304)


async def gather(bus: events.Events, since: int | None, until: int | None, wanted: Filters) -> list[Event]:
    """What a listener hears."""
    return [event async for event in bus.listen(since_ns=since, until_ns=until, filters=wanted)]


def publish_some(bus: events.Events) -> None:
    """A container's life and an image."""
    for action in ("create", "start", "exec_create: sh -c x", "die"):
        bus.publish("container", action, "abc", {"name": "one", "image": "busybox:latest", "colour": "red"})
    bus.publish("image", "tag", "sha256:1", {"name": "busybox:latest"})
    bus.publish("network", "connect", "n1", {"name": "bridge", "container": "abc"})


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 6),
        ({"type": ["container"]}, 4),
        ({"event": ["die", "tag"]}, 2),
        ({"event": ["exec_create"]}, 1),
        ({"container": ["one"]}, 4),
        ({"container": ["ab"]}, 4),
        ({"container": ["two"]}, 0),
        ({"image": ["busybox"]}, 5),
        ({"image": ["busybox:latest"]}, 5),
        ({"label": ["colour=red"]}, 4),
        ({"label": ["colour=blue"]}, 0),
        ({"network": ["bridge"], "type": ["network"]}, 1),
        ({"scope": ["swarm"]}, 0),
    ],
)
def test_event_filters(wanted: dict[str, list[str]], count: int) -> None:
    """Each key narrows the events as Docker's does."""
    bus = events.Events()
    publish_some(bus)
    assert len(asyncio.run(gather(bus, 0, time.time_ns(), Filters(wanted)))) == count


def test_events_are_kept_and_bounded() -> None:
    """The last 256 are kept, each with a time of its own, in order; none without `since` and `until`."""
    bus = events.Events()
    for number in range(300):
        bus.publish("container", "start", str(number), {})
    kept = asyncio.run(gather(bus, 0, time.time_ns(), Filters()))
    assert [event.actor.id for event in kept] == [str(number) for number in range(44, 300)]
    assert len({event.time_nano for event in kept}) == 256
    middle = kept[100].time_nano
    assert len(asyncio.run(gather(bus, middle, time.time_ns(), Filters()))) == 156
    assert asyncio.run(gather(bus, None, 1, Filters())) == []


def test_a_slow_listener_is_dropped() -> None:
    """A listener that does not read gets what was queued and then its end; the engine never waits for it."""

    async def run() -> tuple[int, int]:
        bus = events.Events()
        listening = bus.listen(since_ns=None, until_ns=None, filters=Filters())
        first = asyncio.ensure_future(anext(listening))
        await asyncio.sleep(0)
        for number in range(5000):
            bus.publish("container", "start", str(number), {})
        await first
        heard = 1 + len([event async for event in listening])
        return heard, bus.listeners

    heard, left = asyncio.run(run())
    assert heard < 5000
    assert left == 0


def test_a_listener_that_leaves_is_forgotten() -> None:
    """Closing a listener's generator ends its registration."""

    async def run() -> list[int]:
        bus = events.Events()
        listening = bus.listen(since_ns=None, until_ns=None, filters=Filters())
        waiting = asyncio.ensure_future(anext(listening))
        await asyncio.sleep(0)
        counts = [bus.listeners]
        waiting.cancel()
        await asyncio.wait([waiting])
        await listening.aclose()
        return [*counts, bus.listeners]

    assert asyncio.run(run()) == [1, 0]
