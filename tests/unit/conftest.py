"""The ring of unit tests: no process, no network. An audit hook refuses both while one of them runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

_REFUSED = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "socket.connect")
_watching = False


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in _REFUSED:
        raise AssertionError(f"a unit test did {event}: it belongs into tests/root")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def _no_effects() -> Iterator[None]:
    """Refuse processes and connections during the test."""
    global _watching
    _watching = True
    try:
        yield
    finally:
        _watching = False
