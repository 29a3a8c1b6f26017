"""What starts fast imports little: read from the sources, without running them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness import storeys

ROOT = Path(__file__).parents[2] / "src" / "onggi"
SLOW = {"msgspec", "asyncio", "h11", "rich", "click", "isal", "subprocess", "http", "urllib", "logging", "argparse"}
SLOW_FOR_THE_COMMAND = SLOW | {
    "typing",
    "dataclasses",
    "inspect",
    "contextlib",
    "ctypes",
    "pathlib",
    "shutil",
    "tempfile",
}
HOT_COMMANDS = ("onggi.cli.main", "onggi.cli.engine", "onggi.cli.commands.run", "onggi.cli.commands.ps")


def test_the_command_imports_nothing_slow() -> None:
    """`onggi run` pays for no module that it could do without."""
    loaded = set().union(*(closure(name) for name in HOT_COMMANDS))
    assert loaded & SLOW_FOR_THE_COMMAND == set()


@pytest.mark.parametrize("name", ["onggi.runtime.launch", "onggi.runtime.init", "onggi.runtime.keeper"])
def test_the_launcher_imports_nothing_slow(name: str) -> None:
    """Launcher, keeper and init start without the engine's libraries."""
    assert closure(name) & SLOW == set()


RUNTIME_NEEDS = {
    "__future__", "_ctypes", "_frozen_importlib", "_frozen_importlib_external", "_json", "_signal", "_socket", "errno", "fcntl",
    "gc", "marshal", "os", "posixpath", "resource", "select", "stat", "struct", "sys", "termios", "time",
}  # fmt: skip
"""All of the standard library that a start by `onggi-oci` loads: what is more than these costs a millisecond each."""


@pytest.mark.parametrize("name", ["start", "main", "enclosed", "create", "exec", "foreground"])
def test_a_start_by_onggi_oci_loads_only_what_it_needs(name: str) -> None:
    """Parts of the interpreter, and what is written in C: typing, enum, contextlib, json and socket are not among them."""
    assert {module for module in closure(f"onggi.runc.{name}") if not module.startswith("onggi")} <= RUNTIME_NEEDS


def test_an_import_for_types_only_is_not_counted() -> None:
    """What stands below TYPE_CHECKING or in a function is not loaded at the start."""
    source = "if TYPE_CHECKING:\n    import a\ndef f():\n    import b\ntry:\n    import c\nfinally:\n    import d\nimport e.f"
    assert at_start(source, set()) == {"c", "d", "e.f"}


def closure(name: str) -> set[str]:
    """Every module that loading `name` loads: ours by their sources, others by their first word."""
    sources = storeys.sources(ROOT)
    todo, ours, others = [name], set[str](), set[str]()
    while todo:
        module = todo.pop()
        if module in ours:
            continue
        ours.add(module)
        for target in at_start(sources[module], set(sources)):
            if target in sources:
                todo.append(target)
            else:
                others.add(target.split(".")[0])
    return others


def at_start(source: str, known: set[str]) -> set[str]:
    """The modules that `source` imports when it is loaded."""
    found: set[str] = set()
    todo: list[ast.stmt] = list(ast.parse(source).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
        elif isinstance(node, ast.If):
            todo += [*([] if "TYPE_CHECKING" in ast.dump(node.test) else node.body), *node.orelse]
        elif isinstance(node, ast.Try):
            handlers = [h for h in node.handlers if "ImportError" not in ast.dump(h.type or h)]  # another interpreter's
            todo += [*node.body, *node.orelse, *node.finalbody, *(s for h in handlers for s in h.body)]
        elif isinstance(node, ast.With):
            todo += node.body
    return found
