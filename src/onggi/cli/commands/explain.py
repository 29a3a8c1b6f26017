"""`onggi explain`: show how a container was made, step by step. You came from `cli/main`; next door: `onggi/glass`."""

from __future__ import annotations

from onggi.cli import glass
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "explain [OPTIONS] CONTAINER",
    "Show how a container was made: what the kernel was told, why, and how long it took.",
    (Flag("format", str, "json: the whole document", short="f"),),
    arguments=(1, 1),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Print it."""
    glass.show_explain(engine, parsed.arguments[0], format=parsed["format"])
    return 0
