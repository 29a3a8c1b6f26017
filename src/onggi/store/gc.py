"""What nobody refers to, goes: from the index over manifests to configs, blobs and layers, and from containers to layers.

It never waits for somebody who is adding: whatever is left then, the next one removes. Callers: `store/store`,
`engine/images`. Read next: `lock`.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from onggi.errors import Corrupt, NotFound
from onggi.kernel.fd import Fd
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.store import tree
from onggi.store.content import ASIDE, Content
from onggi.store.images import Images
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


def collect(images: Images, snapshots: Snapshots) -> Collected:
    """Remove all blobs and layers that no image and no container refers to, and what killed writers left aside."""
    with images.locks.removing() as free:
        if not free:
            return Collected(done=False)
        with images.locks.records():
            blobs, layers = _reachable(images)
        layers |= snapshots.held()
        _sweep(images.content.root, images.content, images.layers)
        old_layers = [layer for layer in images.layers.all() if layer not in layers]
        old_blobs = [blob for blob in images.content.all() if blob not in blobs]
        freed = sum(images.layers.size(layer) for layer in old_layers)
        freed += sum(images.content.size(blob) for blob in old_blobs)
        for layer in old_layers:
            images.layers.remove(layer)
        for blob in old_blobs:
            images.content.path(blob).unlink()
        return Collected(True, tuple(old_blobs), tuple(old_layers), freed)


def _reachable(images: Images) -> tuple[set[Digest], set[Digest]]:
    blobs: set[Digest] = set()
    layers: set[Digest] = set()
    for record in images.records():
        manifest = Digest.parse(record.digest)
        blobs.add(manifest)
        with contextlib.suppress(NotFound, Corrupt):  # a damaged image keeps what is still known of it
            document = spec.decode(images.content.read(manifest), spec.Manifest, str(manifest))
            blobs.update(Digest.parse(one.digest) for one in [document.config, *document.layers])
            layers.update(images.layers_of(manifest))
    return blobs, layers


def _sweep(root: Path, content: Content, layers: Layers) -> None:
    """What was being written by processes that are gone: nobody is writing now."""
    for directory in (root, *filter(Path.is_dir, content.blobs.iterdir()), layers.directory):
        with Fd(os.open(directory, tree.DIRECTORY)) as fd:
            for name in os.listdir(directory):
                if name.startswith(ASIDE):
                    tree.remove(fd.fileno(), name)
