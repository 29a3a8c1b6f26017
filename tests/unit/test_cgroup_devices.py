"""Device rules: folded, and as the program that decides on v2."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from onggi.engine import default_devices
from onggi.errors import Invalid
from onggi.kernel.bpf import device_program
from onggi.kernel.cgroup.devices import DeviceException, Devices, fold, parse_list, transition, unknown_letters

Rule = dict[str, Any]
_ACCESS = {"m": 1, "r": 2, "w": 4}


def _decide(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the kernel's eBPF interpreter would return, for the few instructions that we use."""
    asked = sum(_ACCESS[letter] for letter in access) << 16 | {"b": 1, "c": 2}[kind]
    context = struct.pack("=III", asked, major, minor)
    registers, here = [0] * 11, 0
    lines = list(struct.iter_unpack("=BBhi", program))
    while True:
        code, both, offset, value = lines[here]
        to, source = both & 15, both >> 4
        here += 1
        if code == 0x95:
            return bool(registers[0])
        if code == 0x61:
            (registers[to],) = struct.unpack_from("=I", context, offset)
        elif code == 0x54:
            registers[to] &= value & 0xFFFFFFFF
        elif code == 0x74:
            registers[to] >>= value
        elif code == 0xBC:
            registers[to] = registers[source]
        elif code == 0xB4:
            registers[to] = value
        elif (code == 0x56 and registers[to] != value) or (code == 0x16 and registers[to] == value):
            here += offset
        else:
            assert code in (0x56, 0x16), hex(code)


def _expected(devices: Devices, kind: str, major: int, minor: int, access: str) -> bool:
    """The v1 controller's decision, written from its documentation."""
    for e in devices.exceptions:
        if e.kind != kind or e.major not in (-1, major) or e.minor not in (-1, minor):
            continue
        if devices.allowed_by_default and set(access) & set(e.access):
            return False
        if not devices.allowed_by_default and set(access) <= set(e.access):
            return True
    return devices.allowed_by_default


DEFAULT = fold(default_devices.default_rules())
BUT_DISKS = fold([{"allow": True}, {"allow": False, "type": "b", "major": 8, "access": "w"}])


@pytest.mark.parametrize("devices", [DEFAULT, BUT_DISKS], ids=["default", "allow all but"])
def test_the_program_decides_as_v1_does(devices: Devices) -> None:
    """For every kind, many numbers and every access, the program's answer is the v1 controller's."""
    program = device_program(devices)
    accesses = ["".join(c) for n in (1, 2, 3) for c in itertools.combinations("rwm", n)]
    for kind, major, minor, access in itertools.product("bc", (0, 1, 5, 8, 10, 136), (0, 1, 3, 9, 200), accesses):
        expected = _expected(devices, kind, major, minor, access)
        assert _decide(program, kind, major, minor, access) is expected, (kind, major, minor, access)


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "allowed"),
    [
        ("c", 1, 3, "rw", True), ("c", 136, 77, "rw", True), ("c", 5, 2, "rw", True),
        ("b", 8, 0, "m", True), ("b", 8, 0, "r", False), ("b", 8, 0, "rm", False),
        ("c", 1, 1, "r", False), ("c", 10, 229, "rw", False), ("c", 4, 64, "w", False),
    ],
)  # fmt: skip
def test_the_default_list(kind: str, major: int, minor: int, access: str, allowed: bool) -> None:
    """null, terminals and ptmx are open; a disk's node can be made but neither read nor written; /dev/mem is shut."""
    assert _decide(device_program(DEFAULT), kind, major, minor, access) is allowed


def test_later_rules_undo_earlier_ones() -> None:
    """Allowing and denying the same device leaves what was said last; a rule for all empties the list."""
    null = {"type": "c", "major": 1, "minor": 3}
    assert fold([{"allow": False}, {"allow": True, **null}, {"allow": False, **null, "access": "w"}]).text() == (
        "deny all except c 1:3 rm"
    )
    assert fold([{"allow": False}, {"allow": True, **null}, {"allow": False, **null}]).exceptions == ()
    assert fold([{"allow": False}, {"allow": True, **null}, {"allow": True}]).text() == "allow all"


def test_what_no_rule_allows_is_denied() -> None:
    """A list without a rule for all starts from nothing, as runc's does."""
    assert fold([]).text() == "deny all"
    assert fold([{"allow": True, "type": "c", "major": 1, "minor": 3}]).text() == "deny all except c 1:3 rwm"


