"""What the documents name exists; what they promise of the command line is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import names, storeys
from onggi.cli.commands.version import client_version
from onggi.cli.main import VERBS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Every path of ours in backticks leads to a file or a directory."""
    gone = [f"{line}: {words}" for line, words in names.ticked(page.read_text()) if names.missing_path(words, ROOT)]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_functions_that_a_page_names_exist(page: Path) -> None:
    """Every call in backticks is of a function that is defined where the page says."""
    known = names.definitions(storeys.sources(ROOT / "src" / "onggi"))
    gone = [
        f"{line}: {words}" for line, words in names.ticked(page.read_text()) if names.missing_function(words, known)
    ]
    assert gone == []


def test_the_checker_tells_ours_from_others() -> None:
    """A wrong path and a wrong function are found; man pages, commands and foreign paths are left alone."""
    known = {"build": {"plan"}, "Trace": {"trace"}}
    wrong = ["src/onggi/nothing.py", "kernel/nothing", "docs/nothing.md"]
    right = ["src/onggi/errors.py", "kernel/syscall", "kernel/", "/run/onggi/onggi.sock", "docker run", "proc/self"]
    assert [words for words in [*wrong, *right] if names.missing_path(words, ROOT)] == wrong
    wrong = ["destroy()", "steps.build()"]
    right = ["build()", "plan.build(spec, host)", "runtime/plan.build()", "execve(2)", "Trace", "a(b)c"]
    assert [words for words in [*wrong, *right] if names.missing_function(words, known)] == wrong


def test_every_verb_has_its_file_and_its_line() -> None:
    """`onggi --help`, the files of `commands` and docs/cli.md know the same verbs."""
    files = {path.stem for path in (ROOT / "src/onggi/cli/commands").glob("*.py")} - {"__init__"}
    page = (ROOT / "docs" / "cli.md").read_text()
    assert files == set(VERBS)
    assert [verb for verb in VERBS if f"`onggi {verb}" not in page] == []


def test_the_client_has_the_projects_version() -> None:
    """`onggi --version` says what pyproject.toml says."""
    assert f'version = "{client_version()}"' in (ROOT / "pyproject.toml").read_text()


def test_the_two_commands_come_first_in_the_readme() -> None:
    """Whoever opens the README sees how to run and how to test before anything else."""
    block = (ROOT / "README.md").read_text().split("```")[1]
    assert [line.split("#")[0].strip() for line in block.strip().splitlines()[1:]] == ["./onggi run hello", "./test"]
