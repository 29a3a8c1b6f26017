"""Capability sets on a real process."""

from __future__ import annotations

import errno
import os

from forked import errno_of, in_child
from onggi.kernel import capability

KEPT = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]


def _sets_after(act: object) -> list[int]:
    assert callable(act)
    act()
    sets = capability.of_process("self")
    return [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient]


def test_all_five_sets() -> None:
    """Each set is what was asked for, as /proc shows it."""
    bits = capability.mask(KEPT)
    got = in_child(lambda: _sets_after(lambda: capability.apply(KEPT, KEPT, KEPT, KEPT, KEPT)))
    assert got == [bits] * 5


def test_without_inheritable_no_ambient() -> None:
    """A capability that is not inheritable is left out of the ambient set, which the kernel would refuse."""
    got = in_child(lambda: _sets_after(lambda: capability.apply(KEPT, KEPT, KEPT, [], KEPT)))
    assert got[4] == 0


def test_the_same_after_a_change_of_user() -> None:
    """With keep_over_setuid the sets are as asked for although the user is no longer root."""

    def act() -> None:
        capability.keep_over_setuid()
        os.setresuid(1000, 1000, 1000)
        capability.apply(KEPT, KEPT, KEPT, KEPT, KEPT)

    assert in_child(lambda: _sets_after(act)) == [capability.mask(KEPT)] * 5


def test_empty_sets_take_everything() -> None:
    """With no capability root may neither change an owner nor get one back by exec."""

    def act() -> list[int]:
        capability.apply([], [], [], [], [])
        refused = errno_of(lambda: os.chown("/proc/self/status", 1, 1))
        child = os.popen("grep CapEff /proc/self/status").read()  # an exec'd process
        return [refused, int(child.split(":")[1], 16)]

    assert in_child(act) == [errno.EPERM, 0]


def test_what_was_dropped_cannot_come_back() -> None:
    """A second call cannot raise again what the first one took."""

    def act() -> list[str]:
        capability.apply(KEPT, KEPT, KEPT, [], [])
        wanted = [*KEPT, "CAP_SYS_ADMIN"]
        return list(capability.apply(wanted, wanted, wanted, [], []))

    assert in_child(act) == ["capability CAP_SYS_ADMIN is left out: the engine does not have it itself"]


def test_an_unknown_name_is_a_warning() -> None:
    """A capability of a later kernel does not fail the start, and is named."""
    warnings = in_child(lambda: list(capability.apply(["CAP_LATER", *KEPT], KEPT, KEPT, [], [])))
    assert warnings == ["ignoring unknown or unavailable capabilities: [CAP_LATER]"]


def test_a_name_means_one_capability_exactly() -> None:
    """The specification has no word for all of them, and no short names: such a word gives nothing."""
    words = ["ALL", "chown", "cap_chown"]
    warnings, sets = in_child(lambda: [list(capability.apply(words, words, words, [], [])), _sets_after(lambda: None)])
    assert warnings == ["ignoring unknown or unavailable capabilities: [ALL cap_chown chown]"]
    assert sets == [0, 0, 0, 0, 0]


def test_what_cannot_be_ambient_is_a_warning() -> None:
    """The kernel wants it permitted and inheritable: what is not is named, the rest is raised."""
    warnings = in_child(lambda: list(capability.apply(KEPT, KEPT, KEPT, KEPT[:1], KEPT[:2])))
    assert [text.partition(":")[0] for text in warnings] == [f"can't raise ambient capability {KEPT[1]}"]


def test_of_process_reads_what_current_reads() -> None:
    """Both readers agree about ourselves."""
    ours, shown = capability.current(), capability.of_process(os.getpid())
    assert (ours.bounding, ours.effective, ours.permitted) == (shown.bounding, shown.effective, shown.permitted)


def test_nothing_left_to_drop_needs_no_right() -> None:
    """Who has lost CAP_SETPCAP can still be given the sets that it has, and cannot be made to drop more."""

    def act() -> list[object]:
        capability.apply(KEPT, KEPT, KEPT, [], [])
        again = list(capability.apply(KEPT, KEPT, KEPT, [], []))
        return [again, errno_of(lambda: capability.apply(KEPT[:1], KEPT[:1], KEPT[:1], [], []))]

    assert in_child(act) == [[], errno.EPERM]
