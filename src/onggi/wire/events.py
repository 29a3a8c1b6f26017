"""Events on the wire: something happened to a container, an image, a network. Data only; `engine/events` makes them."""

# ruff: noqa: RUF012 - msgspec copies a mutable default for each new struct
from __future__ import annotations

from typing import ClassVar

import msgspec

from onggi.wire.document import Document


class Actor(Document, frozen=True, kw_only=True):
    """What it happened to: its id, and its labels with `name`, `image` and what the action adds."""

    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] = {}


class Event(Document, frozen=True, kw_only=True):
    """One event; `time` in seconds, `time_nano` in nanoseconds since 1970.

    `status`, `id` and `from_` repeat action, actor and image for clients older than API 1.52.
    """

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"status", "id", "from_"})
    status: str = msgspec.field(name="status", default="")
    id: str = msgspec.field(name="id", default="")
    from_: str = msgspec.field(name="from", default="")
    type: str
    action: str
    actor: Actor
    scope: str = msgspec.field(name="scope", default="local")
    time: int = msgspec.field(name="time")
    time_nano: int = msgspec.field(name="timeNano")
