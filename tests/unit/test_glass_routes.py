"""The glass's routes, over an engine of three lines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from onggi.errors import NotFound
from onggi.glass.routes import routes
from onggi.wire.containers import ContainerCreate

CONFIG = {"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/proc/1/ns/net"}]}}


class _Containers:
    def __init__(self) -> None:
        self.planned = ""

    async def facts(self, ref: str) -> Mapping[str, Any]:
        if ref != "jar":
            raise NotFound.of("container", ref)
        trace = [["init", "sethostname jar", 100, 50, ""]]
        return {"id": "f" * 64, "name": "jar", "pid": 0, "config": CONFIG, "trace": trace, "namespaces": {"mnt": 7}}

    async def plan(self, body: ContainerCreate) -> Sequence[Mapping[str, Any]]:
        self.planned = body.config.image
        return [{"where": "init", "describe": "unshare --pid", "why": "linux.namespaces"}]


class _Engine:
    def __init__(self) -> None:
        self.containers = _Containers()


class _Request:
    def __init__(self, identifier: str = "jar", body: bytes = b"") -> None:
        self.params = {"id": identifier}
        self._body = body

    async def read_json(self) -> bytes:
        return self._body


def _ask(method: str, ending: str, request: _Request, engine: _Engine | None = None) -> dict[str, Any]:
    (handler,) = [h for m, path, h in routes(engine or _Engine()) if m == method and path.endswith(ending)]

    async def ask() -> dict[str, Any]:
        return await handler(request)

    return asyncio.run(ask())


def test_a_plan_is_shown_and_nothing_else_is_asked() -> None:
    """The create body goes to the engine; its steps come back as rows."""
    engine = _Engine()
    answer = _ask("POST", "/plan", _Request(body=b'{"Image": "x"}'), engine)
    assert engine.containers.planned == "x"
    assert [step["describe"] for step in answer["steps"]] == ["unshare --pid"]


def test_a_trace() -> None:
    """Steps with times, and how long all of it took."""
    answer = _ask("GET", "/trace", _Request())
    assert (answer["name"], answer["took"], len(answer["steps"])) == ("jar", 50, 1)


def test_a_container_that_has_ended() -> None:
    """Own and shared are told from the configuration; a number that nobody noted is gone."""
    answer = _ask("GET", "/explain", _Request())
    assert not answer["running"]
    spaces = {space["name"]: space for space in answer["namespaces"]}
    assert (spaces["pid"]["own"], spaces["pid"]["container"]) == (True, "gone")
    assert (spaces["mnt"]["own"], spaces["mnt"]["container"]) == (True, "7")
    assert not spaces["uts"]["own"]
    assert not spaces["net"]["own"]
    assert spaces["uts"]["container"] == spaces["uts"]["host"]


def test_every_fact_stands_for_itself() -> None:
    """All that is shown has a title and a text."""
    answer = _ask("GET", "/explain", _Request())
    for shown in (*answer["namespaces"], *answer["shared"], *answer["steps"]):
        assert shown["title"]
        assert shown["text"]


def test_no_such_container() -> None:
    """The engine's error goes through, for the API to word."""
    with pytest.raises(NotFound):
        _ask("GET", "/explain", _Request("other"))
