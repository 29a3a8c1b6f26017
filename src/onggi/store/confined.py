"""Work inside a tree that an archive fills: a forked child that has this tree and nothing else.

The child goes into a mount namespace of its own where the tree is the root and the host's is gone, keeps the descriptors
it is told to keep and the capabilities that making files takes, and only then does its work; it ends by `_exit`, so
nothing of the parent's is flushed or cleaned twice. Everything that it calls must have been imported
before, because no library can be found any more (CVE-2019-14271). Errors come back as fields.
Never to be called in the engine, which has threads: a worker process does this. Callers: `store/layers`.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from onggi.errors import KernelError, OnggiError, Unavailable, from_fields
from onggi.kernel import capability, mount, process
from onggi.kernel.fd import Fd
from onggi.kernel.flags import Clone, Ms

Work = Callable[[int], dict[str, Any]]
"""Gets the root directory's descriptor; what it returns must be good for JSON."""

# Any owner, any mode, devices, file capabilities; SYS_ADMIN for attributes in trusted.*.
_KEPT = capability.mask(["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SYS_ADMIN"])


class Confined:
    """A running child; `result` waits for it, leaving the block earlier kills it."""

    def __init__(self, tree: int, work: Work, keep: Iterable[int] = ()) -> None:
        answer, write_end = os.pipe2(os.O_CLOEXEC)
        self._answer = Fd(answer)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _child(tree, work, write_end, keep, parent)
        os.close(write_end)

    @property
    def pid(self) -> int:
        """The child's process id; 0 once it was waited for."""
        return self._pid

    def wait(self, seconds: float) -> bool:
        """Whether the child answered or died within that time."""
        return bool(select.select([self._answer.fileno()], [], [], seconds)[0])

    def result(self) -> dict[str, Any]:
        """What the work returned; the error that it raised is raised here."""
        with open(self._answer.release(), "rb") as pipe:
            answer = pipe.read()
        pid, self._pid = self._pid, 0
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status or not answer:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            raise Unavailable("unpack", "", f"the process that did it {how}")
        fields: dict[str, Any] = json.loads(answer)
        if "error" in fields:
            raise from_fields(fields["error"])
        return fields

    def __enter__(self) -> Confined:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._answer.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def _child(tree: int, work: Work, answer: int, keep: Iterable[int], parent: int) -> None:
    """The forked child; does not return, whatever happens: above it are frames that are the parent's."""
    try:
        data = json.dumps(_answer(tree, work, {answer, *keep}, parent)).encode()
        while data:
            data = data[os.write(answer, data) :]
        os._exit(0)
    finally:
        os._exit(1)


def _answer(tree: int, work: Work, keep: set[int], parent: int) -> dict[str, Any]:
    try:
        _enter(tree, keep, parent)
        return work(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OnggiError as error:
        return {"error": error.to_fields()}
    except OSError as error:
        return {"error": KernelError("unpack", str(error.filename or ""), error.errno or 0).to_fields()}
    except MemoryError:
        return {"error": Unavailable("unpack", "", "out of memory").to_fields()}
    except Exception as error:  # noqa: BLE001 - a fault of ours must still be told to the parent
        return {"error": OnggiError("unpack", "", f"{type(error).__name__}: {error}").to_fields()}


def _enter(tree: int, keep: set[int], parent: int) -> None:
    process.set_death_signal(signal.SIGKILL)
    if os.getppid() != parent:  # it died before that, so no signal will come
        os._exit(1)
    os.umask(0)
    here = mount.clone_tree("", fd=tree, recursive=False)  # while the tree's mount is still of our namespace
    process.unshare(Clone.NEWNS)
    mount.set_propagation("/", Ms.PRIVATE | Ms.REC)  # or the host would see our mounts, and pivot_root(2) would refuse
    mount.attach(here, mount.open_path("/"))
    os.fchdir(here)
    mount.pivot_to_here()
    _close_all_but(keep)
    capability.apply_sets(capability.CapabilitySets(_KEPT, _KEPT, _KEPT, 0, 0))


def _close_all_but(keep: set[int]) -> None:
    low = 0
    for fd in sorted(keep | {2}):  # 2: the place of an interpreter's last words
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))
