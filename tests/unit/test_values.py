"""Our classes of values behave as those of the standard library, as far as we use them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi import values


@values.dataclass(frozen=True, slots=True)
class Ours:
    """Of ours."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()

    @property
    def twice(self) -> int:
        """A class may have more than fields."""
        return self.a * 2


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """Of the standard library."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


@values.dataclass(slots=True)
class Open:
    """One that may be changed."""

    name: str
    found: list[int] = values.field(default_factory=list)


_WORDS: Any = st.tuples(
    st.lists(st.integers(0, 3), max_size=4), st.dictionaries(st.sampled_from(["a", "b", "c", "x"]), st.integers(0, 3))
)


def shown(make: Any, words: Any) -> str:
    """What comes of a call: the object without its class's name, or that it was refused."""
    try:
        return repr(make(*words[0], **words[1])).partition("(")[2]
    except TypeError:
        return "refused"


@given(_WORDS)
def test_calls_mean_the_same(words: Any) -> None:
    """By place, by name, by default; too few, too many, twice, unknown."""
    assert shown(Ours, words) == shown(Theirs, words)


@given(_WORDS, _WORDS)
def test_equality_and_hash_agree(first: Any, second: Any) -> None:
    """Equal where the standard library's are equal, and then of one hash."""
    if "refused" in (shown(Ours, first), shown(Ours, second)):
        return
    ours, theirs = [[make(*w[0], **w[1]) for w in (first, second)] for make in (Ours, Theirs)]
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert ours[0] != ours[1] or hash(ours[0]) == hash(ours[1])


def test_another_class_is_never_equal() -> None:
    """Two steps with the same words are two steps."""
    theirs: object = Theirs(1)
    assert Ours(1) != theirs


def test_a_frozen_object_cannot_be_changed() -> None:
    """Neither a field nor anything else."""
    value: Any = Ours(1)
    with pytest.raises(AttributeError, match="frozen"):
        value.a = 2
    with pytest.raises(AttributeError):
        value.z = 2
    with pytest.raises(AttributeError):
        del value.a
    assert (value.a, value.twice) == (1, 2)


def test_an_open_object_has_slots_and_defaults_of_its_own() -> None:
    """A list is not shared; an unknown name is an error; it cannot be a key."""
    first, second = Open("x"), Open("y")
    first.found.append(1)
    first.name = "z"
    assert (first.name, first.found, second.found) == ("z", [1], [])
    with pytest.raises(AttributeError):
        first.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        hash(first)


def test_replace_copies() -> None:
    """The rest stays, the original too; an unknown field is an error."""
    value = Ours(1, "x")
    assert (values.replace(value, a=2), value) == (Ours(2, "x"), Ours(1, "x"))
    with pytest.raises(TypeError, match="nonsense"):
        values.replace(value, nonsense=1)


def test_patterns_match_by_place() -> None:
    """`case Ours(1, b)` works."""
    match Ours(1, "x"):
        case Ours(1, b):
            assert b == "x"
        case _:
            raise AssertionError("it did not match")
