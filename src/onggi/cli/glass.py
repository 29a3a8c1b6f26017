"""What the engine shows of its work, for a reader: the plan, the steps that were done, the isolation that came of it.

Callers: `commands/run`, `commands/explain`. Read next: `onggi/glass`, which writes what is shown here.
"""

from __future__ import annotations

import sys

from onggi.cli import output, template
from onggi.cli.client import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.engine import Engine


def show_plan(engine: Engine, config: dict[str, Any]) -> int:
    """Print the plan of a container that is not made: each step, and why."""
    plan = engine.call("POST", "/glass/plan", config, versioned=False)
    print_steps(plan["steps"])
    return 0


def show_explain(engine: Engine, name: str, *, format: str = "") -> None:
    """Print what was done for this container, and how long it took."""
    explained = engine.call("GET", f"/glass/containers/{quote(name)}/explain", versioned=False)
    if format:
        print(template.render(format, explained))
        return
    print_steps(explained["steps"])


def print_steps(steps: list[dict[str, Any]]) -> None:
    """One line a step, numbered; below it, dimmed, the reason."""
    width = len(str(len(steps)))
    for number, step in enumerate(steps, 1):
        lasted = f"  {output.milliseconds(step['lasted'])}" if step.get("lasted") else ""
        print(f"{number:>{width}}  {output.visible(step['describe'])}{output.paint(lasted, 'dim')}")
        if step.get("why"):
            print(f"{'':>{width}}    {output.paint(output.visible(step['why']), 'dim')}")
        if step.get("error"):
            print(f"{'':>{width}}    {output.paint(output.visible(step['error']), 'red')}")


def show_isolation(engine: Engine, identifier: str) -> None:
    """Print which namespaces the container had of its own, its limits, capabilities and filter."""
    explained = engine.call("GET", f"/glass/containers/{identifier}/explain", versioned=False)
    rows = [
        [space["name"], "own" if space["own"] else "shared", str(space["container"]), str(space["host"])]
        for space in explained["namespaces"]
    ]
    print(file=sys.stdout)
    print(output.table(["NAMESPACE", "", "CONTAINER", "HOST"], rows))
