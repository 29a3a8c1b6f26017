"""What a pull brings, taken in while it is still coming: blobs are hashed, layers unpacked, images named.

    engine      ─ writes ─►  downloads/sha256-…  ─ follows ─►  a child for each layer ─► blobs/, layers/
       │ stdin                                                        ▲  │ stdout
       └─► {"do": …}  ─►  this process: one more byte for the child ──┘  └─► {"key": …}  ─► engine

The bytes go by the file, so the network never waits for the disk, and a blob whose beginning was there before is followed
from there as from anywhere. Lines on stdin (`key` is the engine's own word for a layer or an image):

    {"do": "layer", "key", "digest", "size", "diff_id"}   follow the blob, hash it, unpack it; what is there already is used
    {"do": "more", "key"}                                 the file has grown
    {"do": "drop", "key"}                                 nobody wants it any more
    {"do": "image", "key", "manifest", "names"}           all its layers are here: wait for the disk, give it its names

On stdout: `{"key", "at"}` for how many bytes of a blob were taken in, `{"key", "done"}`, `{"key", "error"}`. The end of stdin
ends all. Callers: `worker`. Read next: `layers`.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from onggi.errors import Corrupt, KernelError, OnggiError, Unavailable
from onggi.kernel import process
from onggi.kernel.fd import Fd
from onggi.oci.digest import Digest
from onggi.oci.reference import Reference
from onggi.store.content import sync_directory
from onggi.store.source import CHUNK
from onggi.store.store import Store

Say = Callable[[dict[str, Any]], None]
_OFTEN = 0.1  # seconds between two words on how far a layer is
_LEAST_AT_ONCE = 4  # so that those which wait for the network leave room for one that does not


@dataclass(frozen=True, slots=True)
class Wanted:
    """A layer to take in."""

    key: str
    digest: Digest
    size: int
    diff_id: Digest


@dataclass(slots=True)
class _Child:
    pid: int
    wake: Fd
    """Each byte says that the file has grown; its end, that it never will."""
    pidfd: Fd


class Receiver:
    """Takes orders from stdin until it ends."""

    def __init__(self, store: Store, say: Say) -> None:
        self._store = store
        self._say = say
        self._waiting: collections.deque[Wanted] = collections.deque()
        self._children: dict[str, _Child] = {}
        self._at_once = max(_LEAST_AT_ONCE, len(os.sched_getaffinity(0)))
        self._poll = select.poll()
        self._keys: dict[int, str] = {}

    def run(self) -> None:
        """Do what comes; with the lock that keeps collections away."""
        with self._store.locks.writing():
            self._say({"ready": True})
            self._poll.register(0, select.POLLIN)
            rest = b""
            while True:
                for fd, _ in self._poll.poll():
                    if fd != 0:
                        self._ended(self._keys[fd])
                        continue
                    data = os.read(0, CHUNK)
                    if not data:
                        self._drop_all()
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._do(json.loads(line))
                self._begin_waiting()

    def _do(self, order: dict[str, Any]) -> None:
        key: str = order["key"]
        match order["do"]:
            case "layer":
                wanted = Wanted(key, Digest.parse(order["digest"]), order["size"], Digest.parse(order["diff_id"]))
                self._waiting.append(wanted)
            case "more":
                if (child := self._children.get(key)) is not None:
                    with contextlib.suppress(BrokenPipeError, BlockingIOError, ValueError):  # it ends, or knows already
                        os.write(child.wake.fileno(), b".")
            case "drop":
                self._drop(key)
            case "image":
                self._name(key, Digest.parse(order["manifest"]), [Reference.parse(name) for name in order["names"]])

    def _drop(self, key: str) -> None:
        if key in self._children:
            self._children[key].wake.close()  # it cleans up, and says so
        elif any(one.key == key for one in self._waiting):
            self._waiting = collections.deque(one for one in self._waiting if one.key != key)
            self._say({"key": key, "error": _fields(Unavailable("receive", "layer", "nobody wants it any more"))})

    def _name(self, key: str, manifest: Digest, names: list[Reference]) -> None:
        try:
            self._store.layers.sync()
            self._store.images.register([(manifest, names)])
            self._store.downloads.finish(manifest)
        except (OnggiError, OSError) as error:
            self._say({"key": key, "error": _fields(error)})
        else:
            self._say({"key": key, "done": True})

    # -- children ----------------------------------------------------------------------------------------------------

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._children) < self._at_once:
            self._begin(self._waiting.popleft())

    def _begin(self, wanted: Wanted) -> None:
        read, write = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(write)
            _child(self._store, wanted, read, parent, self._say)
        os.close(read)
        os.set_blocking(write, False)
        child = _Child(pid, Fd(write), Fd(os.pidfd_open(pid)))
        self._children[wanted.key] = child
        self._keys[child.pidfd.fileno()] = wanted.key
        self._poll.register(child.pidfd.fileno(), select.POLLIN)

    def _ended(self, key: str) -> None:
        child = self._children.pop(key)
        self._poll.unregister(child.pidfd.fileno())
        del self._keys[child.pidfd.fileno()]
        child.wake.close()
        child.pidfd.close()
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        if status:  # else it has said all itself
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            self._say({"key": key, "error": _fields(Unavailable("unpack", "layer", f"the process that did it {how}"))})

    def _drop_all(self) -> None:
        for key, child in list(self._children.items()):
            child.wake.close()
            os.waitpid(child.pid, 0)
            child.pidfd.close()
            del self._children[key]


def _child(store: Store, wanted: Wanted, wake: int, parent: int, say: Say) -> NoReturn:
    """The forked child; does not return, whatever happens: above it are frames that are the parent's."""
    status = 1
    try:
        process.set_death_signal(signal.SIGKILL)
        if os.getppid() == parent:
            os.close(0)
            status = _take_in(store, wanted, wake, say)
    finally:
        os._exit(status)


