"""Containers of a test, by the API: made, started, looked at from the host. Callers: the tests `test_hold_*`."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import image
from harness.api import Answer, Api
from harness.engine import EngineProcess
from harness.leftovers import Leftovers

SECONDS = 20.0


def wait_until(holds: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Look again and again until `holds` gives something true; what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.005)
    return found


def wait_until_clean(engine: EngineProcess, before: Leftovers, seconds: float = SECONDS) -> None:
    """Wait until the machine has nothing of the engine's that it did not have `before`: the kernel takes links away late."""
    deadline = time.monotonic() + seconds
    while left := engine.leftovers().since(before):
        assert time.monotonic() < deadline, f"this is left: {left}"
        time.sleep(0.05)


def unframe(data: bytes) -> tuple[bytes, bytes]:
    """Standard output and error out of a framed stream; a frame that is cut off is an AssertionError."""
    found = {1: bytearray(), 2: bytearray()}
    while data:
        assert len(data) >= 8, f"a torn frame: {data!r}"
        stream, size = struct.unpack(">BxxxI", data[:8])
        assert len(data) >= 8 + size, f"{8 + size - len(data)} bytes of a frame are missing"
        found[stream] += data[8 : 8 + size]
        data = data[8 + size :]
    return bytes(found[1]), bytes(found[2])


def receive_all(connection: socket.socket) -> bytes:
    """Everything until the other end closes."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


class Box:
    """One container."""

    def __init__(self, api: Api, container_id: str) -> None:
        self.api = api
        self.id = container_id

    @classmethod
    def create(cls, api: Api, *command: str, host: dict[str, Any] | None = None, name: str = "", **config: Any) -> Box:
        """Make one of the busybox image; `config` has Docker's names."""
        body = {"Image": image.BUSYBOX, "Cmd": list(command), "HostConfig": host or {}, **config}
        made = api.ok("POST", f"/containers/create{f'?name={name}' if name else ''}", body)
        return cls(api, made["Id"])

    @classmethod
    def run(cls, api: Api, *command: str, host: dict[str, Any] | None = None, name: str = "", **config: Any) -> Box:
        """Make and start one."""
        return cls.create(api, *command, host=host, name=name, **config).start()

    def start(self) -> Box:
        """Start it."""
        self.api.ok("POST", f"/containers/{self.id}/start")
        return self

    def try_start(self) -> Answer:
        """Start it, whatever comes of it."""
        return self.api("POST", f"/containers/{self.id}/start")

    def wait(self, condition: str = "not-running", timeout: float = 30) -> int:
        """Its exit code, once it has ended."""
        answer = self.api.ok("POST", f"/containers/{self.id}/wait?condition={condition}", timeout=timeout)
        return int(answer["StatusCode"])

    def output(self, **options: str) -> tuple[str, str]:
        """What it wrote so far: standard output and error."""
        query = "&".join(f"{key}={value}" for key, value in {"stdout": "1", "stderr": "1", **options}.items())
        answer = self.api("GET", f"/containers/{self.id}/logs?{query}", timeout=60)
        assert answer.status == 200, answer.body
        out, err = unframe(answer.body)
        return out.decode(), err.decode()

    def says(self, text: str) -> Box:
        """Wait until it has written `text` to its standard output."""
        wait_until(lambda: text in self.output()[0], f"{self.id[:12]} has written {text!r}")
        return self

    def inspect(self) -> dict[str, Any]:
        """All about it."""
        found: dict[str, Any] = self.api.ok("GET", f"/containers/{self.id}/json")
        return found

    @property
    def state(self) -> dict[str, Any]:
        """Its `State`."""
        found: dict[str, Any] = self.inspect()["State"]
        return found

    @property
    def pid(self) -> int:
        """Of its first process, on the host."""
        return int(self.state["Pid"])

    @property
    def keeper(self) -> int:
        """The pid of its keeper: the parent of its first process."""
        return int(status_of(self.pid)["PPid"])

    def processes(self) -> list[int]:
        """The pids of all its processes, on the host, by their cgroup."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.id in (process / "cgroup").read_text():
                    found.append(int(process.name))
            except OSError:  # it ended while we looked
                continue
        return sorted(found)

    def wait_gone(self) -> None:
        """Wait until the engine does not know it any more."""
        wait_until(lambda: self.api("GET", f"/containers/{self.id}/json").status == 404, f"{self.id[:12]} is removed")

    def wait_empty(self) -> None:
        """Wait until no process is in its cgroup."""
        wait_until(lambda: not self.processes(), f"{self.id[:12]} has no process")

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal."""
        self.api.ok("POST", f"/containers/{self.id}/kill?signal={signal}")

    def remove(self, *, force: bool = True) -> None:
        """Remove it."""
        self.api.ok("DELETE", f"/containers/{self.id}?force={int(force)}")

    def attach(self, query: str = "stream=1&stdout=1&stderr=1") -> socket.socket:
        """A hijacked connection, its header read: what comes now are the container's bytes."""
        connection = self.api.connect()
        words = f"POST /containers/{self.id}/attach?{query} HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(f"{words}Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            assert byte, f"the connection ended in the header: {head!r}"
            head += byte
        assert head.startswith(b"HTTP/1.1 101 "), head
        return connection


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def namespaces_of(pid: int | str) -> dict[str, str]:
    """Kind to identity of every namespace of a process."""
    directory = Path(f"/proc/{pid}/ns")
    return {name: os.readlink(directory / name) for name in os.listdir(directory) if "for_children" not in name}


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return status_of(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def follow(connection: socket.socket) -> Iterator[bytes]:
    """Pieces as they come."""
    while piece := connection.recv(1 << 16):
        yield piece
