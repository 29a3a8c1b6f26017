"""Mount options: words into flags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Invalid
from onggi.kernel.flags import ATIME_MASK, MountAttr, Ms
from onggi.oci.runtime import IdMap
from onggi.runtime.options import KNOWN, MountOptions, parse_id_maps, parse_options

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


@pytest.mark.parametrize(
    ("words", "on", "off"),
    [
        (["rro", "rnosuid"], MountAttr.RDONLY | MountAttr.NOSUID, 0),
        (["rro", "rrw"], 0, MountAttr.RDONLY),
        (["rexec", "rnoexec"], MountAttr.NOEXEC, 0),
        (["rnoatime"], MountAttr.NOATIME, ATIME_MASK),
        (["rnoatime", "rrelatime"], 0, ATIME_MASK),
        (["rnoatime", "rstrictatime"], MountAttr.STRICTATIME, ATIME_MASK),
        (["ratime"], 0, ATIME_MASK),
        (["rnodiratime"], MountAttr.NODIRATIME, 0),
        (["rsymfollow"], 0, MountAttr.NOSYMFOLLOW),
    ],
)
def test_recursive_attributes_are_kept_apart(words: list[str], on: int, off: int) -> None:
    """They hold for the mounts below, too; to set an atime the whole field is cleared, as mount_setattr(2) asks."""
    found = parse_options(["rbind", *words])
    assert found.recursive == (on, off)
    assert found.recursive_bind
    assert (found.attributes, found.exact) == (0, False)


@pytest.mark.parametrize(
    ("words", "attributes"),
    [
        (["noatime"], MountAttr.NOATIME),
        (["noatime", "strictatime"], MountAttr.STRICTATIME),
        (["strictatime", "nodiratime"], MountAttr.STRICTATIME | MountAttr.NODIRATIME),
        (["nodiratime", "norelatime"], MountAttr.NODIRATIME),
        (["relatime"], 0),
    ],
)
def test_an_atime_word_chooses_the_whole_field(words: list[str], attributes: int) -> None:
    """As mount(2) reads its flags: what is neither strict nor no is relatime."""
    found = parse_options(words)
    assert (found.attributes, found.atime) == (attributes, True)


@pytest.mark.parametrize("word", ["atime", "diratime", "norelatime", "nostrictatime"])
def test_a_word_against_an_atime_chooses_none(word: str) -> None:
    """`bind,atime` keeps what the source has, as with mount(8)."""
    found = parse_options(["bind", word])
    assert (found.attributes, found.atime, found.exact) == (0, False, True)


@pytest.mark.parametrize("word", ["bind", "rbind", "rprivate", "idmap", "rro", "tmpcopyup"])
def test_words_that_ask_for_no_flag_leave_a_bind_mount_as_its_source_is(word: str) -> None:
    """Only a flag makes it exact."""
    assert not parse_options([word]).exact


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rprivate"], ((Ms.PRIVATE, True),)),
        (["slave"], ((Ms.SLAVE, False),)),
        (["rslave", "shared"], ((Ms.SLAVE, True), (Ms.SHARED, False))),
        (["unbindable"], ((Ms.UNBINDABLE, False),)),
    ],
)
def test_propagation(words: list[str], expected: tuple[tuple[Ms, bool], ...]) -> None:
    """The four kinds, each with its recursive form; several in their order."""
    assert parse_options(["bind", *words]).propagation == expected


def test_flags_of_the_file_system_keep_their_names() -> None:
    """They are no mount's, so fsconfig(2) is told."""
    found = parse_options(["sync", "lazytime", "nomand", "mode=1"])
    assert (found.superblock, found.attributes) == (("sync", "lazytime", "nomand"), 0)
    assert found.data == (("mode", "1"),)


def test_words_of_links_copies_and_maps_are_no_data() -> None:
    """Each has a place of its own."""
    found = parse_options(["bind", "copy-symlink", "dest-nofollow", "tmpcopyup", "remount", "ridmap=uids=0-1-2"])
    assert (found.links, found.copy_up, found.remount) == (("copy-symlink", "dest-nofollow"), True, True)
    assert (found.idmap, found.idmap_value, found.data) == ("ridmap", "uids=0-1-2", ())


OWN = (IdMap(0, 100000, 1000),)


def test_id_maps_are_read_as_crun_writes_them() -> None:
    """Ranges inside-outside-size; with an @ what is outside is one of the container's own ids."""
    found = parse_id_maps("uids=0-1-10#@10-11-10;gids=5-6-7", OWN, OWN)
    assert found == ((IdMap(0, 1, 10), IdMap(10, 100011, 10)), (IdMap(5, 6, 7),))


@pytest.mark.parametrize("text", ["uids=1", "uids=a-b-c", "who=0-0-1", "uids=0-1-2-3", "uids=@0-990-20", "uids=@"])
def test_id_maps_that_cannot_be_read_are_named(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(Invalid, match="idmap"):
        parse_id_maps(text, OWN, OWN)


def test_every_word_that_is_known_is_known_once() -> None:
    """What `features` tells."""
    assert len(KNOWN) == len(set(KNOWN))
    assert all(parse_options([word]).data == () for word in KNOWN)


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
