"""Device rules: the runtime spec's list, folded into what a kernel keeps, without touching anything.

A list of rules is read in order, each undoing what earlier ones said about the same devices. What is left is a default
(everything allowed or everything denied) and the exceptions to it, which is how the v1 controller stores it and what
`kernel/bpf` makes a program of for v2. Neither can take one device out of an exception that covers more than that one: v1
would ignore such a rule without a word, so it is refused, on v2 too. Callers: `v1`, `v2`. Read next: `v1`.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TypeAlias

    Key: TypeAlias = tuple[str, int, int]

ANY = -1
"""A major or minor number that stands for all of them."""
_LETTERS = "rwm"


@dataclass(frozen=True, slots=True)
class DeviceException:
    """Devices of one kind (`b` or `c`), and what may (or may not) be done with them: letters of `rwm`."""

    kind: str
    major: int
    minor: int
    access: str

    def text(self) -> str:
        """As the v1 files have it: `c 1:3 rwm`."""
        return f"{self.kind} {_number(self.major)}:{_number(self.minor)} {self.access}"


@dataclass(frozen=True, slots=True)
class Devices:
    """What a group may do with devices: the default, and the exceptions from it."""

    allowed_by_default: bool
    exceptions: tuple[DeviceException, ...]

    def text(self) -> str:
        """One line for people: `deny all except c 1:3 rwm, …`."""
        default = "allow all" if self.allowed_by_default else "deny all"
        return default + (" except " + ", ".join(e.text() for e in self.exceptions) if self.exceptions else "")


def fold(rules: Iterable[Mapping[str, Any]]) -> Devices:
    """The runtime spec's `linux.resources.devices` as a default and its exceptions; `Invalid` for a bad rule.

    What no rule allows is denied.
    """
    default = False
    access: dict[Key, str] = {}
    for rule in rules:
        allow, letters = bool(rule["allow"]), rule.get("access") or _LETTERS
        kind, major, minor = rule.get("type") or "a", _given(rule.get("major")), _given(rule.get("minor"))
        if kind == "a":
            default, access = allow, {}
            continue
        if kind not in ("b", "c"):
            raise Invalid("read device rule", str(dict(rule)), f"unknown type `{kind}`", hint="known are a, b, c")
        key = (kind, major, minor)
        old = access.pop(key, "")
        if allow == default:
            _refuse_hole(access, key, letters)
            left = _without(old, letters)
        else:
            left = "".join(letter for letter in _LETTERS if letter in old + letters)
        if left:
            access[key] = left
    return Devices(default, tuple(DeviceException(k, major, minor, a) for (k, major, minor), a in access.items()))


def unknown_letters(rules: Iterable[Mapping[str, Any]]) -> str:
    """The letters in the rules' `access` that mean nothing; runc passes over them, so they are no error."""
    return "".join(sorted({letter for rule in rules for letter in rule.get("access") or ""} - set(_LETTERS)))


def _refuse_hole(access: Mapping[Key, str], key: Key, letters: str) -> None:
    kind, major, minor = key
    for wider in ((kind, ANY, minor), (kind, major, ANY), (kind, ANY, ANY)):
        if wider != key and set(access.get(wider, "")) & set(letters):
            cause = f"cannot punch hole in existing wildcard rule `{DeviceException(*wider, access[wider]).text()}`"
            raise Invalid("read device rule", DeviceException(*key, letters).text(), cause)


def parse_list(text: str) -> Devices:
    """What a v1 group's `devices.list` tells: for a group that allows by default, not which devices it denies."""
    exceptions = []
    for line in text.splitlines():
        kind, numbers, access = line.split()
        if kind == "a":
            return Devices(True, ())
        major, minor = (ANY if number == "*" else int(number) for number in numbers.split(":"))
        exceptions.append(DeviceException(kind, major, minor, access))
    return Devices(False, tuple(exceptions))


def transition(now: Devices, wanted: Devices) -> Iterator[tuple[str, str]]:
    """The v1 files and values, in order, that lead from one state to another with the least disturbance.

    What both allow stays allowed all the while. Only where the default changes, or where the exceptions cannot be read
    (`parse_list`), the list is emptied first.
    """
    there = {(e.kind, e.major, e.minor): e.access for e in now.exceptions}
    lessen, extend = ("allow", "deny") if wanted.allowed_by_default else ("deny", "allow")
    if now.allowed_by_default or wanted.allowed_by_default:
        yield f"devices.{lessen}", "a"
        there = {}
    kept = {(e.kind, e.major, e.minor): e.access for e in wanted.exceptions}
    for key, access in kept.items():
        more = _without(access, there.get(key, ""))
        if more:
            yield f"devices.{extend}", DeviceException(*key, more).text()
    for key, access in there.items():
        less = _without(access, kept.get(key, ""))
        if less:
            yield f"devices.{lessen}", DeviceException(*key, less).text()


def _without(letters: str, others: str) -> str:
    return "".join(letter for letter in letters if letter not in others)


def _given(number: int | None) -> int:
    return ANY if number is None or number < 0 else number


def _number(number: int) -> str:
    return "*" if number == ANY else str(number)
