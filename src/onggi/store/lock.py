"""Who may do what to the store at the same time: two files, flock(2), no daemon and nothing to clean up after a kill.

    writers.lock   shared by all who add blobs, layers or containers; alone for who removes what nobody refers to
    records.lock   alone for each change of index.json: read, change, replace

Whoever takes both takes `writers.lock` first. Readers take none: everything appears and changes by a rename.
Callers: `store/images`, `store/load`, `store/snapshots`, `store/gc`. Read next: `images`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locks:
    """The locks of one data root. Each taking opens the file anew, so threads exclude each other as processes do."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nothing is removed meanwhile; waits while somebody is removing."""
        with self._open("writers.lock") as fd:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield

    @contextmanager
    def removing(self) -> Iterator[bool]:
        """Whether nobody is adding; if so, nobody begins to meanwhile. Does not wait."""
        with self._open("writers.lock") as fd:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    @contextmanager
    def records(self) -> Iterator[None]:
        """Nobody else changes the records meanwhile."""
        with self._open("records.lock") as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        fd = os.open(self._root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield fd
        finally:
            os.close(fd)
