"""A running engine of somebody else's, so that tests can be tested: `ONGGI_TEST_PEER=unix:///run/docker.sock ./test …`.

It has the part of `EngineProcess` that clients need. Caller: `conftest`.
"""

from __future__ import annotations

import subprocess

from harness import image
from harness.api import Api


class Here:
    """No namespace of its own: commands run where the tests run."""

    descriptors: list[int] = []  # noqa: RUF012

    def words(self, *command: str) -> list[str]:
        """The command itself."""
        return list(command)

    def run(self, *command: str, timeout: float = 30) -> str:
        """Run `command` to its end and return its output."""
        return subprocess.run(command, check=True, capture_output=True, timeout=timeout, text=True).stdout


class Peer:
    """An engine that was there before the tests and stays after them."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.socket = host.removeprefix("unix://")
        self.api = Api(self.socket)
        self.network = Here()
        self._before = {container["Id"] for container in self.api.ok("GET", "/containers/json?all=1")}

    def load_busybox(self) -> str:
        """Load the busybox image; its name."""
        assert self.api.load(image.busybox_archive()) == [image.BUSYBOX]
        return image.BUSYBOX

    def close(self) -> None:
        """Remove the containers that the tests made."""
        for container in self.api.ok("GET", "/containers/json?all=1"):
            if container["Id"] not in self._before:
                self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")
