"""A real registry (Debian's docker-registry) for one test file: its own port, its own storage, with TLS, passwords or tokens.

It listens on this machine's loopback, or inside a network namespace beside an engine. Callers: tests of `registry/` and pulls.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.namespace import NetworkNamespace

USER, PASSWORD = "kim", "s3cret:with/colon"
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuDpYaRNhm.n6XjxTJ5c5lxtzPAPQ84Oy\n"
"""The line that `htpasswd -nbB` would write."""
_START_SECONDS = 20


class Registry:
    """One registry; `address` is the host and port that go before an image's name."""

    def __init__(
        self,
        *,
        network: NetworkNamespace | None = None,
        port: int = 0,
        tls: bool = False,
        password: bool = False,
        token: Mapping[str, str] | None = None,
    ) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="reg-", dir="/dev/shm"))
        self._network = network
        self.port = port or free_port()
        self.address = f"localhost:{self.port}"
        self.certificate = self.root / "ca.crt"
        document: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.root / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{self.port}", "relativeurls": True},
        }
        if tls:
            make_certificate(self.certificate, self.root / "key.pem")
            document["http"] |= {"tls": {"certificate": str(self.certificate), "key": str(self.root / "key.pem")}}
        if password:
            (self.root / "htpasswd").write_text(_HTPASSWD)
            document["auth"] = {"htpasswd": {"realm": "test", "path": str(self.root / "htpasswd")}}
        if token:
            document["auth"] = {"token": dict(token)}
        self.config = self.root / "config.json"  # JSON is YAML
        self.config.write_text(json.dumps(document))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Registry:
        """Start it and wait until it listens."""
        program = shutil.which("docker-registry")
        assert program, "docker-registry is missing: run the tests through ./test"
        words = [program, "serve", str(self.config)]
        with open(self.root / "log", "ab") as log:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "env": {}}
            if self._network is not None:
                options["env"] = {"PATH": os.environ["PATH"]}
                self.process = self._network.popen(words, **options)
            else:
                self.process = subprocess.Popen(words, **options)
        deadline = time.monotonic() + _START_SECONDS
        while b"listening on" not in (self.root / "log").read_bytes():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)
        return self

    def stop(self) -> None:
        """End it; what it has stays."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def log(self) -> str:
        """What it has said."""
        return (self.root / "log").read_text(errors="replace")

    def close(self) -> None:
        """End it and remove what it has."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificate(certificate: Path, key: Path, name: str = "localhost") -> None:
    """A certificate that is its own authority, and its key."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = f"subjectAltName=DNS:{name},IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "3650", "-subj", f"/CN={name}", "-addext", names]
    subprocess.run([*words, *files], check=True, capture_output=True)
