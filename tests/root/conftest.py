"""Fixtures of the root ring: a launcher with containers of its own, without an engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.jar import Jar
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
