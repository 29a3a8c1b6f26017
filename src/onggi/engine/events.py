"""The event bus: what happened to containers, images and networks, for whoever listens.

The last 256 events are kept, for listeners that ask for the past. A listener that does not read is dropped, not waited
for: a stuck client must not hold up the engine. Callers: every use case publishes; `api/routes/system` listens.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping

from onggi.wire.events import Actor, Event
from onggi.wire.filters import Filters

KEPT = 256
_QUEUE = 1024
_WITH_STATUS = frozenset({"container", "image"})
"""Types whose events repeat action, actor and image at the top for old clients."""
_NAMED = frozenset(
    {"container", "network", "volume", "image", "plugin", "daemon", "service", "node", "secret", "config"}
)
"""Filter keys that pick the actor of one type by id or name."""


class _Listener:
    """One who listens: a bounded queue, and whether it overflowed."""

    __slots__ = ("dropped", "filters", "queue")

    def __init__(self, filters: Filters) -> None:
        self.filters = filters
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE)
        self.dropped = False

    def tell(self, event: Event) -> None:
        """Queue the event; on overflow let what is queued be read, and then end."""
        if not self.dropped and matches(event, self.filters):
            try:
                self.queue.put_nowait(event)
            except asyncio.QueueFull:
                self.dropped = True


class Events:
    """The bus of one engine; to be used from its event loop's thread only."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[_Listener] = set()
        self._last = 0

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def publish(self, type: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> None:
        """Tell everybody: `type` container, image, network, volume, daemon; `attributes` as the actor shows them."""
        self._last = now = max(time.time_ns(), self._last + 1)  # so that no two have one time, and none goes back
        old = type in _WITH_STATUS
        event = Event(
            status=action if old else "",
            id=actor_id if old else "",
            from_=attributes.get("image", "") if old else "",
            type=type,
            action=action,
            actor=Actor(id=actor_id, attributes=dict(attributes)),
            time=now // 1_000_000_000,
            time_nano=now,
        )
        self._kept.append(event)
        for listener in self._listeners:
            listener.tell(event)

    async def listen(
        self, *, since_ns: int | None, until_ns: int | None, filters: Filters
    ) -> AsyncGenerator[Event, None]:
        """Kept events if `since_ns` or `until_ns` is given, then new ones; it ends at `until_ns`, or if not read."""
        listener = _Listener(filters)
        self._listeners.add(listener)
        # what is kept is copied before the first wait, so that no event is given twice or lost
        past = [] if since_ns is None and until_ns is None else list(self._kept)
        try:
            for event in past:
                if _within(event, since_ns, until_ns) and matches(event, filters):
                    yield event
            while (new := await _next(listener, until_ns)) is not None:
                yield new
        finally:
            self._listeners.discard(listener)


async def _next(listener: _Listener, until_ns: int | None) -> Event | None:
    """The next event; None at `until_ns`, or once a dropped listener has read what was queued."""
    if listener.dropped and listener.queue.empty():
        return None
    if until_ns is None:
        return await listener.queue.get()
    left = (until_ns - time.time_ns()) / 1e9
    if left <= 0:
        return None
    try:
        return await asyncio.wait_for(listener.queue.get(), left)
    except TimeoutError:
        return None


def _within(event: Event, since_ns: int | None, until_ns: int | None) -> bool:
    return (since_ns is None or event.time_nano >= since_ns) and (until_ns is None or event.time_nano <= until_ns)


def matches(event: Event, filters: Filters) -> bool:
    """Whether the event passes: `event`, `type`, `scope`, `label`, and the actor by its type's name."""
    if not filters:
        return True
    labels = event.actor.attributes
    return (
        filters.match("type", event.type)
        and filters.match("scope", event.scope)
        and _action(event.action, filters)
        and (not filters.values("label") or filters.match_labels(labels))
        and all(_actor(event, key, filters) for key in _NAMED if key in filters)
    )


def _action(action: str, filters: Filters) -> bool:
    """`exec_create: sh -c …` passes as `exec_create` too, and `health_status: healthy` as `health_status`."""
    return filters.match("event", action, action.split(":", 1)[0])


def _actor(event: Event, key: str, filters: Filters) -> bool:
    """`container=x` passes the events of container x, by id, its beginning, or name; `image=x` also its containers'."""
    name = event.actor.attributes.get("name", "")
    if key == "image":
        image = event.actor.attributes.get("image", "") if event.type == "container" else event.actor.id
        facts = {image, name} if event.type == "image" else {image}
        return event.type in _WITH_STATUS and filters.match(key, *facts, *(f.rsplit(":", 1)[0] for f in facts))
    if event.type != key:
        return False
    return filters.match(key, name) or filters.match_prefix(key, event.actor.id)
