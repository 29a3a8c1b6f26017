"""Creating containers, and planning those that are never created (`--dry-run`).

A request is checked, joined with its image's config, given directories and a record. Nothing runs. You come from
`containers`; the next doors are `refusals`, `merge` and `spec`.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec

from onggi.engine import published, refusals, spec
from onggi.engine.binds import requested
from onggi.engine.container import Container
from onggi.engine.defaults import settle
from onggi.engine.images import ContainerImage
from onggi.engine.merge import merge
from onggi.engine.parts import Parts
from onggi.engine.records import ContainerRecord, MountRecord, StateRecord
from onggi.engine.surroundings import surroundings
from onggi.errors import Invalid
from onggi.runtime import plan
from onggi.runtime.request import from_json
from onggi.wire.containers import ContainerCreate, ContainerCreated
from onggi.wire.document import to_wire


class Creation:
    """The use cases."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, name: str | None, platform: str, body: ContainerCreate) -> ContainerCreated:
        """Make a container; its name is made up if there is none."""
        refusals.check(body)
        if not body.config.image:
            raise Invalid("create", "container", "no image was given", code="image.not-given")
        image = await self._parts.images.for_container(body.config.image, platform)
        body = self._merged(body, image)
        container_id = secrets.token_hex(32)
        mounts = requested(body)
        published.ports(body)
        reserved = self._parts.directory.reserve(name, container_id)
        try:
            record = await self._record(container_id, reserved, body, image, mounts)
            self._try_request(record, body)
            await self._parts.records.put(record)
        except BaseException:
            self._parts.directory.release(reserved, container_id)
            await self._parts.discard(container_id)
            raise
        container = Container(record, body)
        self._parts.directory.add(container)
        self._parts.tell(container, "create")
        return ContainerCreated(id=container_id, warnings=self._doubts(body, image))

    async def plan(self, body: ContainerCreate) -> list[dict[str, str]]:
        """The steps that a start of this request would take; nothing is done."""
        refusals.check(body)
        image = await self._parts.images.for_container(body.config.image, "")
        body = self._merged(body, image)
        container_id = secrets.token_hex(32)
        try:
            record = await self._record(container_id, "planned", body, image, requested(body))
            container = Container(record, body)
            endpoints = await self._parts.networks.preview(container_id, body.host_config.network_mode)
            document = spec.document(
                self._parts.instance, record, body, surroundings(self._parts, container, endpoints)
            )
            built = plan.build(from_json(document), self._parts.layout)
        finally:
            await self._parts.discard(container_id)
        return [{"where": who, "describe": step.describe(), "why": step.why} for who, step in built.in_order()]

    async def _record(
        self, container_id: str, name: str, body: ContainerCreate, image: ContainerImage, mounts: list[MountRecord]
    ) -> ContainerRecord:
        """The record of a new container, and its directories."""
        overlay = await self._parts.images.prepare(container_id, image)
        directory = self._parts.instance.container_dir(container_id)
        (directory / "rootfs").mkdir(mode=0o700)
        memory = directory / "memory"
        if overlay.in_memory:
            memory.mkdir(mode=0o700)
        return ContainerRecord(
            id=container_id,
            name=name,
            created=time.time_ns(),
            image=body.config.image,
            image_id=image.id,
            body=self._document(body),
            lowers=list(overlay.lowers),
            upper=overlay.upper or str(memory / "upper"),
            work=overlay.work or str(memory / "work"),
            in_memory=overlay.in_memory,
            mounts=mounts,
            endpoints=[],
            state=StateRecord(),
        )

    def _merged(self, body: ContainerCreate, image: ContainerImage) -> ContainerCreate:
        config = merge(body.config, image.run)
        host = body.host_config
        if not config.hostname and host.uts_mode != "host":
            config = msgspec.structs.replace(config, hostname="")
        return ContainerCreate(config, settle(host, network_disabled=config.network_disabled), body.networking_config)

    @staticmethod
    def _document(body: ContainerCreate) -> dict[str, Any]:
        document: dict[str, Any] = to_wire(body.config)
        document["HostConfig"] = to_wire(body.host_config)
        document["NetworkingConfig"] = to_wire(body.networking_config)
        return document

    def _try_request(self, record: ContainerRecord, body: ContainerCreate) -> None:
        """Make the runtime's request once without sending it: what cannot be meant is refused at create, as in Docker."""
        around = spec.Surroundings([], {}, record.id[:12], lambda *_: 1)
        spec.document(self._parts.instance, record, body, around)

    def _doubts(self, body: ContainerCreate, image: ContainerImage) -> list[str]:
        found = []
        health = image.run.healthcheck
        if health and health.test and health.test[0] != "NONE" and body.config.healthcheck is None:
            found.append("the image's HEALTHCHECK is not run: health checks are not supported yet")
        if body.config.volumes:
            places = ", ".join(sorted(body.config.volumes))
            found.append(f"{places} is kept in the container's own layer: anonymous volumes are not supported yet")
        if body.host_config.log_config.config:
            options = ", ".join(sorted(body.host_config.log_config.config))
            found.append(f"the log is kept whole: the log options {options} are not supported yet")
        return found
