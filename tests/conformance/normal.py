"""Output without what differs from run to run: ids, times, durations. Pure. Callers: test_conformance_docker, the recorder."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

_RULES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"/tmp/tmp\.\w+"), "TMP"),
    (re.compile(r"\b(Less than a second|About a minute|\d+ (seconds?|minutes?|hours?)|About an hour) ago"), "AGO"),
)
Outcome = dict[str, Any]


def run(script: str, host: str, words: list[str], descriptors: list[int], number: int) -> Outcome:
    """Run one script; `words` is a command that enters the engine's network namespace."""
    name = f"conform{number}"
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "DOCKER_HOST": host, "I": "busybox:test", "N": name}
    done = subprocess.run(
        [*words, "sh", "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        pass_fds=descriptors,
        check=False,
    )
    texts = (normal(stream.decode(errors="replace"), name) for stream in (done.stdout, done.stderr))
    return dict(zip(("out", "err", "status"), (*texts, done.returncode), strict=True))


def normal(text: str, name: str) -> str:
    """The text with names in place of what is another each time."""
    for pattern, word in _RULES:
        text = pattern.sub(word, text)
    return text.replace(name, "NAME")
