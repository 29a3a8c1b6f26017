"""Fixtures of the root ring: a launcher with containers of its own, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.jar import Jar
from harness.oci import Oci
from harness.probes import is_root, needs


@pytest.fixture(scope="module")
def jar() -> Iterator[Jar]:
    """A launcher for the tests of this file; everything of its containers is gone afterwards."""
    needs(is_root(), "root")
    made = Jar()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Oci]:
    """`onggi-oci` with a bundle, in a place of its own."""
    needs(is_root(), "root")
    made = Oci(tmp_path)
    yield made
    made.close()
