"""`restore`: a container from a bundle and the images of a checkpoint. You come from `main`; the next door is `create`."""

from __future__ import annotations

import os

from onggi.errors import Unavailable
from onggi.runc import create, criu_flags, state
from onggi.runtime import restore as runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.words import Options
    from onggi.runtime.container import Started
    from onggi.runtime.request import Request
    from onggi.trace import Trace


def restore(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci restore [--detach] [--image-path DIR] ID`; in the foreground the exit status is the program's."""
    if os.geteuid():
        raise Unavailable("restore container", container_id, "CRIU needs root")
    wish = criu_flags.wish(given)
    if given.has("no-pivot"):
        from onggi.runc.logging import warn

        warn("--no-pivot: how a restored container leaves the old root is CRIU's choice", options)

    def begin(request: Request, layout: Layout, trace: Trace, kept: dict[str, Any]) -> Started:
        """Restore it; who may enter it from then on must know in which namespaces it is."""

        def born(pid: int, namespaces: dict[str, int]) -> None:
            _note_clocks(kept["config"], namespaces["time"])
            state.born(kept, pid)

        return runtime.start(request, layout, wish, kept["directory"], trace, born)

    return create.make(options, given, container_id, detach=given.has("detach"), waits=False, begin=begin)


def _note_clocks(config: dict[str, Any], time: int) -> None:
    """CRIU gives a container a time namespace whether it had one or not."""
    namespaces = config["linux"]["namespaces"]
    if time != os.stat("/proc/self/ns/time").st_ino and all(namespace["type"] != "time" for namespace in namespaces):
        namespaces.append({"type": "time"})
