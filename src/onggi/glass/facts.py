"""The shape of everything the glass shows: a title for a row, a text that stands for itself.

Callers: every file beside this one. Read next: `explain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing to know: `title` in a word or two, `text` as a reader needs it, complete without its neighbours."""

    title: str
    text: str

    def to_json(self) -> dict[str, str]:
        """As the API sends it."""
        return {"title": self.title, "text": self.text}


@dataclass(frozen=True, slots=True)
class View:
    """One kind of namespace, as one container has it."""

    name: str
    """The kernel's name: `mnt`, `pid`, …"""
    title: str
    own: bool
    container: str
    """The kernel's number of the one that the container is in; `gone` when it ended with the container."""
    host: str
    text: str
    """What it means for this container, in a sentence."""
    facts: tuple[Fact, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the API sends it."""
        return {
            "name": self.name,
            "title": self.title,
            "own": self.own,
            "container": self.container,
            "host": self.host,
            "text": self.text,
            "facts": [fact.to_json() for fact in self.facts],
        }


def size(count: int) -> str:
    """Bytes in the unit that fits: `64 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            return f"{amount:.1f}".removesuffix(".0") + f" {unit}"
        amount /= 1024
    raise AssertionError("the last unit takes every amount")


def several(count: int, one: str, many: str = "") -> str:
    """`1 process`, `3 processes`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
