"""The trace: what was done to the kernel, when, for how long, with which result.

Whoever does a step tells an `Observer`; `explain`, `timeline` and the tests read what it kept. An observer never breaks
what it observes: `Trace` only appends. Callers: every storey. Read next: `runtime/steps`.
"""

from __future__ import annotations

import time

from onggi.unwinding import contextmanager
from onggi.values import Protocol, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Describable(Protocol):
    """Something that can say what it did."""

    def describe(self) -> str:
        """The nearest shell command."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was done: `started` and `lasted` in nanoseconds (CLOCK_MONOTONIC), `error` empty on success."""

    who: str
    """The process that did it: engine, launcher, keeper, init."""
    what: str | Describable
    started: int
    lasted: int
    error: str = ""

    @property
    def step(self) -> str:
        """What was done, as the nearest shell command: worded when somebody asks, not while a container starts."""
        return self.what if isinstance(self.what, str) else self.what.describe()


class Observer(Protocol):
    """Hears of everything that is done to the kernel."""

    def saw(self, event: Event) -> None:
        """Take note; must not raise."""


@dataclass(slots=True)
class Trace:
    """An observer that keeps what it saw, in order."""

    events: list[Event] = field(default_factory=list)

    def saw(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)


@contextmanager
def observed(observer: Observer, who: str, step: str) -> Iterator[None]:
    """Time the body and tell `observer`, also when it fails."""
    started = time.monotonic_ns()
    try:
        yield
    except Exception as error:
        observer.saw(Event(who, step, started, time.monotonic_ns() - started, str(error) or type(error).__name__))
        raise
    observer.saw(Event(who, step, started, time.monotonic_ns() - started))
