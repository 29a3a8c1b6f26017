"""An engine under test: `python -m onggi.daemon` in a network namespace and below scratch directories of its own.

```
 /dev/shm/og-XXXXXX/   s (socket)  data/  run/  pid  log
```
The names are short because a socket's path has 107 bytes. Caller: `conftest`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import image, leftovers
from harness.api import Api
from harness.namespace import NetworkNamespace

SOURCE = Path(__file__).parents[2] / "src"
START_SECONDS = 20
END_SECONDS = 20


class EngineProcess:
    """One engine and its place; it can be killed and started again without losing its containers."""

    def __init__(self, *options: str, network: NetworkNamespace | None = None) -> None:
        scratch = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = tempfile.mkdtemp(prefix="og-", dir=scratch)
        os.chmod(self.root, 0o755)  # `user` processes of a container walk through here
        self.network = network or NetworkNamespace()
        self._owns_network = network is None
        self.socket = f"{self.root}/s"
        self.host = f"unix://{self.socket}"
        self.data_root = f"{self.root}/data"
        self.exec_root = f"{self.root}/run"
        self.pidfile = f"{self.root}/pid"
        self.options = options
        self.api = Api(self.socket)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> EngineProcess:
        """Start it and wait until it listens; an AssertionError carries its log."""
        ready, ready_for_engine = os.pipe()
        program = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from onggi.daemon import main; sys.exit(main())"
        places = ["--data-root", self.data_root, "--exec-root", self.exec_root, "--pidfile", self.pidfile]
        command = [sys.executable, "-I", "-c", program, "-H", self.host, *places, *self.options]
        with open(f"{self.root}/log", "ab") as log:
            self.process = subprocess.Popen(
                self.network.words(*command),
                pass_fds=[*self.network.descriptors, ready_for_engine],
                env={**os.environ, "ONGGI_READY_FD": str(ready_for_engine)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        os.close(ready_for_engine)
        heard = select.select([ready], [], [], START_SECONDS)[0] and os.read(ready, 1)
        os.close(ready)
        assert heard, f"the engine did not say that it listens:\n{self.log()}"
        return self

    def log(self) -> str:
        """What it has written so far."""
        return Path(self.root, "log").read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to the engine alone: its containers go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def wait_for_workers(self, seconds: float = 20) -> None:
        """Wait until nobody adds to its store any more: the workers of a killed engine end too."""
        deadline = time.monotonic() + seconds
        with open(f"{self.data_root}/writers.lock", "a") as lock:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                assert time.monotonic() < deadline, "a worker is still at the store"
                select.select([], [], [], 0.02)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(END_SECONDS)
        self.process = None
        return status

    def leftovers(self) -> leftovers.Leftovers:
        """What it has on the machine now."""
        return leftovers.count(self.root, self.instance, self.network)

    @property
    def instance(self) -> str:
        """The name that its links, cgroups and tables carry (docs/architecture.md)."""
        return "onggi-" + hashlib.sha256(self.data_root.encode()).hexdigest()[:8]

    def load_busybox(self) -> str:
        """Load the busybox image; its name."""
        assert self.api.load(image.busybox_archive()) == [image.BUSYBOX]
        return image.BUSYBOX

    def remove_containers(self) -> None:
        """Remove every container by force."""
        for container in self.api.ok("GET", "/containers/json?all=1"):
            self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def close(self) -> None:
        """End everything, containers first, and take the directories away."""
        try:
            if self.process is not None and self.process.poll() is None:
                with contextlib.suppress(OSError):  # an engine that no longer answers has been judged by its test
                    self.remove_containers()
                self.stop()
        finally:
            if self.process is not None:
                self.kill()
            if self._owns_network:
                self.network.close()
            leftovers.remove_group(self.instance)
            shutil.rmtree(self.root, ignore_errors=True)
