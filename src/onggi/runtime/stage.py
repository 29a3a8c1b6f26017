"""Namespaces that are joined, where a user namespace is among those of the container. Loaded with such a plan only.

A process that is in a user namespace can enter only what belongs to it, and what it makes belongs to it. So neither can
the init, born in new namespaces, join the rest later, nor can the keeper, which has to stay outside, join anything. A
process in between does both, and is gone:

    keeper ──clone3──► stage: joins the groups and namespaces ──clone3(CLONE_PARENT, new namespaces)──► init, the keeper's
           ◄── {"pid": N} + pidfd ──┘                                                                     child
           ◄── {"failed": {…}}: it was refused

You come from `plan`; the next door is `container`.
"""

from __future__ import annotations

import errno
import os

from onggi import documents
from onggi.errors import OnggiError, StartFailed, from_fields
from onggi.kernel import process, sockets
from onggi.kernel.flags import Clone
from onggi.runtime.steps import Context, Step, carry_out, failed
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.kernel.sockets import Socket
    from onggi.runtime.surroundings import NewNamespaces

_LARGEST = 64 << 10


@dataclass(frozen=True, slots=True)
class JoinNamespaces:
    """In the stage: enter namespaces that exist, the user namespace last, as long as we have the host's rights.

    One that refuses us although we come from the host belongs to the user namespace, and is entered after it.
    """

    namespaces: tuple[tuple[str, str, Clone], ...]
    """Kind, path, flag."""
    why: str

    def describe(self) -> str:
        return "nsenter " + " ".join(f"--{kind}={path}" for kind, path, _ in self.namespaces)

    def apply(self, context: Context) -> None:
        opened = [(os.open(path, os.O_RDONLY | os.O_CLOEXEC), flag) for _, path, flag in self.namespaces]
        refused = [pair for pair in opened if pair[1] != Clone.NEWUSER and not _enter(*pair)]
        for descriptor, flag in (*(pair for pair in opened if pair[1] == Clone.NEWUSER), *refused):
            process.setns(descriptor, flag)
        for descriptor, _ in opened:
            os.close(descriptor)


def _enter(descriptor: int, flag: Clone) -> bool:
    try:
        process.setns(descriptor, flag)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        return False
    return True


def clone(steps: tuple[Step, ...], new: NewNamespaces, context: Context) -> tuple[int, int]:
    """The init by way of the stage: `(0, -1)` in the init, `(pid, pidfd)` in the keeper."""
    ours, theirs = sockets.pair()
    pid, pidfd = process.clone(Clone(0))
    if pid == 0:
        ours.close()
        _bear(steps, new, context, theirs)
        theirs.close()
        return 0, -1
    theirs.close()
    os.close(pidfd)
    data, descriptors = sockets.receive(ours, _LARGEST, 1)
    ours.close()
    os.waitpid(pid, 0)
    message = documents.loads(data) if data else {}
    if "failed" in message:
        raise from_fields(message["failed"])
    if not descriptors:
        raise StartFailed("start", "init", "what joins its namespaces was killed")
    return message["pid"], descriptors[0]


def _bear(steps: tuple[Step, ...], new: NewNamespaces, context: Context, theirs: Socket) -> None:
    """In the stage; returns in the init."""
    try:
        carry_out(steps, context)
        try:
            pid, pidfd = process.clone(new.flags, for_parent=True)
        except OSError as error:
            raise failed(new, error) from error
        if pid == 0:
            return
        sockets.send_descriptors(theirs, documents.dumps({"pid": pid}), [pidfd])
    except OnggiError as error:
        theirs.send(documents.dumps({"failed": error.to_fields()}), sockets.MSG_NOSIGNAL)
    os._exit(0)
