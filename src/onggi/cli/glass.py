"""What the engine shows of its work, for a reader: the plan, the steps that were done, the isolation that came of it.

Callers: `commands/run`, `commands/explain`. Read next: `onggi/glass/routes`, which says what is shown here.
"""

from __future__ import annotations

from onggi.cli import output, template
from onggi.cli.client import quote
from onggi.cli.failure import CommandFailed, EngineSaidNo
from onggi.cli.shortened import container_id, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.engine import Engine

_INDENT = "    "


def show_plan(engine: Engine, config: dict[str, Any]) -> int:
    """Print the plan of a container that is not made: each step, and why."""
    steps = _ask(engine, "POST", "/glass/plan", config)["steps"]
    print(f"{len(steps)} steps would be taken; nothing was done.")
    _print_steps(steps)
    return 0


def show_explain(engine: Engine, name: str, *, format: str = "") -> None:
    """Print what this container is made of, what was done for it, and how long that took."""
    explained = _ask(engine, "GET", f"/glass/containers/{quote(name)}/explain")
    if format:
        print(template.render(format, explained))
        return
    state = f"runs as process {explained['pid']}" if explained["running"] else "does not run"
    print(f"{output.paint(explained['name'].removeprefix('/'), 'bold')} {explained['id'][:12]} {state}")
    for warning in explained.get("warnings") or []:
        output.warn(warning)
    _print_namespaces(explained["namespaces"], whole=True)
    _print_facts("Limits", explained["limits"])
    _print_facts("Rights", explained["rights"])
    _print_facts("Shared with the host, as for every container", explained["shared"])
    _title(f"How it was made: {len(explained['steps'])} steps in {output.milliseconds(explained['took'])}")
    _print_steps(explained["steps"])


def show_isolation(engine: Engine, identifier: str) -> None:
    """Print which namespaces the container had of its own, its limits, capabilities and filter."""
    explained = _ask(engine, "GET", f"/glass/containers/{identifier}/explain")
    _print_namespaces(explained["namespaces"], whole=False)
    _print_facts("Limits", explained["limits"] or _asked_limits(engine, identifier))
    _print_facts("Rights", explained["rights"] or _taken_rights(explained["steps"]))
    took = output.milliseconds(explained["took"])
    print(f"\n{len(explained['steps'])} steps in {took} made it: onggi explain {explained['id'][:12]}")


def _asked_limits(engine: Engine, identifier: str) -> list[dict[str, str]]:
    """The limits of a container that has ended: those it was made with."""
    host = engine.call("GET", f"/containers/{identifier}/json")["HostConfig"]
    memory, cpus, processes = host.get("Memory"), host.get("NanoCpus"), host.get("PidsLimit")
    return [
        {"title": "memory", "text": f"{output.size(memory)} at most" if memory else "no limit"},
        {"title": "processor", "text": f"{cpus / 1e9:g} CPUs at most" if cpus else "no limit"},
        {"title": "processes", "text": f"{processes} at most" if (processes or 0) > 0 else "no limit"},
    ]


def _taken_rights(steps: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rights of a container that has ended: what the steps of its start took away and left."""
    facts = []
    for step in steps:
        command = step["describe"]
        if command.startswith("setpriv --bounding-set"):
            kept = command.partition("-all,")[2].replace("+", "").replace(",", ", ")
            facts.append({"title": "capabilities kept", "text": kept or "none"})
        elif command.startswith("setpriv --seccomp-filter"):
            facts.append({"title": "system calls", "text": "a filter decides before each call (seccomp)"})
        elif command.startswith("setpriv --no-new-privs"):
            facts.append({"title": "no_new_privs", "text": "on: nothing that it executes can gain rights"})
    return facts


def _ask(engine: Engine, method: str, path: str, body: Any = None) -> Any:
    try:
        return engine.call(method, path, body, versioned=False)
    except EngineSaidNo as refused:
        if refused.code == 404 and refused.message == "page not found":
            raise CommandFailed(f"explain: the engine at `{engine.socket_path}` is not Onggi") from refused
        raise


def _print_namespaces(spaces: list[dict[str, Any]], *, whole: bool) -> None:
    own = sum(space["own"] for space in spaces)
    _title(f"Namespaces: {own} of its own, {len(spaces) - own} shared with the host")
    rows, styles = [], []
    for space in spaces:
        rows.append(
            [space["name"], "own" if space["own"] else "shared", space["container"], space["host"], space["text"]]
        )
        styles.append(["bold", "green" if space["own"] else "yellow", "", "", "dim"])
    print(output.table(["", "", "INSIDE", "HOST", ""], rows, styles))
    for space in spaces if whole else ():
        if space["facts"]:
            _print_facts(f"{space['name']}: {space['title']}", space["facts"])


def _print_facts(title: str, facts: list[dict[str, str]]) -> None:
    if not facts:
        return
    _title(title)
    width = min(max(len(fact["title"]) for fact in facts), 32)
    for fact in facts:
        print(f"{_INDENT}{output.visible(fact['title']):<{width}}  {output.visible(fact['text'])}")


def _print_steps(steps: list[dict[str, Any]]) -> None:
    """Numbered commands; above those with the same reason, once, the reason as a comment."""
    width = len(str(len(steps)))
    identifier = container_id([step["describe"] for step in steps])
    doer = why = ""
    if identifier:
        print(f"{'':>{width}}  ID={identifier}")
    for number, step in enumerate(steps, 1):
        if step["where"] != doer:
            doer, why = step["where"], ""
            print(output.paint(f"{doer}:", "bold"))
        if step["why"] and step["why"] != why:
            print(f"{'':>{width}}  {output.paint('# ' + output.visible(step['why']), 'dim')}")
        why = step["why"]
        lasted = f"  {output.milliseconds(step['lasted'])}" if step["lasted"] else ""
        command = output.visible(shorten(step["describe"], identifier))
        print(f"{number:>{width}}  {command}{output.paint(lasted, 'cyan')}")
        if step["error"]:
            print(f"{'':>{width}}  {output.paint('failed: ' + output.visible(step['error']), 'red')}")


def _title(text: str) -> None:
    print(f"\n{output.paint(text, 'bold')}")
