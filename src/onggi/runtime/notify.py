"""The listener of a seccomp filter, given to the agent that answers the calls: `linux.seccomp.listenerPath`.

    init                                keeper                                  agent
      │ seccomp(2): the filter is in force
      │ ── {"listener": 7} ──────────────► takes the descriptor 7 of the init (pidfd_getfd(2))
      │                                   │ ── the process's state (JSON) + fd ──► answers from here on
      │ ◄──────────────────────────── {} ─ (only now: without an agent the program must not begin)
      │ goes on; a call that waits for an answer gets it from the agent

From the moment that the filter is in force the init makes two calls, write and read, until the agent has the listener:
any other could be one that waits for it. Loaded with a filter that has a listener only. You come from `filters` (the
init's side) and `sync` (the keeper's). See the runtime specification's config-linux.md, "The Container Process State".
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import KernelError, StartFailed
from onggi.kernel import process, sockets
from onggi.oci.runtime import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from onggi.runtime.request import Listener


def handler(listener: Listener, pidfd: int, pid: int, state: Mapping[str, Any]) -> Callable[[int], None]:
    """What the keeper does when the process `pid` says which of its descriptors the listener is.

    `pidfd` is borrowed; `state` is the container's (runtime.md, "State").
    """

    def hand_on(number: int) -> None:
        document = {"ociVersion": VERSION, "fds": ["seccompFd"], "pid": pid}
        document |= {"metadata": listener.metadata} if listener.metadata else {}
        data = documents.dumps({**document, "state": dict(state)})
        try:
            descriptor = process.take_descriptor(pidfd, number)
        except KernelError as error:
            raise StartFailed("take seccomp listener", str(number), f"seccomp notify unsupported: {error}") from error
        try:
            _send(listener.path, data, descriptor)
        finally:
            os.close(descriptor)

    return hand_on


def _send(path: str, data: bytes, descriptor: int) -> None:
    try:
        end = sockets.connect(path)
    except OSError as error:
        cause = f"failed to connect with seccomp agent specified in the seccomp profile: {error.strerror or error}"
        raise StartFailed("connect to", path, cause, hint="linux.seccomp.listenerPath: does it listen?") from error
    with end:
        try:
            sockets.send_stream(end, data, [descriptor])
        except OSError as error:
            cause = f"cannot send seccomp fd: {error.strerror or error}"
            raise StartFailed("send listener to", path, cause) from error
