"""Unpacked layers: each a directory that overlayfs takes as a lower layer, named by the digest of its plain tar.

    layers/<diff id's hex>/diff/        the layer's files
    layers/<diff id's hex>/layer.json   its diff id and its size
    layers/.aside-…                     being written; renamed when whole, swept at start-up when its writer died

What lies below a layer does not change what it unpacks to, so it is stored once, whatever it is stacked on.

A tar says "gone" with the name `.wh.x` and "nothing from below" with `.wh..wh..opq`; overlayfs says it with a character
device 0:0 and the attribute trusted.overlay.opaque. Both mean the layers below only, whatever the order in the tar:
an entry of the same layer is seen, and a directory that also is whited out is opaque.
Callers: `store/load`, `store/snapshots`, `store/gc`. Read next: `confined`, `snapshots`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from onggi.errors import Corrupt, NotFound
from onggi.kernel.disk import syncfs
from onggi.kernel.fd import Fd
from onggi.oci.digest import Digest
from onggi.store import tree
from onggi.store.archive import Reader
from onggi.store.confined import Confined
from onggi.store.content import ASIDE, sync_directory
from onggi.store.limits import Limits
from onggi.store.source import CHUNK, Read, Source, plain, reader_of, write_all
from onggi.store.unpack import Unpacker

_WHITEOUT = b".wh."
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_OPAQUE_XATTR = "trusted.overlay.opaque"
_PIPE = 1 << 20
Progress = Callable[[int], None]
"""Hears how many bytes of the blob were read so far."""


def top_first(layers: Sequence[Digest]) -> list[Digest]:
    """Layers, given bottom first, as overlayfs is told them: from the top, each once, which is all it takes.

    Under its upper copy nothing of a lower one shows: the same files, and what it says is gone, is gone from above too.
    """
    return list(dict.fromkeys(reversed(layers)))


class LayerUnpacker(Unpacker):
    """Unpacks a layer's tar as overlayfs wants it."""

    def special(self, name: bytes, parent: int) -> bool:
        """Whiteouts and opaque markers."""
        if not name.startswith(_WHITEOUT):
            return False
        if name == _OPAQUE:
            self._opaque(parent)
        elif not name.startswith(_META):  # aufs's own notes, which no other file system ever read
            self._white_out(name[len(_WHITEOUT) :], parent)
        return True

    def made_over_void(self, name: bytes, parent: int) -> None:
        """The layer has this directory, and not what lies below it in other layers."""
        with Fd(os.open(name, tree.DIRECTORY, dir_fd=parent)) as made:
            self._opaque(made.fileno())

    def _white_out(self, name: bytes, parent: int) -> None:
        if name in (b"", b".", b".."):
            raise Corrupt("unpack layer", ".wh." + name.decode(), "a whiteout of nothing", code="layer.whiteout")
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self.made_over_void(name, parent)

    def _opaque(self, directory: int) -> None:
        os.fchdir(directory)
        os.setxattr(".", _OPAQUE_XATTR, b"y")


