"""`checkpoint`: a running container becomes a directory of images, and is gone unless it is to go on.

You come from `main`; the next door is `runtime/dump`.
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import Conflict, Unavailable
from onggi.runc import bundle, criu_flags, kill, state
from onggi.runtime import dump, external
from onggi.runtime.init import rows
from onggi.runtime.plan import build
from onggi.runtime.steps import Context, carry_out
from onggi.trace import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.words import Options


def checkpoint(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci checkpoint [--leave-running] [--image-path DIR] ID`."""
    root = state.root(options)
    kept = state.read(root, container_id)
    layout = state.layout_of(kept)
    now = state.status(kept, layout)
    if now not in ("running", "paused"):
        raise Conflict("checkpoint container", container_id, f"Container cannot be checkpointed in {now} state")
    if os.geteuid():
        raise Unavailable("checkpoint container", container_id, "CRIU needs root")
    wish = criu_flags.wish(given)
    trace = Trace()
    steps = dump.plan(wish, _find(kept, layout, given), kept["annotations"])
    try:
        carry_out(steps, Context(trace, "keeper", layout))
    finally:
        if options.has("debug"):
            from onggi.runc.logging import tell

            tell(rows(trace.events), options)
    if given.has("leave-running") or given.has("pre-dump"):
        return 0
    kill.end(kept, layout)
    if not state.is_same(kept):  # who waits for its end in the foreground has cleaned up
        return 0
    for note in kill.destroy(root, kept, layout):
        from onggi.runc.logging import warn

        warn(note, options)
    return 0


def _find(kept: dict[str, Any], layout: Layout, given: Options) -> dump.Found:
    """What the plan must know of the container: what it has of the host, by the plan that it was started by."""
    pid, group = kept["pid"], kept["cgroup"]
    document = {**kept["config"], "linux": {**kept["config"].get("linux", {}), "seccomp": None}}
    request = bundle.request(kept["id"], kept["bundle"], document, "", given, "", group)
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts = external.keys(build(request, layout), root)
    finally:
        os.close(root)
    freezer = layout.directory("freezer", group) if group else None
    streams = documents.loads(kept["external_descriptors"])
    return dump.Found(pid, group, freezer or "", mounts, external.described(request.spec, pid), streams)
