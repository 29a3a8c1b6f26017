"""Who enters a container must not be executed from a file that the container could write (CVE-2019-5736).

The front door, `onggi-oci` in a checkout, executes the interpreter from a read-only mount in a mount namespace made for
that, and says with which descriptors the caller's own namespace and directory can be entered again: what is mounted into
a container with `shared` propagation must come from there. A process that came in another way is executed again here.
Callers: `main`. Read next: `runtime/enclosure`.
"""

from __future__ import annotations

import os
import sys

from onggi.kernel import process
from onggi.kernel.flags import Clone

_FROM = "ONGGI_OCI_FROM"
"""`NAMESPACE:DIRECTORY`, descriptors of the mount namespace and working directory that we were called in."""


def ensure() -> None:
    """Go on as a process whose interpreter no container can write, in the caller's mount namespace and directory."""
    came_from = os.environ.pop(_FROM, "")
    if not os.access("/proc/self/exe", os.W_OK):  # from a read-only mount; or not ours, and so no container's of ours
        _return(came_from)
    else:
        _execute_enclosed()


def _return(came_from: str) -> None:
    """Back to where we were called from; what we were executed from stays what it is."""
    if not came_from:
        return
    namespace, directory = map(int, came_from.split(":"))
    process.setns(namespace, Clone.NEWNS)
    os.fchdir(directory)
    os.close(namespace)
    os.close(directory)


def _execute_enclosed() -> None:
    from onggi.runtime.enclosure import enclose

    directory = os.open(".", os.O_PATH | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    enclose()
    for descriptor in (namespace, directory):
        os.set_inheritable(descriptor, True)
    start = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
    environment = {**os.environ, _FROM: f"{namespace}:{directory}", "ONGGI_OCI_AS": sys.argv[0]}
    os.execve(sys.executable, [sys.executable, "-I", "-S", start, *sys.argv[1:]], environment)
