"""The scripts of commands.txt: reading them, running one, and taking out of its output what differs from run to run.

Caller: test_conformance_docker.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from harness import image

COMMANDS = Path(__file__).with_name("commands.txt")
EXPECTED = Path(__file__).with_name("expected.json")
Outcome = dict[str, Any]
_RULES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"/tmp/tmp\.\w+"), "TMP"),
    (re.compile(r"Range of CPUs is from .*"), "Range of CPUs"),
    (re.compile(r"available: [\d,-]+"), "available: SOME"),
)


def read() -> dict[str, str]:
    """Name to script."""
    found: dict[str, str] = {}
    name = ""
    for line in COMMANDS.read_text().splitlines():
        if line.startswith("== "):
            name = line[3:]
            found[name] = ""
        elif name:
            found[name] += line + "\n"
    return found


def run(script: str, host: str, words: list[str], descriptors: list[int], name: str) -> Outcome:
    """Run one script against the engine at `host`; `words` lead a command into the engine's network namespace."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": host}
    done = subprocess.run(
        [*words, "sh", "-c", script],
        env=environment | {"I": image.BUSYBOX, "N": name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        pass_fds=descriptors,
        check=False,
    )
    out, err = (normal(stream.decode(errors="replace"), name) for stream in (done.stdout, done.stderr))
    return {"out": out, "err": err, "status": done.returncode}


def normal(text: str, name: str) -> str:
    """The text with words in place of what is another each time."""
    for pattern, word in _RULES:
        text = pattern.sub(word, text)
    return text.replace(name, "NAME")
