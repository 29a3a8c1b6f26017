"""`onggi-oci` on a bundle of busybox, as a shell or a container manager runs it. Callers: the tests of `runc`, by the
fixture `oci`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from harness import plans
from harness.jar import SOURCE, make_root
from onggi.kernel.cgroup.detect import detect

PROGRAM = str(SOURCE.parent / "onggi-oci")
SECONDS = 20


class Oci:
    """The command, with a root for its states and one bundle."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.bundle = place / "bundle"
        self.bundle.mkdir()
        make_root(self.bundle / "rootfs")
        self.group = f"/onggi-oci-{os.getpid()}-{place.name}"
        self.words = [PROGRAM, "--root", str(place / "state")]

    def configure(self, *args: str, changes: dict[str, Any] | None = None) -> None:
        """Write the bundle's config.json."""
        document = plans.config(*args)
        document["root"]["path"] = "rootfs"
        document["linux"]["cgroupsPath"] = f"{self.group}/c"
        document["linux"]["sysctl"] = {}
        (self.bundle / "config.json").write_text(json.dumps(plans.changed(document, changes or {})))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        return subprocess.run([*self.words, *words], capture_output=True, text=True, timeout=SECONDS, check=False)

    def run(self, *args: str, changes: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """`run` of a container with these arguments."""
        self.configure(*args, changes=changes)
        return self("run", "--bundle", str(self.bundle), "c")

    def popen(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A command that goes on."""
        return subprocess.Popen([*self.words, *words], text=True, **options)

    def detached(self) -> None:
        """`run --detach`, which must succeed."""
        words = [*self.words, "run", "--detach", "--bundle", str(self.bundle), "c"]
        quiet = subprocess.DEVNULL
        subprocess.run(words, stdin=quiet, stdout=quiet, stderr=quiet, timeout=SECONDS, check=True)

    def give_to(self, owner: int) -> None:
        """Make the root directory belong to this id and group."""
        for place, directories, files in os.walk(self.bundle / "rootfs"):
            for name in (".", *directories, *files):
                os.lchown(os.path.join(place, name), owner, owner)

    def left(self) -> list[str]:
        """Groups and states that are there now."""
        groups = [d for d in detect().directories(f"{self.group}/c") if os.path.isdir(d)]
        states = [p.name for p in (self.place / "state").iterdir() if p.name != ".seccomp"]
        return groups + states

    def close(self) -> None:
        """Kill and remove what is in our groups."""
        layout = detect()
        if layout.exists(self.group):
            layout.kill(self.group)
            layout.remove(self.group)
