"""What a pull has on its way, and what one that was interrupted leaves for the next.

    downloads/<algorithm>-<hex>     the beginning of a blob; whoever writes it holds its flock(2)
    downloads/wanted/<hex>          a manifest (sha256) that is being pulled: what it refers to is kept meanwhile

A blob that is whole moves to `content` by a rename. What nobody has touched for a day is forgotten, and what was fetched
for it goes with the next collection. Callers: `engine/transfers`, `receive`, `gc`. Read next: `receive`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from onggi.errors import Conflict
from onggi.kernel.fd import Fd
from onggi.oci.digest import Digest
from onggi.store.source import write_all

_KEPT_SECONDS = 24 * 3600


class Beginning:
    """A blob that is being fetched, open to be appended to; a context, which lets go of it."""

    def __init__(self, path: Path, digest: Digest) -> None:
        self.path = path
        self.digest = digest
        self._fd = Fd(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        try:
            fcntl.flock(self._fd.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._fd.close()
            raise Conflict("fetch blob", str(digest), "somebody else is fetching it") from None
        self.size = os.fstat(self._fd.fileno()).st_size
        os.lseek(self._fd.fileno(), 0, os.SEEK_END)

    def append(self, data: bytes) -> None:
        """Write at the end; this blocks."""
        write_all(self._fd.fileno(), data)
        self.size += len(data)

    def restart(self) -> None:
        """Forget what is there."""
        os.ftruncate(self._fd.fileno(), 0)
        os.lseek(self._fd.fileno(), 0, os.SEEK_SET)
        self.size = 0

    def close(self) -> None:
        """Let go; what is there stays for the next one, if it is anything."""
        with contextlib.suppress(FileNotFoundError):  # it is whole, and has moved
            if not self.size:
                self.path.unlink()
        self._fd.close()

    def __enter__(self) -> Beginning:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Downloads:
    """The unfinished blobs and pulls below one data root."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "downloads"
        self._wanted = self.directory / "wanted"

    def prepare(self) -> None:
        """Make the directories where they are missing."""
        self._wanted.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where a blob's beginning lies, or would."""
        return self.directory / f"{digest.algorithm}-{digest.hex}"

    def begin(self, digest: Digest) -> Beginning:
        """Open a blob's beginning; Conflict if somebody has it open."""
        return Beginning(self.path(digest), digest)

    def forget(self, digest: Digest) -> None:
        """Remove a beginning that is of no use."""
        self.path(digest).unlink(missing_ok=True)

    # -- what is kept for a pull -----------------------------------------------------------------------------------

    def want(self, manifest: Digest) -> None:
        """From now on for a day, keep what this manifest refers to."""
        (self._wanted / manifest.hex).touch(mode=0o600)

    def finish(self, manifest: Digest) -> None:
        """The image has a name, which keeps all."""
        (self._wanted / manifest.hex).unlink(missing_ok=True)

    def wanted(self) -> list[Digest]:
        """The manifests that somebody wanted in the last day."""
        oldest = time.time() - _KEPT_SECONDS
        return [Digest("sha256", entry.name) for entry in os.scandir(self._wanted) if entry.stat().st_mtime > oldest]

    def sweep(self, *, all: bool = False) -> int:
        """Remove what is a day old, or everything, that nobody is at; the bytes of that."""
        oldest = time.time() + 1 if all else time.time() - _KEPT_SECONDS
        for entry in os.scandir(self._wanted):
            if entry.stat().st_mtime < oldest:
                os.unlink(entry)
        freed = 0
        for entry in os.scandir(self.directory):
            if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                freed += _remove(Path(entry))
        return freed


def _remove(path: Path) -> int:
    """Remove a beginning unless somebody is at it; its size."""
    with contextlib.suppress(FileNotFoundError), Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        size = os.fstat(file.fileno()).st_size
        path.unlink()
        return size
    return 0
