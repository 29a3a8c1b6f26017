"""What an archive may at most ask of this machine.

Generous to every image that people really have, and far below what a hostile one wants. Callers: `store/source`,
`store/archive`, `store/unpack`, `store/load`. Read next: `source`.
"""

from __future__ import annotations

from dataclasses import dataclass

from onggi.errors import LimitExceeded

MIB = 1 << 20
GIB = 1 << 30
DOCUMENT = 16 * MIB
"""Bytes of one JSON document: a manifest, a config, an index."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one archive; what runs over one ends in `errors.LimitExceeded`."""

    entries: int = 1_000_000
    """Members of one archive."""
    path: int = 4096
    """Bytes of a name: PATH_MAX, beyond which no program could open the file."""
    components: int = 1024
    """Directories in a name."""
    extended: int = MIB
    """Bytes of one extended header (PAX, GNU long name), as in Go's archive/tar."""
    document: int = DOCUMENT
    """Bytes of one JSON document in an image archive."""
    expanded: int = 16 * GIB
    """Bytes that a compressed stream may always grow to."""
    ratio: int = 200
    """Beyond `expanded`, how many bytes may come out for each that went in."""

    def check_expansion(self, consumed: int, produced: int) -> None:
        """Fail when so much came out of a decompressor that only a bomb explains it."""
        if produced > self.expanded and produced > consumed * self.ratio:
            raise exceeded("decompress archive", "", f"{consumed} bytes grew to more than {produced}")


def exceeded(verb: str, obj: str, cause: str) -> LimitExceeded:
    """The error of an archive that ran over a limit."""
    return LimitExceeded(verb, obj, cause, hint="the archive is damaged or hostile", code="archive.limit")
