"""What the engine remembers of its networks: identities that stay, subnets that were chosen. One small JSON file.

The file is written aside, flushed and renamed into place, so a kill at any instruction leaves the old state or the new
one. Callers: `engine/networks`. Read next: `ipam`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from onggi.errors import Corrupt


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """One network; those of the drivers `host` and `null` have neither bridge nor addresses."""

    id: str
    name: str
    driver: str
    created: int
    """Nanoseconds since 1970."""
    bridge: str = ""
    address: str = ""
    """The bridge's own address with the subnet's prefix length: `172.17.0.1/16`."""
    mtu: int = 0
    is_default: bool = False
    labels: dict[str, str] = field(default_factory=dict)


def load(path: str) -> list[NetworkRecord]:
    """The networks of the file; none when there is no file yet."""
    try:
        with open(path, encoding="utf-8") as file:
            return [NetworkRecord(**record) for record in json.load(file)]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise Corrupt("read networks", path, str(error), hint="remove the file: the engine makes it anew") from error


def save(path: str, records: Sequence[NetworkRecord]) -> None:
    """Replace the file as a whole."""
    aside = f"{path}.new"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            json.dump([asdict(record) for record in records], file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)
    except OSError:
        with suppress(FileNotFoundError):  # it may be the opening that failed
            os.unlink(aside)
        raise
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # so that the rename, too, survives a loss of power
    finally:
        os.close(directory)
