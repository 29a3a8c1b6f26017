"""Platforms: what a machine is, and which image of several suits it.

The names are Go's (`amd64`, not `x86_64`), as in every image config. Callers: `store/load`, `engine/images`.
Read next: `image`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from onggi.errors import Invalid

_MACHINES = {
    "x86_64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
}
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
    "i686": "386",
}
_ALIAS_VARIANTS = {"armhf": "v7", "armel": "v6"}
# What a machine runs besides its own kind, best first.
_ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True, slots=True)
class Platform:
    """`os/architecture[/variant]`."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`linux/arm64/v8`, `linux/amd64`, or an architecture alone; Invalid otherwise."""
        parts = text.lower().split("/")
        if not all(part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in parts):
            raise Invalid("parse platform", text, "each of os, architecture and variant must be letters and digits")
        if len(parts) == 1:
            parts = ["linux", parts[0]]
        if len(parts) > 3:
            raise Invalid("parse platform", text, "it is os/architecture or os/architecture/variant")
        return cls(*parts).normalised()

    def normalised(self) -> Platform:
        """With aliases resolved and the variants that mean nothing dropped (`amd64/v1`, `arm64/v8`)."""
        architecture = _ALIASES.get(self.architecture, self.architecture)
        variant = self.variant or _ALIAS_VARIANTS.get(self.architecture, "")
        if (architecture, variant) in (("amd64", "v1"), ("arm64", "v8"), ("arm64", "8")):
            variant = ""
        if architecture == "arm":
            variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
        return Platform(self.os, architecture, variant)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def host() -> Platform:
    """This machine's platform; a 32-bit interpreter on a 64-bit kernel is still the kernel's."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    if machine == "ppc64" and struct.pack("=H", 1) == b"\1\0":
        architecture = "ppc64le"
    return Platform("linux", architecture, variant).normalised()


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well `offered` suits a machine that is `wanted`: 0 is best, None is not at all."""
    wanted, offered = wanted.normalised(), offered.normalised()
    if wanted.os != offered.os:
        return None
    if wanted.architecture == offered.architecture:
        return _variant_rank(wanted, offered)
    others = _ALSO_RUNS.get(wanted.architecture, ())
    if offered.architecture not in others:
        return None
    return 1000 + (_variant_rank(Platform(wanted.os, offered.architecture, "v8"), offered) or 0)


def best(wanted: Platform, offered: Iterable[Platform]) -> int | None:
    """The index of the one in `offered` that suits `wanted` best; None if none does."""
    ranked = [(place, index) for index, one in enumerate(offered) if (place := rank(wanted, one)) is not None]
    return min(ranked)[1] if ranked else None


def _variant_rank(wanted: Platform, offered: Platform) -> int | None:
    """A machine runs every variant up to its own, the highest best; `amd64` without one is v1."""
    ours, theirs = _level(wanted), _level(offered)
    if wanted.variant == offered.variant:
        return 0
    return ours - theirs if theirs <= ours else None


def _level(platform: Platform) -> int:
    digits = platform.variant.removeprefix("v").partition(".")[0]
    default = 8 if platform.architecture == "arm64" else 1
    return int(digits) if digits.isdigit() else default
