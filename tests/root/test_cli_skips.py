"""The rule about skips: with CI=true only a probe may skip a test. Tried on pytest itself, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SKIPS = {
    "justified": "from harness.probes import needs\ndef test_it():\n    needs(False, 'time machine')\n",
    "lazy": "import pytest\ndef test_it():\n    pytest.skip('not today')\n",
    "marked": "import pytest\n@pytest.mark.skip(reason='later')\ndef test_it():\n    pass\n",
    "whole": "import pytest\npytest.importorskip('no_such_module')\ndef test_it():\n    pass\n",
    "expected": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it():\n    assert False\n",
}


@pytest.mark.parametrize(
    ("kind", "ci", "passes"),
    [
        ("justified", "true", True),
        ("lazy", "true", False),
        ("marked", "true", False),
        ("whole", "true", False),
        ("expected", "true", True),
        ("lazy", "", True),
    ],
)
def test_only_a_probe_justifies_a_skip(tmp_path: Path, kind: str, ci: str, passes: bool) -> None:
    """A skip without a probe's reason fails the run when CI=true, and only then."""
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_skip.py").write_text(SKIPS[kind])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) is passes, done.stdout
