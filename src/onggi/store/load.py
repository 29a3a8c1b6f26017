"""`docker load`: an archive of images becomes blobs, layers and names; all of its images or none.

Two forms, found by what is in the archive, never by its name: docker-archive (`manifest.json`, which every `docker save`
has) and an OCI image layout (`index.json`). The stream is read once, forward: each file in it becomes a blob at once,
because what it is stands often only at the end. What turns out to be of no use is collected afterwards.

    read the archive → find the images → unpack their layers → wait for the disk → one change of the index

Callers: `store/worker`. Read next: `layout`, for what the archives mean.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onggi.errors import Corrupt, OnggiError
from onggi.oci.digest import Digest
from onggi.oci.reference import Reference
from onggi.store import tree
from onggi.store.archive import Entry, Kind, Reader
from onggi.store.layout import Files, Found, Stored, images_in, wrong_diff_id
from onggi.store.source import Read, Source, compression, plain
from onggi.store.store import Store

Report = Callable[[dict[str, Any]], None]
"""Hears of progress: `{"id", "status", "current", "total"}`, as Docker draws it."""

_DOCUMENTS = frozenset({"manifest.json", "index.json", "oci-layout", "repositories"})
_LEGACY = frozenset({"VERSION", "json"})
_OFTEN = 0.1  # seconds between two reports on one layer


@dataclass(frozen=True, slots=True)
class Loaded:
    """One image of the archive, and the names that it has now."""

    id: Digest
    names: tuple[Reference, ...]


def load(store: Store, read: Read, report: Report) -> list[Loaded]:
    """Load every image of the archive that `read` gives. Corrupt, LimitExceeded, Unsupported: then nothing stays."""
    try:
        with store.locks.writing():
            found = images_in(_read_archive(store, read), store.content)
            for image in found:
                _unpack(store, image, report)
            store.layers.sync()
            store.images.register([(image.manifest, image.names) for image in found])
    except BaseException as error:
        try:
            store.collect()
        except (OnggiError, OSError) as second:
            error.add_note(f"and what was read so far could not be removed: {second}")
        raise
    with contextlib.suppress(OnggiError, OSError):  # all is loaded; what could not be removed now goes another time
        store.collect()
    return [Loaded(image.id, image.names) for image in found]


def _read_archive(store: Store, read: Read) -> Files:
    """Everything in the archive, as blobs, small documents and links."""
    stream, _ = plain(read, store.limits)
    source = Source(stream)
    reader = Reader(source, store.limits)
    files = Files()
    for entry in reader:
        name = "/".join(part.decode(errors="surrogateescape") for part in tree.split(entry.name))
        if entry.kind is Kind.FILE:
            _read_file(store, reader, entry, name, files)
        elif entry.kind is Kind.SYMLINK:
            files.link(name, entry.link.decode(errors="surrogateescape"))
        elif entry.kind is Kind.HARD_LINK:
            files.link(name, "/" + entry.link.decode(errors="surrogateescape"))
    source.drain()
    return files


def _read_file(store: Store, reader: Reader, entry: Entry, name: str, files: Files) -> None:
    directory, _, base = name.rpartition("/")
    if name in _DOCUMENTS:
        files.documents[name] = reader.read(store.limits.document)
    elif base not in _LEGACY and entry.sparse is None:
        files.blobs[name] = _blob(store, reader, _stated_digest(directory, base))


def _stated_digest(directory: str, base: str) -> Digest | None:
    """The digest in the name of a file below `blobs/`."""
    top, _, algorithm = directory.partition("/")
    if top != "blobs":
        return None
    return Digest.parse(f"{algorithm}:{base}")


def _blob(store: Store, reader: Reader, stated: Digest | None) -> Stored:
    if stated and store.content.has(stated):  # a blob that is here already is not written again
        return Stored(stated, store.content.size(stated), compression(store.content.head(stated)))
    with store.content.ingest(stated.algorithm if stated else "sha256") as blob:
        for piece in reader.chunks():
            blob.write(piece)
        digest = blob.commit(stated)
    return Stored(digest, blob.size, compression(store.content.head(digest)))


def _unpack(store: Store, image: Found, report: Report) -> None:
    for number, layer in enumerate(image.layers):
        if store.layers.has(layer.diff_id):
            continue
        progress = _Progress(report, layer.diff_id.short, layer.blob.size)
        progress(0)
        path = store.content.path(layer.blob.digest)
        try:
            store.layers.apply(layer.diff_id, path, verified=layer.verified, progress=progress)
        except Corrupt as error:
            if error.code == "layer.diff-id":
                raise wrong_diff_id(number, layer.diff_id, error.facts["found"]) from None
            error.facts.setdefault("layer", str(layer.diff_id))
            raise
        progress.finish()


class _Progress:
    """Reports on one layer, not more often than anybody can see."""

    __slots__ = ("_id", "_last", "_report", "_total")

    def __init__(self, report: Report, name: str, total: int) -> None:
        self._report = report
        self._id = name
        self._total = total
        self._last = 0.0

    def __call__(self, current: int) -> None:
        now = time.monotonic()
        if now - self._last >= _OFTEN:
            self._last = now
            self._report({"id": self._id, "status": "Loading layer", "current": current, "total": self._total})

    def finish(self) -> None:
        self._last = 0.0
        self(self._total)
