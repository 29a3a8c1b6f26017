"""Mount options: words into flags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Unsupported
from onggi.kernel.flags import MountAttr, Ms
from onggi.runtime.options import MountOptions, parse_options

_FLAGS = st.sampled_from(
    ["ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "strictatime", "relatime"]
)


def test_flags_become_attributes_and_the_rest_is_data() -> None:
    """What is no flag is handed to the file system, with or without a value."""
    found = parse_options(["nosuid", "ro", "size=64k", "newinstance", "mode="])
    assert found.attributes == MountAttr.NOSUID | MountAttr.RDONLY
    assert found.data == (("size", "64k"), ("newinstance", None), ("mode", ""))


def test_the_last_word_wins() -> None:
    """`ro,rw` is writable, and says so to a bind mount of something read-only."""
    found = parse_options(["ro", "rw"])
    assert (found.attributes, found.cleared) == (0, MountAttr.RDONLY)


def test_recursive_attributes_are_kept_apart() -> None:
    """`rro` holds for the mounts below, too."""
    found = parse_options(["rbind", "rro", "rnosuid"])
    assert found.recursive_attributes == MountAttr.RDONLY | MountAttr.NOSUID
    assert found.recursive_bind
    assert found.attributes == 0


@pytest.mark.parametrize(
    ("word", "kind", "recursive"),
    [
        ("rprivate", Ms.PRIVATE, True),
        ("slave", Ms.SLAVE, False),
        ("rshared", Ms.SHARED, True),
        ("unbindable", Ms.UNBINDABLE, False),
    ],
)
def test_propagation(word: str, kind: Ms, recursive: bool) -> None:
    """The four kinds, each with its recursive form."""
    found = parse_options(["bind", word])
    assert (found.propagation, found.recursive_propagation) == (kind, recursive)


@pytest.mark.parametrize("word", ["sync", "async", "mand", "nomand", "remount", "tmpcopyup"])
def test_what_is_not_supported_is_refused(word: str) -> None:
    """Silence would be a lie: the word is named."""
    with pytest.raises(Unsupported, match=f"`{word}`"):
        parse_options([word])


def test_words_that_mean_nothing_here_are_passed_over() -> None:
    """`defaults`, SELinux's letters and the empty word change nothing."""
    found = parse_options(["defaults", "z", "Z", ""])
    assert (found.attributes, found.cleared, found.data) == (0, 0, ())


def test_text_is_what_mount_takes() -> None:
    """The words as they came, or `defaults`."""
    assert parse_options(["ro", "size=1k"]).text() == "ro,size=1k"
    assert MountOptions().text() == "defaults"


@given(st.lists(_FLAGS))
def test_no_bit_is_set_and_cleared_at_once(words: list[str]) -> None:
    """mount_setattr(2) would set it; the later word is the one that counts."""
    found = parse_options(words)
    assert found.attributes & found.cleared == 0


@given(st.lists(_FLAGS, min_size=1))
def test_repeating_the_words_changes_nothing(words: list[str]) -> None:
    """Options mean the same when they are given twice."""
    once, twice = parse_options(words), parse_options(words * 2)
    assert (once.attributes, once.cleared) == (twice.attributes, twice.cleared)
