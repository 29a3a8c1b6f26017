"""`onggi create`: make a container without starting it. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli import container_config
from onggi.cli.commands.run import create
from onggi.cli.container_flags import FLAGS
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Make a container from an image without starting it, and print its id.",
    FLAGS,
    arguments=(1, None),
    interspersed=False,
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Create it; its streams are attached as `start -a` will want them."""
    print(create(engine, parsed, container_config.body(parsed, attached=True)))
    return 0
