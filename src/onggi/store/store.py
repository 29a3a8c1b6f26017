"""The store of one data root: its parts, put together.

Callers: `engine/`, `store/worker`. Read next: `images` for what people see, `content` for what lies on the disk.
"""

from __future__ import annotations

from pathlib import Path

from onggi.store.content import Content
from onggi.store.downloads import Downloads
from onggi.store.gc import Collected, collect
from onggi.store.images import Images
from onggi.store.layers import Layers
from onggi.store.limits import Limits
from onggi.store.lock import Locks
from onggi.store.snapshots import Snapshots


class Store:
    """Blobs, layers, images and the containers' writable parts below `root`."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()
        self.locks = Locks(root)
        self.content = Content(root)
        self.layers = Layers(root, self.limits)
        self.downloads = Downloads(root)
        self.images = Images(root, self.content, self.layers, self.locks)
        self.snapshots = Snapshots(root, self.layers, self.locks)

    def prepare(self) -> None:
        """Make the directories where they are missing; nothing else is touched."""
        self.root.mkdir(mode=0o710, parents=True, exist_ok=True)
        self.content.prepare()
        self.layers.prepare()
        self.downloads.prepare()
        self.snapshots.directory.mkdir(mode=0o700, exist_ok=True)

    def start(self) -> Collected:
        """At the engine's start: make what is missing, and remove what a kill left behind."""
        self.prepare()
        return self.collect()

    def collect(self, *, unfinished: bool = False) -> Collected:
        """Remove what nobody refers to (`store/gc`); also what interrupted pulls left, if it is `unfinished`."""
        return collect(self.images, self.snapshots, self.downloads, unfinished=unfinished)
