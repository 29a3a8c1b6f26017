"""Filters as clients send them: `{"label": ["a=b"]}`, and the older `{"label": {"a=b": true}}`.

Several values of one key are alternatives, except labels, which must all hold. The API parses, the engine asks.
"""

# ruff: noqa: SIM905 - many words read better as words than as a list of strings
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from onggi.errors import Invalid

CONTAINERS = frozenset(
    "ancestor before exited expose health id is-task isolation label name network publish since status volume".split()
)
EVENTS = frozenset(
    "config container daemon event image label network node plugin scope secret service type volume".split()
)
IMAGE_PRUNE = frozenset("dangling label label! until".split())
IMAGES = frozenset("before dangling label reference since until".split())
NETWORKS = frozenset("dangling driver id label name scope type".split())
SEARCH = frozenset("is-automated is-official stars".split())
VOLUMES = frozenset("dangling driver label name".split())


class Filters:
    """What a list is narrowed to; without a key, everything matches it."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Iterable[str]] | None = None) -> None:
        self._values = {key: tuple(items) for key, items in (values or {}).items()}

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def values(self, key: str) -> tuple[str, ...]:
        """The values of one key."""
        return self._values.get(key, ())

    def flag(self, key: str, *, default: bool) -> bool:
        """A key whose one value is true or false; `Invalid` for another or for both."""
        values = {v.lower() for v in self.values(key)}
        if not values:
            return default
        if values <= {"1", "true"}:
            return True
        if values <= {"0", "false"}:
            return False
        raise refused(key, self.values(key)[0])

    def match(self, key: str, *facts: str) -> bool:
        """Whether one of `facts` is one of the values."""
        values = self.values(key)
        return not values or any(fact in values for fact in facts)

    def match_prefix(self, key: str, *facts: str) -> bool:
        """Whether one of `facts` begins with one of the values: how ids are meant."""
        values = self.values(key)
        return not values or any(fact.startswith(value) for fact in facts for value in values)

    def match_pattern(self, key: str, *facts: str) -> bool:
        """Whether a value, a regular expression, is found in one of `facts`: how names are meant."""
        values = self.values(key)
        return not values or any(_found(value, fact) for fact in facts for value in values)

    def refuse_labels(self, labels: Mapping[str, str] | None, key: str = "label!") -> bool:
        """Whether none of the `name` or `name=value` holds."""
        return not any(Filters({key: [one]}).match_labels(labels, key) for one in self.values(key))

    def match_labels(self, labels: Mapping[str, str] | None, key: str = "label") -> bool:
        """Whether every `name` or `name=value` holds."""
        have = labels or {}
        for wanted in self.values(key):
            name, equals, value = wanted.partition("=")
            if name not in have or (equals and have[name] != value):
                return False
        return True


def _found(pattern: str, text: str) -> bool:
    if pattern == text:
        return True
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False  # as Docker: a pattern that is none matches by equality only


def refused(key: str, value: str) -> Invalid:
    """The error for a value that the key does not have."""
    return Invalid("filter", key, f"invalid filter '{key}={value}'", code="text")


def parse(text: str, allowed: frozenset[str]) -> Filters:
    """The filters of a query's parameter; `Invalid` in Docker's words for a key that is not in `allowed`."""
    if not text:
        return Filters()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable() from error
    if value is None:
        return Filters()
    if not isinstance(value, dict):
        raise _unreadable()
    values = {key: _values(items) for key, items in value.items()}
    for key in values:
        if key not in allowed:
            raise Invalid("filter", key, f"invalid filter '{key}'", code="text")
    return Filters(values)


def _unreadable() -> Invalid:
    return Invalid("read", "filters", "invalid filter", code="text")


def _values(items: Any) -> list[str]:
    if isinstance(items, dict) and all(isinstance(v, bool) for v in items.values()):
        return list(items)
    if isinstance(items, list) and all(isinstance(v, str) for v in items):
        return items
    raise _unreadable()
