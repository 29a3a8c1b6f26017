"""The files and functions that the documents name in backticks. Pure. Caller: tests/unit/test_docs.py.

A path is written from the top of the repository, or from `src/onggi` without `.py` (`runtime/plan`); a function with its
parentheses (`build()`, `plan.build()`), which tells it from a command or a system call (`execve(2)`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICKED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?")
_FUNCTION = re.compile(r"(?:([\w/]+)\.)?(\w+)\([^()]*\)")


def ticked(text: str) -> list[tuple[int, str]]:
    """(line, words) of everything in backticks outside of code blocks."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            found += [(number, match[1]) for match in _TICKED.finditer(line)]
    return found


def missing_path(words: str, root: Path) -> bool:
    """Whether `words` are a path of ours that does not exist. What does not begin in the repository is no path of ours."""
    if not _PATH.fullmatch(words):
        return False
    words = words.removeprefix("./")
    first = words.split("/")[0]
    package = root / "src" / "onggi"
    if (package / first).is_dir():
        below = package / words
    elif (root / first).is_dir():
        below = root / words
    else:
        return False
    return not (below.exists() or below.with_name(below.name + ".py").exists())


def definitions(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Function or class name to the last words of the modules, and to the classes, that define it."""
    found: dict[str, set[str]] = {}
    for module, source in sources.items():
        for owner, name in _defined(ast.parse(source).body, module.split(".")[-1]):
            found.setdefault(name, set()).add(owner)
    return found


def _defined(body: Iterable[ast.stmt], owner: str) -> Iterable[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield owner, node.name
        elif isinstance(node, ast.ClassDef):
            yield owner, node.name
            for _, name in _defined(node.body, node.name):
                yield node.name, name
                yield owner, name
        elif isinstance(node, ast.Assign):
            yield from ((owner, target.id) for target in node.targets if isinstance(target, ast.Name))


def missing_function(words: str, known: Mapping[str, set[str]]) -> bool:
    """Whether `words` are a call of a function that nobody defines, or not where they say. `execve(2)` is a man page."""
    match = _FUNCTION.fullmatch(words)
    if not match or words.endswith(tuple(f"({section})" for section in range(1, 9))):
        return False
    owner, name = match[1], match[2]
    if name not in known:
        return True
    return owner is not None and owner.split("/")[-1] not in known[name]
