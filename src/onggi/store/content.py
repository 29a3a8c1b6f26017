"""Content by digest: `blobs/<algorithm>/<hex>`, in an OCI image layout.

A blob is written aside while it is hashed and lands by a rename, when its bytes are on the disk; so a name under
`blobs/` is always whole. Nobody changes a blob; `store/gc` removes those that nothing refers to.
Callers: `store/load`, `store/images`, `store/builtin`. Read next: `layers`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType

from onggi.errors import Corrupt, NotFound
from onggi.oci.digest import LENGTHS, Digest
from onggi.store.limits import DOCUMENT, exceeded
from onggi.store.source import write_all

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
ASIDE = ".aside-"
"""The prefix of what is being written; start-up removes what a killed process left (`store/gc`)."""


class Content:
    """The blobs below one data root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"

    def prepare(self) -> None:
        """Make the layout where it is missing."""
        self.blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.blobs / "sha256").mkdir(mode=0o700, exist_ok=True)
        if not (self.root / "oci-layout").exists():
            write_whole(self.root / "oci-layout", _LAYOUT)

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, or would."""
        return self.blobs / digest.algorithm / digest.hex

    def place(self, digest: Digest) -> Path:
        """The same, for who lands a whole blob there by a rename: its directory exists."""
        path = self.path(digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return path

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        return self.path(digest).exists()

    def size(self, digest: Digest) -> int:
        """The blob's size in bytes."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: Digest, limit: int = DOCUMENT) -> bytes:
        """A small blob, its digest checked again; LimitExceeded if it is no document that anybody would write."""
        if self.size(digest) > limit:
            raise exceeded("read blob", str(digest), f"a document of more than {limit} bytes")
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise _missing(digest) from None
        if Digest.of(data, digest.algorithm) != digest:
            hint = "the disk or a person changed it; remove the image and load or pull it again"
            raise Corrupt("read blob", str(digest), "its bytes have another digest", hint=hint)
        return data

    def head(self, digest: Digest, count: int = 8) -> bytes:
        """The first bytes of a blob, which tell how it is compressed."""
        fd = self.open(digest)
        try:
            return os.read(fd, count)
        finally:
            os.close(fd)

    def open(self, digest: Digest) -> int:
        """A descriptor to read the blob from; the caller's."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _missing(digest) from None

    def add(self, data: bytes) -> Digest:
        """Keep `data`; its digest."""
        with self.ingest() as blob:
            blob.write(data)
            return blob.commit()

    def ingest(self, algorithm: str = "sha256") -> Ingest:
        """Begin a blob that is written piece by piece."""
        if algorithm not in LENGTHS:
            raise ValueError(algorithm)
        return Ingest(self.blobs / algorithm, algorithm)

    def all(self) -> list[Digest]:
        """Every blob that is here."""
        found = []
        for directory in self.blobs.iterdir():
            if directory.name in LENGTHS and directory.is_dir():
                found += [Digest(directory.name, file.name) for file in directory.iterdir() if file.name[0] != "."]
        return found


class Ingest:
    """A blob on its way: write, then `commit`; without a commit nothing stays."""

    def __init__(self, directory: Path, algorithm: str) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.size = 0
        self._directory = directory
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._aside = directory / (ASIDE + os.urandom(8).hex())
        self._fd = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._landed = False

    def write(self, data: bytes | memoryview) -> None:
        """Append; the hash is taken on the way."""
        self._hash.update(data)
        self.size += len(data)
        write_all(self._fd, data)

    def commit(self, digest: Digest | None = None, size: int | None = None) -> Digest:
        """Land it under its digest; Corrupt if that, or the size, is not what was expected."""
        found = Digest(self._algorithm, self._hash.hexdigest())
        if size is not None and size != self.size:
            raise Corrupt(
                "store blob", str(digest or found), f"expected {size} bytes, got {self.size}", code="blob.size"
            )
        if digest is not None and digest != found:
            raise Corrupt("store blob", str(digest), f"its bytes have the digest {found}", code="blob.digest")
        os.fsync(self._fd)
        os.rename(self._aside, self._directory / found.hex)
        self._landed = True
        sync_directory(self._directory)
        return found

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._fd)
        if not self._landed:
            self._aside.unlink()


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file so that a kill or a power cut at any instruction leaves the old bytes or the new ones."""
    aside = path.parent / (ASIDE + os.urandom(8).hex())
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """fsync(2) of a directory, without which a rename in it is not on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _missing(digest: Digest) -> NotFound:
    return NotFound("read blob", str(digest), "it is not in the store", code="blob.not-found")
