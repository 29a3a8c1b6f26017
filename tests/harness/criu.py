"""CRIU on this machine, found out by trying; and a peer that answers as CRIU would, or in ways that CRIU would not.

Which CRIU it is, PATH says: `PATH=/opt/criu/bin:$PATH ./test tests/root/test_runc_checkpoint.py`.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.jar import SOURCE

SECONDS = 60


@functools.cache
def works() -> bool:
    """Whether CRIU can dump a process of ours and restore it on this kernel, both by its own command line."""
    if os.geteuid() or not shutil.which("criu"):
        return False
    with tempfile.TemporaryDirectory() as images:
        running = subprocess.Popen(
            ["sleep", "1000"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        dumped = _criu("dump", "-D", images, "-t", str(running.pid))
        running.kill()
        running.wait()
        pid = Path(images, "pid")
        restored = dumped and _criu("restore", "-D", images, "-d", "--pidfile", str(pid))
        if pid.exists():
            os.kill(int(pid.read_text()), 9)
        return restored


def _criu(*words: str) -> bool:
    done = subprocess.run(["criu", *words], capture_output=True, timeout=SECONDS, check=False)
    return done.returncode == 0


def fake(directory: Path, body: str) -> dict[str, str]:
    """An environment in which `criu` is a Python program of these lines, with this at hand:

    hear()          the next request, as a dict      say(kind, **fields)     an answer
    end             the socket                       version(4, 1, 1)        answers the request for it
    log(text)       appends to the log file that the last request named
    """
    directory.mkdir(exist_ok=True)
    program = directory / "criu"
    program.write_text(f"#!{sys.executable} -IS\n" + _FAKE.format(source=str(SOURCE)) + body)
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


_FAKE = """
import os, signal, socket, sys
sys.path.insert(0, {source!r})
from onggi.wire import criu, protobuf
end = socket.socket(fileno=int(sys.argv[2]))
parent = os.getppid()
last = {{}}
def hear():
    last.clear()
    last.update(protobuf.decode(criu._REQUEST, end.recv(1 << 20)))
    return last
def say(kind, **fields):
    end.send(protobuf.encode(criu._ANSWER, {{"type": kind, **fields}}))
def version(*numbers):
    assert hear()["type"] == criu.VERSION
    say(criu.VERSION, success=True, version=dict(zip(("major_number", "minor_number", "sublevel"), numbers)))
def log(text):
    options = last["opts"]
    place = options.get("work_dir_fd", options["images_dir_fd"])
    with open(f"/proc/{{parent}}/fd/{{place}}/" + options["log_file"], "a") as file:
        file.write(text + "\\n")
"""
