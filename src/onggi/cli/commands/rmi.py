"""`onggi rmi`: remove images. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli import output
from onggi.cli.client import quote, with_query
from onggi.cli.failure import EngineSaidNo
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "rmi [OPTIONS] IMAGE...",
    "Remove images.",
    (
        Flag("force", bool, "also when a stopped container was made from it", short="f"),
        Flag("no-prune", bool, "keep untagged parents"),
    ),
    arguments=(1, None),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Remove each, and print what went."""
    status = 0
    query = {"force": parsed["force"], "noprune": parsed["no-prune"]}
    for name in parsed.arguments:
        try:
            for line in engine.call("DELETE", with_query(f"/images/{quote(name)}", query)):
                print("\n".join(f"{what}: {which}" for what, which in line.items()))
        except EngineSaidNo as refused:
            output.report(refused)
            status = 1
    return status
