"""A network namespace for an engine under test: nothing of a test ever reaches the machine's own.

It lives as long as its descriptor, so an engine in it can be killed and started again. Caller: `conftest`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Sequence

from onggi.kernel.flags import Clone
from onggi.kernel.process import setns


class NetworkNamespace:
    """A fresh namespace with its loopback up."""

    def __init__(self) -> None:
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.read(1)  # `cat` has answered, so `unshare` has done its part
        self.descriptor = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        holder.communicate()
        self.run("ip", "link", "set", "lo", "up")

    @property
    def descriptors(self) -> list[int]:
        """What a process in here must inherit."""
        return [self.descriptor]

    def words(self, *command: str) -> list[str]:
        """The command line that runs `command` in here; the process needs `descriptors` passed on."""
        return ["nsenter", f"--net=/proc/self/fd/{self.descriptor}", *command]

    def popen(self, command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """Start `command` in here."""
        return subprocess.Popen(self.words(*command), pass_fds=self.descriptors, **options)  # type: ignore[call-overload, no-any-return]

    def listen(self, port: int = 0) -> socket.socket:
        """A socket that listens on the loopback in here; this process stays where it is."""
        made: list[socket.socket] = []

        def work() -> None:
            setns(self.descriptor, Clone.NEWNET)  # of this thread alone, which ends with that
            made.append(socket.create_server(("127.0.0.1", port), backlog=64))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]

    def run(self, *command: str, timeout: float = 30) -> str:
        """Run `command` in here to its end and return its output; CalledProcessError when it fails."""
        done = subprocess.run(
            self.words(*command),
            pass_fds=self.descriptors,
            check=True,
            capture_output=True,
            timeout=timeout,
            text=True,
        )
        return done.stdout

    def close(self) -> None:
        """Let it go, with every link and rule in it."""
        os.close(self.descriptor)
