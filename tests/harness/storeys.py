"""The rule of the storeys: an import goes down, never up, sideways or round. Pure: it reads sources that it is given.

The table is the one of docs/architecture.md. Caller: tests/unit/test_storeys.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

BEDROCK, GROUND, ZERO, ONE, TWO, THREE, TOP = range(-2, 5)
STOREYS = {
    "values": BEDROCK,
    "unwinding": BEDROCK,
    "documents": BEDROCK,
    "errors": GROUND,
    "trace": GROUND,
    "kernel": ZERO,
    "oci": ZERO,
    "wire": ZERO,
    "runtime": ONE,
    "store": ONE,
    "network": ONE,
    "registry": ONE,
    "dockerfile": ONE,
    "engine": TWO,
    "runc": TWO,
    "glass": THREE,
    "api": THREE,
    "cli": THREE,
    "daemon": TOP,
}
ONLY = {"cli": {"wire", "errors"}}
"""Packages that may use less than everything below them."""


def sources(root: Path) -> dict[str, str]:
    """Module name to source of every file below `root`, the directory of the package `onggi`."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = ("onggi", *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(source: str, known: Iterable[str]) -> list[tuple[int, str]]:
    """(line, module) of every import of `onggi` in `source`, wherever it stands; relative ones come out as `.name`."""
    names = set(known)
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.append((node.lineno, inner if inner in names else module))
    return sorted({(line, name) for line, name in found if name.split(".")[0] in ("onggi", "")})


def wrong_edges(modules: Mapping[str, str]) -> list[str]:
    """One line for every import that goes up, sideways, or to what the package may not use."""
    wrong = []
    for module, source in modules.items():
        for line, target in imports(source, modules):
            fault = _fault(module, target)
            if fault:
                wrong.append(f"{module}:{line} imports {target}: {fault}")
    return wrong


def _fault(module: str, target: str) -> str:
    if target.startswith("."):
        return "a relative import"
    here, there = _package(module), _package(target)
    if not here or not there or here == there:
        return ""
    for package in (here, there):
        if package not in STOREYS:
            return f"`{package}` has no storey"
    if STOREYS[there] > STOREYS[here]:
        return "up"
    if STOREYS[there] == STOREYS[here]:
        return "sideways"
    if here in ONLY and there not in ONLY[here]:
        return f"{here} uses only {' and '.join(sorted(ONLY[here]))}"
    return ""


def _package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def cycles(modules: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules that import each other in a round, also by imports inside functions."""
    edges = {
        module: [target for _, target in imports(source, modules) if target in modules and target != module]
        for module, source in modules.items()
    }
    return [sorted(group) for group in _components(edges) if len(group) > 1]


def _components(edges: Mapping[str, list[str]]) -> list[list[str]]:
    """Strongly connected components (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            at = stack.index(node)
            groups.append(stack[at:])
            del stack[at:]

    for node in edges:
        if node not in index:
            visit(node)
    return groups
