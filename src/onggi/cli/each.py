"""Do one thing to each of several containers or images: one failure does not stop the others.

Callers: `commands/stop`, `commands/rm` and their like. Read next: `output`.
"""

from __future__ import annotations

from onggi.cli import output
from onggi.cli.failure import EngineSaidNo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def name_each(names: Iterable[str], act: Callable[[str], object]) -> int:
    """Call `act` with each name and print the name once it is done; 1 when one failed, after all were tried."""
    status = 0
    for name in names:
        try:
            act(name)
        except EngineSaidNo as refused:
            output.report(refused)
            status = 1
            continue
        print(name, flush=True)
    return status
