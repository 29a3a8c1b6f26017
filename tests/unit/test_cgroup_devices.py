"""Device rules: folded, and as the program that decides on v2."""

from __future__ import annotations

import itertools
import struct

import pytest

from onggi.engine import default_devices
from onggi.errors import Invalid
from onggi.kernel.bpf import device_program
from onggi.kernel.cgroup.devices import Devices, fold

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


def test_no_rule_denies_nothing() -> None:
    """A list without a rule for all starts from what a new group may do: everything."""
    assert fold([]).allowed_by_default


@pytest.mark.parametrize("rule", [{"allow": True, "type": "x"}, {"allow": True, "type": "c", "access": "rwx"}])
def test_a_bad_rule_is_refused(rule: dict[str, object]) -> None:
    """An unknown type or access is refused."""
    with pytest.raises(Invalid):
        fold([rule])
