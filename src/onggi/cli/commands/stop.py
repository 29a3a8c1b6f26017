"""`onggi stop`: ask containers to end; kill those that have not within 10 seconds. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.each import name_each
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "stop [OPTIONS] CONTAINER...",
    "Ask containers to end; kill those that have not within 10 seconds.",
    (
        Flag("signal", str, "the signal to ask with", short="s"),
        Flag("time", int, "seconds to wait; -1 for ever", short="t"),
    ),
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Stop each, and print its name."""
    query = {"t": parsed["time"] if "time" in parsed.given else None, "signal": parsed["signal"]}
    return name_each(
        parsed.arguments, lambda name: engine.call("POST", with_query(f"/containers/{quote(name)}/stop", query))
    )
