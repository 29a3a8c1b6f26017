"""The file of modules that are loaded together: made when it is missing, left alone when it is right, never trusted blindly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command from a copy of the sources."""
    start = str(place / "onggi/runc/start.py")
    return subprocess.run(
        [sys.executable, "-I", "-S", start, *words], capture_output=True, text=True, timeout=20, check=False
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the sources, with nothing compiled."""
    shutil.copytree(SOURCE / "onggi", tmp_path / "onggi", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def kept(place: Path) -> Path:
    """The file."""
    return place / f"onggi/runc/__pycache__/ahead.{sys.implementation.cache_tag}.bin"


def test_the_first_use_makes_it_and_the_next_takes_it(place: Path) -> None:
    """Made once; the second run writes nothing."""
    assert run(place, "features").returncode == 0
    first = kept(place).stat()
    again = run(place, "features")
    assert (again.returncode, again.stderr) == (0, "")
    assert kept(place).stat().st_ino == first.st_ino


def test_a_source_that_has_changed_is_loaded_anew(place: Path) -> None:
    """What runs is what the source says now."""
    run(place, "--version")
    versions = place / "onggi/wire/versions.py"
    text = versions.read_text()
    versions.write_text(text + '\nONGGI = "of today"\n')
    assert "of today" in run(place, "--version").stdout
    assert "of today" in run(place, "--version").stdout


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 70000])
def test_a_file_that_is_broken_does_no_harm(place: Path, content: bytes) -> None:
    """It is made anew."""
    run(place, "--version")
    kept(place).write_bytes(content)
    assert run(place, "--version").returncode == 0
    assert kept(place).read_bytes() != content


def test_a_place_that_cannot_be_written_costs_only_time(place: Path) -> None:
    """No file, no complaint: a directory has its name."""
    kept(place).mkdir(parents=True)
    done = run(place, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.path.isdir(kept(place))
