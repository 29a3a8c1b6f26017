"""Our own command, run as `./onggi` runs it; with pipes, or on a terminal of its own. Caller: `conftest`."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

START = Path(__file__).parents[2] / "src" / "onggi" / "cli" / "start.py"


class Onggi:
    """Calls of the command with `--host` set; an empty host leaves it to find its engine."""

    def __init__(self, host: str = "", environment: dict[str, str] | None = None) -> None:
        self.host = host
        self.environment = {"PATH": os.environ["PATH"], "HOME": "/root", **(environment or {})}

    def words(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-I", "-S", str(START), *(["-H", self.host] if self.host else []), *words]

    def __call__(
        self, *words: str, input: str | None = None, timeout: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; AssertionError on another exit status than 0, if `check`."""
        done = subprocess.run(
            self.words(*words),
            env=self.environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"onggi {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start it with pipes on all sides."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.words(*words), env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def on_terminal(self, *words: str, rows: int = 24, columns: int = 80) -> Terminal:
        """Start it on a terminal of its own."""
        return Terminal(self.words(*words), self.environment, rows, columns)


class Terminal:
    """A command on a pseudo-terminal: what it shows, what is typed, how large the window is."""

    def __init__(self, command: list[str], environment: dict[str, str], rows: int, columns: int) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            command, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        self._slave = slave  # kept open, so that the terminal's mode can be read after the command has ended

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size; the kernel tells nobody but the foreground group, so that is done here too."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type on it."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, timeout: float = 20) -> str:
        """Read until `text` has been shown; everything shown so far."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"`{text}` was not shown, but {self.shown!r}"
            self._read(left)
        return self.shown

    def wait(self, timeout: float = 20) -> int:
        """Read to the end of the command; its exit status."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end; it showed {self.shown!r}"
            self._read(0.05)
        self._read(0)
        return self.process.returncode

    def _read(self, seconds: float) -> None:
        if select.select([self._master], [], [], seconds)[0]:
            self.shown += os.read(self._master, 65536).decode(errors="replace")

    def mode(self) -> list[object]:
        """The terminal's mode now, to be compared with `before`."""
        return list(termios.tcgetattr(self._slave))

    def close(self) -> None:
        """Hang up."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)
