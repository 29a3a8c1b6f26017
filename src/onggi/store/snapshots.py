"""The two directories that make an image's layers a container's writable root: overlayfs's upper and work.

    containers/<id>/upper, work   what the container changed
    containers/<id>/layers        the layers below it, so that nobody removes them meanwhile
    layers/empty                  what lies below where an image has no layers (overlayfs wants one)

It mounts nothing: the runtime does, in the container's own namespace. Callers: `engine/containers`. Read next: `gc`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onggi.errors import Invalid, NotFound
from onggi.kernel.fd import Fd
from onggi.oci.digest import Digest
from onggi.store import tree
from onggi.store.images import HOST
from onggi.store.layers import Layers, top_first
from onggi.store.lock import Locks

_HELD = "layers"
_PARTS = ("upper", "work", _HELD)


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the runtime mounts as the container's root."""

    lowers: tuple[str, ...]
    """Top first."""
    upper: str
    work: str
    in_memory: bool
    """Upper and work are to be on a tmpfs of the container's own; the two paths are then empty strings."""


class Snapshots:
    """The containers' writable parts below one data root."""

    def __init__(self, root: Path, layers: Layers, locks: Locks) -> None:
        self.directory = root / "containers"
        self._layers = layers
        self._locks = locks

    def prepare(self, container_id: str, layers: Sequence[Digest]) -> Overlay:
        """Make the directories of a container over `layers` (diff ids, bottom first, as `Image.layers` has them).

        From here on the layers are held until `remove`. NotFound if one is gone.
        """
        directory = self._directory(container_id)
        if tuple(layers) == (HOST,):
            # Changes would otherwise lie on the file system that they are laid over, which overlayfs refuses.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Overlay(("/",), "", "", in_memory=True)
        with self._locks.writing():
            for layer in layers:
                if not self._layers.has(layer):
                    raise NotFound("prepare container", container_id, f"layer {layer} is gone", code="layer.not-found")
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / _HELD).write_text("".join(f"{layer}\n" for layer in layers))
        lowers = [str(self._layers.diff(layer)) for layer in top_first(layers)] or [str(self._empty())]
        upper, work = directory / "upper", directory / "work"
        _make_like(upper, lowers[0])
        work.mkdir(mode=0o700, exist_ok=True)
        return Overlay(tuple(lowers), str(upper), str(work), in_memory=False)

    def remove(self, container_id: str) -> None:
        """Remove what `prepare` made, whatever the container did to it, and the container's directory if that is all."""
        directory = self._directory(container_id)
        try:
            fd = Fd(os.open(directory, tree.DIRECTORY))
        except FileNotFoundError:
            return
        with fd:
            for part in _PARTS:
                tree.remove(fd.fileno(), part)
        with contextlib.suppress(OSError):  # the engine's own files may still be in it
            directory.rmdir()

    def held(self) -> frozenset[Digest]:
        """The layers that containers lie on."""
        found: set[Digest] = set()
        for note in self.directory.glob(f"*/{_HELD}"):
            with contextlib.suppress(FileNotFoundError, Invalid):  # it went meanwhile, or a power cut took its note
                found.update(Digest.parse(line) for line in note.read_text().split())
        return frozenset(found)

    def _directory(self, container_id: str) -> Path:
        if not container_id.isalnum():
            raise Invalid("prepare container", container_id, "an id holds letters and digits only")
        return self.directory / container_id

    def _empty(self) -> Path:
        empty = self._layers.directory / ".empty"
        empty.mkdir(mode=0o755, exist_ok=True)
        return empty


def _make_like(upper: Path, lower: str) -> None:
    """The upper directory's owner and mode are what the container sees of `/`, so they are the topmost layer's."""
    like = os.stat(lower)
    upper.mkdir(exist_ok=True)
    os.chown(upper, like.st_uid, like.st_gid)
    upper.chmod(like.st_mode & 0o7777)
