"""`onggi logs`: show what a container wrote. You came from `cli/main`; the bytes come from its keeper's log."""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.commands.events import moment
from onggi.cli.flags import Command, Flag
from onggi.cli.streams import Frames, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "logs [OPTIONS] CONTAINER",
    "Show what a container wrote.",
    (
        Flag("details", bool, "also the labels that the log was told to keep"),
        Flag("follow", bool, "go on as it writes more", short="f"),
        Flag("since", str, "only what was written after this time, or so long ago (10m)"),
        Flag("tail", str, "only the last N lines", short="n", default="all"),
        Flag("timestamps", bool, "with the time of each line", short="t"),
        Flag("until", str, "only what was written before this time, or so long ago"),
    ),
    arguments=(1, 1),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Write its stdout to ours and its stderr to ours."""
    place = f"/containers/{quote(parsed.arguments[0])}"
    tty = engine.call("GET", f"{place}/json")["Config"]["Tty"]
    query = {
        "stdout": True,
        "stderr": True,
        "follow": parsed["follow"],
        "timestamps": parsed["timestamps"],
        "details": parsed["details"],
        "tail": parsed["tail"],
        "since": moment(parsed["since"]),
        "until": moment(parsed["until"]),
    }
    _, response = engine.stream("GET", with_query(f"{place}/logs", query))
    frames = Frames()
    for piece in response.pieces():
        if tty:
            write_all(1, piece)
            continue
        for descriptor, payload in frames.feed(piece):
            write_all(descriptor, payload)
    return 0
