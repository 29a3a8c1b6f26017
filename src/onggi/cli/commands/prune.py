"""`onggi prune`, or `onggi image prune`: remove images that nothing uses. You came from `cli/main`."""

from __future__ import annotations

import sys

from onggi.cli import output
from onggi.cli.client import with_query
from onggi.cli.commands.ps import filters
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "prune [OPTIONS]",
    "Remove images without a name, and what interrupted pulls have left; with -a all images that no container uses.",
    (
        Flag("all", bool, "also images that have a name", short="a"),
        Flag("filter", list, "only those that match: until=24h, label=NAME, label!=NAME"),
        Flag("force", bool, "do not ask", short="f"),
    ),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Remove them, and say what that freed."""
    if not parsed["force"] and not _agreed(whole=parsed["all"]):
        return 1
    wanted = [f"dangling={'false' if parsed['all'] else 'true'}", *parsed["filter"]]
    done = engine.call("POST", with_query("/images/prune", {"filters": filters(wanted)}))
    for one in done.get("ImagesDeleted") or []:
        name = next(word for word in ("Untagged", "Deleted") if one.get(word))
        print(f"{name}: {output.visible(one[name])}")
    print(f"Total reclaimed space: {output.size(done['SpaceReclaimed'])}")
    return 0


def _agreed(*, whole: bool) -> bool:
    what = "all images that no container uses" if whole else "all images without a name"
    sys.stderr.write(f"This removes {what}. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
