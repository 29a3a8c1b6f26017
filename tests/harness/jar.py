"""Containers straight from the launcher, without an engine: the runtime under test.

A `Jar` has a launcher, a busybox root as the only layer, and directories below one scratch directory; each container has
a cgroup below the jar's own. Caller: the tests of `runtime` in tests/root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import image, plans
from onggi.errors import OnggiError, from_fields
from onggi.kernel.cgroup.detect import detect
from onggi.runtime.log import read_frames

SOURCE = Path(__file__).parents[2] / "src"
SECONDS = 20.0
Json = dict[str, Any]


class Running:
    """A container that was started: its facts, its end, its output."""

    def __init__(self, control: socket.socket, document: Json) -> None:
        self.control = control
        self.document = document
        self.facts: Json = {}
        self._exit: Json | None = None
        self._number = 0

    def hear(self) -> Json:
        """The next message of the keeper; EOFError when it is gone without one."""
        data = self.control.recv(1 << 20)
        if not data:
            raise EOFError("the keeper is gone")
        message: Json = json.loads(data)
        if "exited" in message:
            self._exit = message["exited"]
        return message

    @property
    def pid(self) -> int:
        """Its first process, as the host sees it."""
        pid: int = self.facts["pid"]
        return pid

    def wait(self) -> Json:
        """The exit record."""
        while self._exit is None:
            self.hear()
        return self._exit

    def output(self) -> str:
        """Everything that it wrote, once it has ended."""
        with open(self.document["log"], "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return b"".join(frame.data for frame in read_frames(file.fileno(), 0, size)).decode()

    def ask(self, op: str, **arguments: object) -> None:
        """One operation of the keeper's control protocol."""
        self._number += 1
        self.control.send(json.dumps({"n": self._number, "op": op, **arguments}).encode())

    def close(self) -> None:
        """Kill it if it runs, and let the keeper go."""
        if self.facts and self._exit is None:
            with contextlib.suppress(OSError, EOFError):  # it, or its keeper, is gone already
                self.ask("signal", signal=9)
                self.wait()
        self.control.close()


class Jar:
    """A launcher and what its containers need."""

    def __init__(self, *, interpreter: str = sys.executable) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="jar-", dir="/dev/shm"))
        self.root.chmod(0o755)
        self.interpreter = interpreter
        self.group = f"/onggi-{self.root.name}"
        self.layout = detect()
        self.lower = self.root / "lower"
        make_root(self.lower)
        self.launcher: subprocess.Popen[bytes] | None = None
        self._engine: socket.socket | None = None
        self._running: list[Running] = []
        self._count = 0

    def document(self, *args: str, changes: Mapping[str, Any] | None = None) -> Json:
        """A request for a container of its own; `changes` by path, as `plans.changed` takes them."""
        self._count += 1
        name = f"c{self._count}"
        place = self.root / name
        for directory in ("run", "rootfs", "upper", "work"):
            (place / directory).mkdir(parents=True)
        base = plans.request_document(*args)
        base |= {
            "id": name,
            "run_dir": f"{place}/run",
            "rootfs": f"{place}/rootfs",
            "log": f"{place}/log",
            "seccomp": "",
        }
        base["overlay"] = {"lowers": [str(self.lower)], "upper": f"{place}/upper", "work": f"{place}/work"}
        base["config"]["root"]["path"] = f"{place}/rootfs"
        base["config"]["linux"]["cgroupsPath"] = f"{self.group}/{name}"
        base["config"]["linux"]["sysctl"] = {}
        return plans.changed(base, dict(changes or {}))

    def start(self, document: Json) -> Running:
        """Start it; the `OnggiError` of the runtime when it does not start."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(SECONDS)
        memory = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            os.write(memory, json.dumps(document).encode())
            socket.send_fds(self._socket(), [b"start"], [memory, theirs.fileno()])
        finally:
            os.close(memory)
            theirs.close()
        running = Running(ours, document)
        self._running.append(running)
        message = running.hear()
        if "failed" in message:
            raise from_fields(message["failed"])
        running.facts = message["started"]
        return running

    def shell(self, script: str, changes: Mapping[str, Any] | None = None) -> str:
        """What a shell script writes in a container, both streams; AssertionError when it fails."""
        running = self.start(self.document("/bin/sh", "-c", script, changes=changes))
        code = running.wait()["code"]
        assert code == 0, f"{script!r} ended with {code}: {running.output()}"
        return running.output()

    def failure(self, *args: str, changes: Mapping[str, Any] | None = None) -> OnggiError:
        """Why a container does not start; AssertionError when it does."""
        try:
            self.start(self.document(*args, changes=changes))
        except OnggiError as error:
            return error
        raise AssertionError("it started")

    def _socket(self) -> socket.socket:
        if self._engine is None:
            self._engine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._engine.settimeout(SECONDS)
            with theirs:
                code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from onggi.runtime.launch import main; main()"
                command = [self.interpreter, "-I", "-S", "-c", code, str(theirs.fileno()), "enclose"]
                self.launcher = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
            assert self._engine.recv(64), "the launcher did not start"
        return self._engine

    def traces(self) -> set[str]:
        """What containers of this jar have on the machine now: groups, mounts, processes."""
        found = {d for d in self.layout.directories(self.group) if os.path.isdir(d)}
        found = {str(p) for d in found for p in Path(d).iterdir() if p.is_dir()}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended while we looked
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and f"{self.group}/" in (process / "cgroup").read_text():
                    found.add(f"process {process.name}")
        return found | {line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.root) in line}

    def close(self) -> None:
        """End everything and take the directories away."""
        for running in self._running:
            running.close()
        if self._engine:
            self._engine.close()
        if self.launcher:
            self.launcher.wait(SECONDS)
        with contextlib.suppress(OSError):  # no container, no group
            self.layout.kill(self.group)
            self.layout.remove(self.group)
        shutil.rmtree(self.root, ignore_errors=True)


def make_root(place: Path) -> None:
    """A root directory with busybox, its applets and the few directories that every image has."""
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"):
        (place / name).mkdir(parents=True)
    shutil.copy(image.busybox_path(), place / "bin/busybox")
    for applet in image.applets():
        if applet != "busybox":
            (place / "bin" / applet).symlink_to("busybox")
    (place / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwho:x:1234:1234::/home/who:/bin/sh\n")
    (place / "etc/group").write_text("root:x:0:\nwho:x:1234:\nextra:x:4321:who\n")
