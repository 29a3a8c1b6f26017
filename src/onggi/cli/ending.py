"""What `stop` and `restart` have in common: how a container is asked to end, and how long it gets.

Callers: `commands/stop`, `commands/restart`. Read next: `each`.
"""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.each import name_each
from onggi.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

FLAGS = (
    Flag("signal", str, "the signal to ask with", short="s"),
    Flag("time", int, "seconds to wait; -1 for ever", short="t"),
)


def end_each(engine: Engine, parsed: Parsed, verb: str) -> int:
    """Ask the engine to do `verb` to each container, and print its name; the exit status."""
    query = {"t": parsed["time"] if "time" in parsed.given else None, "signal": parsed["signal"]}
    return name_each(
        parsed.arguments, lambda name: engine.call("POST", with_query(f"/containers/{quote(name)}/{verb}", query))
    )
