"""Digests: `algorithm:hex`, the name of bytes by what they are.

Not a store and not a hasher of streams; `store/content` hashes as it reads. Callers: everyone. Read next: `image`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from onggi.errors import Invalid

LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""The algorithms of the OCI image spec (and Go's sha384), with their length in hexadecimal digits."""

_SYNTAX = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest whose form was checked; `str()` gives `sha256:…`."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that `text` spells (OCI image spec, descriptor.md); Invalid in Docker's words."""
        found = _SYNTAX.fullmatch(text)
        if found is None:
            raise _invalid(text, "invalid checksum digest format")
        algorithm, value = found.groups()
        if algorithm not in LENGTHS:
            raise _invalid(text, "unsupported digest algorithm")
        if len(value) != LENGTHS[algorithm]:
            raise _invalid(text, "invalid checksum digest length")
        if not _HEX.fullmatch(value):
            raise _invalid(text, "invalid checksum digest format")
        return cls(algorithm, value)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of bytes in memory."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @property
    def short(self) -> str:
        """The twelve digits that people see."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def _invalid(text: str, cause: str) -> Invalid:
    return Invalid("parse digest", text, cause, code="digest.invalid", facts={"digest": text})


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """The name of each layer together with all below it, bottom first (OCI image spec, config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