def _take_in(store: Store, wanted: Wanted, wake: int, say: Say) -> int:
    try:
        _receive(store, wanted, wake, say)
    except (OnggiError, OSError, MemoryError) as error:
        say({"key": wanted.key, "error": _fields(error)})
    else:
        say({"key": wanted.key, "done": True})
    return 0


def _receive(store: Store, wanted: Wanted, wake: int, say: Say) -> None:
    """Hash the blob, and unpack it on the way if its layer is not here."""
    here = store.content.has(wanted.digest)
    path = store.content.path(wanted.digest) if here else store.downloads.path(wanted.digest)
    with Fd(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as file:
        follower = _Follower(file, wanted, wake, _Told(wanted.key, say))
        try:
            _unpack(store, wanted, follower)
            follower.finish()
        except Corrupt as error:
            if not here and error.code == "blob.digest":
                store.downloads.forget(wanted.digest)
            raise
        if not here:
            os.fsync(file.fileno())
            os.rename(path, store.content.place(wanted.digest))
            sync_directory(store.content.path(wanted.digest).parent)


def _unpack(store: Store, wanted: Wanted, follower: _Follower) -> None:
    if store.layers.has(wanted.diff_id):
        return
    try:
        store.layers.receive(wanted.diff_id, follower.read, lambda: None)
    except Corrupt:
        with contextlib.suppress(Unavailable):  # the rest of it will not come: what is wrong so far is all that we know
            follower.finish()  # bytes that are not the blob's are the reason for whatever else is wrong with them
        raise


class _Follower:
    """Reads a file that grows, up to the size that it will have, and takes its digest on the way."""

    def __init__(self, file: Fd, wanted: Wanted, wake: int, told: _Told) -> None:
        self._file = file
        self._wanted = wanted
        self._wake = wake
        self._told = told
        self._hash = hashlib.new(wanted.digest.algorithm)
        self._left = wanted.size

    def read(self, count: int) -> bytes:
        """The next bytes, waiting for them; none at the end. Unavailable if they will never come."""
        while self._left:
            data = os.read(self._file.fileno(), min(count, self._left))
            if data:
                self._hash.update(data)
                self._left -= len(data)
                self._told.at(self._wanted.size - self._left)
                return data
            if not os.read(self._wake, 4096):
                raise Unavailable("receive blob", str(self._wanted.digest), "nobody sends the rest of it")
        return b""

    def finish(self) -> None:
        """Read what is left; Corrupt if it was another blob."""
        while self.read(CHUNK):
            pass
        found = Digest(self._wanted.digest.algorithm, self._hash.hexdigest())
        if found != self._wanted.digest:
            cause = f"its bytes have the digest {found}"
            raise Corrupt("receive blob", str(self._wanted.digest), cause, code="blob.digest")


class _Told:
    """Tells how far it is, not more often than anybody can see."""

    def __init__(self, key: str, say: Say) -> None:
        self._key = key
        self._say = say
        self._last = 0.0

    def at(self, count: int) -> None:
        now = time.monotonic()
        if now - self._last >= _OFTEN:
            self._last = now
            self._say({"key": self._key, "at": count})


def _fields(error: BaseException) -> dict[str, Any]:
    """The error for a line that all children write to one pipe: shorter than PIPE_BUF, so that it stays in one piece."""
    if isinstance(error, OnggiError):
        return {name: _clipped(value) for name, value in error.to_fields().items()}
    if isinstance(error, OSError):
        return KernelError("receive layer", str(error.filename or ""), error.errno or 0).to_fields()
    return Unavailable("receive layer", "", "out of memory").to_fields()


def _clipped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clipped(one) for name, one in list(value.items())[:8]}
    return value[:200] if isinstance(value, str) else value
