"""Imports go down a storey, never up, sideways or round (docs/architecture.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import storeys

ROOT = Path(__file__).parents[2] / "src" / "onggi"


def test_no_import_goes_up_or_sideways() -> None:
    """Every import of the sources goes down a storey."""
    assert storeys.wrong_edges(storeys.sources(ROOT)) == []


def test_no_modules_import_each_other_in_a_round() -> None:
    """The sources have no cycle of imports, not even through a function's own import."""
    assert storeys.cycles(storeys.sources(ROOT)) == []


def test_all_sources_are_read() -> None:
    """The walk finds the files it is meant to judge."""
    found = storeys.sources(ROOT)
    assert {"onggi", "onggi.errors", "onggi.kernel.syscall", "onggi.cli.commands.run"} <= set(found)


def test_every_package_has_a_storey() -> None:
    """A new package has to be given its place in the table."""
    packages = {name.split(".")[1] for name in storeys.sources(ROOT) if "." in name}
    assert packages <= set(storeys.STOREYS)


def test_packages_hold_a_docstring_only() -> None:
    """An `__init__.py` runs nothing: who imports one module pays for that one only."""
    bodies = {path: path.read_text(encoding="utf-8").strip() for path in ROOT.rglob("__init__.py")}
    assert [str(path) for path, text in bodies.items() if not (text.startswith('"""') and text.count('"""') == 2)] == []


@pytest.mark.parametrize("word", ["utils", "util", "common", "helpers", "helper", "misc", "manager"])
def test_no_file_has_a_name_that_says_nothing(word: str) -> None:
    """A file is called by what it is about."""
    assert list(ROOT.rglob(f"{word}.py")) == []


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("onggi.kernel.a", "import onggi.engine.b", "up"),
        ("onggi.kernel.a", "from onggi.engine import b", "up"),
        ("onggi.kernel.a", "def f():\n    from onggi.engine import b", "up"),
        ("onggi.kernel.a", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import onggi.engine.b", "up"),
        ("onggi.kernel.a", "from onggi.oci import c", "sideways"),
        ("onggi.runtime.a", "from onggi.store import c", "sideways"),
        ("onggi.glass.a", "from onggi.api import c", "sideways"),
        ("onggi.engine.a", "from onggi.daemon import main", "up"),
        ("onggi.errors", "from onggi.kernel import syscall", "up"),
        ("onggi.cli.a", "from onggi.engine import b", "cli uses only errors and wire"),
        ("onggi.cli.a", "from onggi import engine", "cli uses only errors and wire"),
        ("onggi.cli.a", "from . import b", "a relative import"),
        ("onggi.cli.a", "from ..engine import b", "a relative import"),
        ("onggi.kernel.a", "import onggi.cellar.b", "`cellar` has no storey"),
    ],
)
def test_the_checker_catches_a_wrong_edge(module: str, line: str, fault: str) -> None:
    """Each way to write a wrong import is found, with its line and its fault."""
    known = dict.fromkeys(["onggi", "onggi.engine", "onggi.engine.b", "onggi.kernel.syscall", "onggi.daemon"], "")
    found = storeys.wrong_edges(known | {module: line})
    assert len(found) == 1
    assert found[0].startswith(f"{module}:{line.count(chr(10)) + 1} ")
    assert found[0].endswith(": " + fault)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("onggi.engine.a", "from onggi.runtime import plan"),
        ("onggi.runtime.a", "from onggi.kernel.syscall import bind"),
        ("onggi.runtime.a", "from onggi.runtime import plan"),
        ("onggi.cli.a", "from onggi.errors import Invalid"),
        ("onggi.daemon", "from onggi.api import server"),
        ("onggi.kernel.a", "import os\nfrom collections import abc"),
    ],
)
def test_the_checker_passes_a_right_edge(module: str, line: str) -> None:
    """An import that goes down, or stays in its package, or leaves the project, is no fault."""
    assert storeys.wrong_edges({module: line}) == []


def test_the_checker_catches_a_round() -> None:
    """a → b → c → a is found although one of the imports hides in a function."""
    modules = {
        "onggi.engine.a": "from onggi.engine import b",
        "onggi.engine.b": "def f():\n    import onggi.engine.c",
        "onggi.engine.c": "from onggi.engine.a import x",
        "onggi.engine.d": "from onggi.engine import a",
    }
    assert storeys.cycles(modules) == [["onggi.engine.a", "onggi.engine.b", "onggi.engine.c"]]
