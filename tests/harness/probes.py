"""What this machine can do, found out by trying. Only a probe justifies a skip: see `conftest`."""

from __future__ import annotations

import os

import pytest

REASON = "probe: "
"""How the reason of a justified skip begins."""


def needs(able: bool, what: str) -> None:
    """Skip the test when a probe has shown that the machine cannot do `what`."""
    if not able:
        pytest.skip(f"{REASON}this machine has no {what}")


def is_root() -> bool:
    """Whether these tests may make namespaces and mounts at all."""
    return os.geteuid() == 0