@pytest.mark.parametrize(
    ("wide", "hole"),
    [
        ({"type": "c", "major": 1}, {"type": "c", "major": 1, "minor": 3}),
        ({"type": "c", "minor": 3}, {"type": "c", "major": 1, "minor": 3}),
        ({"type": "b"}, {"type": "b", "major": 8}),
        ({"type": "b", "access": "rw"}, {"type": "b", "major": 8, "minor": 0, "access": "wm"}),
    ],
)
@pytest.mark.parametrize("default", [False, True])
def test_a_hole_in_a_wider_rule_is_refused(default: bool, wide: Rule, hole: Rule) -> None:
    """v1 would pass over such a rule in silence, and what was forbidden would be allowed."""
    rules: list[Rule] = [{"allow": default}, {"allow": not default, **wide}, {"allow": default, **hole}]
    with pytest.raises(Invalid, match="cannot punch hole in existing wildcard rule"):
        fold(rules)


def test_a_hole_where_nothing_is_is_fine() -> None:
    """Another access, another kind, or the whole of the wider rule."""
    wide: Rule = {"type": "c", "major": 1, "access": "m"}
    for rule in ({**wide, "minor": 3, "access": "rw"}, {**wide, "type": "b"}, wide):
        fold([{"allow": False}, {"allow": True, **wide}, {"allow": False, **rule}])


def test_letters_that_mean_nothing_are_passed_over() -> None:
    """As runc does; the limits' warnings name them."""
    rules: list[Rule] = [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwa"}]
    assert fold(rules).text() == "deny all except c 1:3 rw"
    assert unknown_letters(rules) == "a"


def _replayed(now: Devices, changes: list[tuple[str, str]]) -> Devices:
    """What the v1 controller has after these writes, from its documentation."""
    default, there = now.allowed_by_default, {(e.kind, e.major, e.minor): set(e.access) for e in now.exceptions}
    for file, value in changes:
        allow = file == "devices.allow"
        if value == "a":
            default, there = allow, {}
            continue
        (exception,) = parse_list(value).exceptions
        key = (exception.kind, exception.major, exception.minor)
        old = there.pop(key, set())
        new = old | set(exception.access) if allow != default else old - set(exception.access)
        if new:
            there[key] = new
    return Devices(default, tuple(sorted((DeviceException(*k, "".join(a)) for k, a in there.items()), key=str)))


NOW = fold([{"allow": True, "type": "c", "major": 1, "minor": 3}, {"allow": True, "type": "c", "major": 5, "minor": 0}])
WANTED = fold([{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}, {"allow": True, "type": "b"}])


def test_a_change_of_rules_touches_only_what_changes() -> None:
    """What is allowed before and after is allowed all the while: more first, then less."""
    assert list(transition(NOW, WANTED)) == [
        ("devices.allow", "b *:* rwm"),
        ("devices.deny", "c 1:3 m"),
        ("devices.deny", "c 5:0 rwm"),
    ]
    assert list(transition(NOW, NOW)) == []


@pytest.mark.parametrize("wanted", [WANTED, BUT_DISKS, DEFAULT, fold([]), fold([{"allow": True}])])
@pytest.mark.parametrize("now", [NOW, BUT_DISKS, DEFAULT, fold([{"allow": True}])])
def test_a_change_of_rules_arrives(now: Devices, wanted: Devices) -> None:
    """From every list to every other, by what v1's files tell of the first."""
    told = Devices(now.allowed_by_default, () if now.allowed_by_default else now.exceptions)
    got = _replayed(now, list(transition(told, wanted)))
    assert (got.allowed_by_default, {(e.kind, e.major, e.minor): set(e.access) for e in got.exceptions}) == (
        wanted.allowed_by_default,
        {(e.kind, e.major, e.minor): set(e.access) for e in wanted.exceptions},
    )


def test_a_list_as_the_kernel_shows_it() -> None:
    """`devices.list` of a group that denies, and of one that allows."""
    assert parse_list("c 1:3 rwm\nb *:* m").text() == "deny all except c 1:3 rwm, b *:* m"
    assert parse_list("a *:* rwm").text() == "allow all"


@pytest.mark.parametrize("rule", [{"allow": True, "type": "x"}, {"allow": True, "type": "p", "major": 1}])
def test_a_bad_rule_is_refused(rule: dict[str, object]) -> None:
    """A type that is none of a device."""
    with pytest.raises(Invalid):
        fold([rule])
