"""What nobody refers to, goes: from the index over manifests to configs, blobs and layers, and from containers to layers.

It never waits for somebody who is adding: whatever is left then, the next one removes. Callers: `store/store`,
`engine/images`. Read next: `lock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, replace
from pathlib import Path

from onggi.errors import Corrupt, NotFound
from onggi.kernel.fd import Fd
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.store import tree
from onggi.store.content import ASIDE
from onggi.store.downloads import Downloads
from onggi.store.images import Images, reference_of
from onggi.store.layers import Layers
from onggi.store.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed; `done` is false if it had to leave all to a later one."""

    done: bool
    blobs: tuple[Digest, ...] = ()
    layers: tuple[Digest, ...] = ()
    freed: int = 0
    """Bytes of blobs and of layers' files."""


def collect(images: Images, snapshots: Snapshots, downloads: Downloads, *, unfinished: bool) -> Collected:
    """Remove all blobs and layers that no image and no container refers to, and what killed writers left aside.

    What an interrupted pull has fetched is kept for a day, unless what is `unfinished` is to go too.
    Only names are taken away while others have to wait: the files of a layer can be many, and are removed after that.
    """
    with images.locks.removing() as free:
        if not free:
            return Collected(done=False)
        swept = downloads.sweep(all=unfinished)
        collected = _take_names(images, snapshots, downloads.wanted())
        content, layers = images.content, images.layers
        places = (content.root, *filter(Path.is_dir, content.blobs.iterdir()), layers.directory)
        left = [(place, name) for place in places for name in os.listdir(place) if name.startswith(ASIDE)]
    for place, name in left:
        _remove_aside(place, name)
    return replace(collected, freed=collected.freed + swept)


def _take_names(images: Images, snapshots: Snapshots, wanted: list[Digest]) -> Collected:
    with images.locks.records():
        blobs, layers = _reachable(images, wanted)
    layers |= snapshots.held()
    old_layers = [layer for layer in images.layers.all() if layer not in layers]
    old_blobs = [blob for blob in images.content.all() if blob not in blobs]
    freed = sum(_size(images.layers, layer) for layer in old_layers)
    freed += sum(images.content.size(blob) for blob in old_blobs)
    for layer in old_layers:
        images.layers.put_aside(layer)
    for blob in old_blobs:
        images.content.path(blob).unlink()
    return Collected(True, tuple(old_blobs), tuple(old_layers), freed)


def _size(layers: Layers, layer: Digest) -> int:
    """The layer's size; 0 if a power cut took the note of it, which must not keep the layer for ever."""
    try:
        return layers.size(layer)
    except (NotFound, Corrupt):
        return 0


def _reachable(images: Images, wanted: list[Digest]) -> tuple[set[Digest], set[Digest]]:
    records = images.records()
    manifests = [*wanted, *(Digest.parse(record.digest) for record in records)]
    blobs = {name.digest for record in records if (name := reference_of(record)) is not None and name.digest}
    layers: set[Digest] = set()
    for manifest in manifests:
        blobs.add(manifest)
        with contextlib.suppress(NotFound, Corrupt):  # a damaged image keeps what is still known of it
            document = spec.decode(images.content.read(manifest), spec.Manifest, str(manifest))
            blobs.update(Digest.parse(one.digest) for one in [document.config, *document.layers])
            layers.update(images.layers_of(manifest))
    return blobs, layers


def _remove_aside(place: Path, name: str) -> None:
    """Remove what lies aside, unless another collection is at it: whoever removes a directory holds its flock(2)."""
    with Fd(os.open(place, tree.DIRECTORY)) as parent:
        try:
            found = Fd(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fileno()))
        except FileNotFoundError:
            return
        with found:
            try:
                fcntl.flock(found.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            tree.remove(parent.fileno(), name)
