"""Device rules: the runtime spec's list, folded into what a kernel keeps, without touching anything.

A list of rules is read in order, each undoing what earlier ones said about the same devices. What is left is a default
(everything allowed or everything denied) and the exceptions to it, which is how the v1 controller stores it and what
`kernel/bpf` makes a program of for v2. Callers: `v1`, `v2`. Read next: `v1`.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

ANY = -1
"""A major or minor number that stands for all of them."""


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
    """The runtime spec's `linux.resources.devices` as a default and its exceptions; `Invalid` for a bad rule."""
    default = True  # a group that nobody restricted
    access: dict[tuple[str, int, int], str] = {}
    for rule in rules:
        allow, letters = bool(rule["allow"]), _access(rule.get("access") or "rwm")
        kind, major, minor = rule.get("type") or "a", _given(rule.get("major")), _given(rule.get("minor"))
        if kind == "a":
            default, access = allow, {}
            continue
        if kind not in ("b", "c"):
            raise Invalid("read device rule", str(dict(rule)), f"unknown type `{kind}`", hint="known are a, b, c")
        key = (kind, major, minor)
        old = set(access.get(key, ""))
        new = old | set(letters) if allow != default else old - set(letters)
        access.pop(key, None)
        if new:
            access[key] = "".join(letter for letter in "rwm" if letter in new)
    return Devices(default, tuple(DeviceException(k, major, minor, a) for (k, major, minor), a in access.items()))


def _access(letters: str) -> str:
    if not set(letters) <= set("rwm"):
        raise Invalid("read device rule", letters, "access has a letter other than r, w and m")
    return letters


def _given(number: int | None) -> int:
    return ANY if number is None or number < 0 else number


def _number(number: int) -> str:
    return "*" if number == ANY else str(number)