class Layers:
    """The unpacked layers below one data root."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.directory = root / "layers"
        self._limits = limits or Limits()

    def prepare(self) -> None:
        """Make the directory where it is missing; nobody but the owner may reach the set-user-id programs in it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def has(self, layer: Digest) -> bool:
        """Whether the layer is unpacked."""
        return (self.directory / layer.hex).exists()

    def diff(self, layer: Digest) -> Path:
        """The layer's files."""
        return self.directory / layer.hex / "diff"

    def size(self, layer: Digest) -> int:
        """The bytes of the layer's files, as its tar states them."""
        return int(self._note(layer)["size"])

    def all(self) -> list[Digest]:
        """Every layer that is here."""
        return [Digest("sha256", entry.name) for entry in self.directory.iterdir() if entry.name[0] != "."]

    def apply(self, diff_id: Digest, blob: Path, *, verified: bool, progress: Progress) -> None:
        """Unpack `blob`, compressed or not, as the layer `diff_id`; nothing happens if it is there.

        Its plain bytes must have that digest, else Corrupt; `verified` says that they are known to have it
        (a plain blob under its own name). Whatever fails, nothing stays.
        """
        if self.has(diff_id):
            return
        with Fd(os.open(blob, os.O_RDONLY | os.O_CLOEXEC)) as file:
            if verified:
                self._place(diff_id, lambda root: _directly(root, file, self._limits, progress))
                return
            self.receive(diff_id, reader_of(file.fileno()), lambda: progress(os.lseek(file.fileno(), 0, os.SEEK_CUR)))

    def receive(self, diff_id: Digest, read: Read, step: Callable[[], None]) -> None:
        """The same for bytes that come from wherever; all of them are read. `step` is called for each megabyte or so."""
        self._place(diff_id, lambda root: _through_pipe(root, read, diff_id, self._limits, step))

    def _place(self, diff_id: Digest, unpack: Callable[[Fd], dict[str, Any]]) -> None:
        """Make the layer's directory, have it filled, give it its name."""
        with ExitStack() as undo:
            aside = self.directory / (ASIDE + os.urandom(8).hex())
            directory = undo.enter_context(Fd(os.open(self.directory, tree.DIRECTORY)))
            undo.callback(tree.remove, directory.fileno(), aside.name)
            aside.mkdir(mode=0o700)
            (aside / "diff").mkdir(mode=0o755)
            (aside / "diff").chmod(0o755)
            with Fd(os.open(aside / "diff", tree.DIRECTORY)) as root:
                done = unpack(root)
            note = {"diff_id": str(diff_id), "size": done["bytes"], "skipped_attributes": done["skipped_attributes"]}
            (aside / "layer.json").write_text(json.dumps(note))
            if not self.has(diff_id):  # else another load was faster
                self._land(aside, diff_id)
        sync_directory(self.directory)

    def sync(self) -> None:
        """Wait until the files of all layers are on the disk: one syncfs(2) rather than an fsync(2) for each file."""
        with Fd(os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as directory:
            syncfs(directory)

    def put_aside(self, layer: Digest) -> None:
        """Take the layer's name away, so that no half of it is ever found; `store/gc` removes its files."""
        os.rename(self.directory / layer.hex, self.directory / (ASIDE + os.urandom(8).hex()))

    def _land(self, aside: Path, layer: Digest) -> None:
        try:
            os.rename(aside, self.directory / layer.hex)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another load was faster, just now
                raise

    def _note(self, layer: Digest) -> dict[str, Any]:
        try:
            note: dict[str, Any] = json.loads((self.directory / layer.hex / "layer.json").read_bytes())
        except FileNotFoundError:
            raise NotFound("find layer", str(layer), "it is not unpacked", code="layer.not-found") from None
        except ValueError as error:
            raise Corrupt("read layer", str(layer), f"layer.json: {error}") from None
        return note


def _work(fd: int, limits: Limits, *, drain: bool) -> Callable[[int], dict[str, Any]]:
    def work(root: int) -> dict[str, Any]:
        source = Source(reader_of(fd))
        unpacker = LayerUnpacker(root, limits)
        unpacker.unpack(Reader(source, limits))
        if drain:
            source.drain()  # what follows the end of the archive counts in its digest
        return {"bytes": unpacker.bytes, "skipped_attributes": sorted(unpacker.skipped_attributes)}

    return work


def _directly(root: Fd, file: Fd, limits: Limits, progress: Progress) -> dict[str, Any]:
    """The child reads the file itself; the offset, which both share, tells the parent how far it is."""
    with Confined(root.fileno(), _work(file.fileno(), limits, drain=False), keep=[file.fileno()]) as child:
        while not child.wait(0.1):
            progress(os.lseek(file.fileno(), 0, os.SEEK_CUR))
        return child.result()


def _through_pipe(root: Fd, read: Read, diff_id: Digest, limits: Limits, step: Callable[[], None]) -> dict[str, Any]:
    """This process decompresses and hashes while the child unpacks."""
    unpacked, _ = plain(read, limits)
    out, into = os.pipe2(os.O_CLOEXEC)
    with Fd(out) as end, Fd(into) as pipe:
        with contextlib.suppress(OSError):  # the user's pipes are used up: it works with less too
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE)
        with Confined(root.fileno(), _work(out, limits, drain=True), keep=[out]) as child:
            end.close()
            found = _feed(unpacked, pipe, diff_id.algorithm, step)
            done = child.result()
    if found != diff_id:
        facts = {"expected": str(diff_id), "found": str(found)}
        cause = f"invalid diffID: its bytes have the digest {found}"
        raise Corrupt("unpack layer", str(diff_id), cause, code="layer.diff-id", facts=facts)
    return done


def _feed(read: Read, pipe: Fd, algorithm: str, step: Callable[[], None]) -> Digest:
    """Everything into the pipe; a child that stopped reading has an error to tell, so that is none of ours."""
    total = hashlib.new(algorithm)
    while data := read(CHUNK):
        total.update(data)
        step()
        try:
            write_all(pipe.fileno(), data)
        except BrokenPipeError:
            break
    pipe.close()
    return Digest(algorithm, total.hexdigest())
