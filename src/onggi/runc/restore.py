"""`restore`: a container from a bundle and the images of a checkpoint. You come from `main`; the next door is `create`."""

from __future__ import annotations

import os

from onggi.errors import Unavailable
from onggi.runc import create, criu_flags, state
from onggi.runtime import restore as runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
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

    def begin(request: Request, layout: Layout, _stdio: tuple[int, int, int] | None, trace: Trace) -> Started:
        try:
            return runtime.start(request, layout, wish, os.path.join(state.root(options), container_id), trace)
        finally:
            if options.has("debug"):
                from onggi.runc.logging import debug_trace

                debug_trace(trace, options)

    return create.make(options, given, container_id, detach=given.has("detach"), waits=False, begin=begin)
