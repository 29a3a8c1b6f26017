"""How `onggi-oci` tells what went wrong: to people on stderr, to container managers in the file of `--log`.

A manager reads lines as logrus writes them. Imported only when there is something to tell. Callers: `main`, `create`.
"""

from __future__ import annotations

import json
import os
import sys
import time

from onggi.errors import OnggiError
from onggi.runc.words import Options
from onggi.trace import Trace


def complain(error: OnggiError, options: Options) -> None:
    """An error: the end of the command."""
    text = f"{error}" + (f"\nhint: {error.hint}" if error.hint else "")
    sys.stderr.write(f"onggi-oci: {text}\n")
    if options.get("log"):
        write("error", str(error), options)


def warn(text: str, options: Options) -> None:
    """Something that the caller should know, while the command goes on."""
    if options.get("log"):
        write("warning", text, options)
    else:
        sys.stderr.write(f"onggi-oci: warning: {text}\n")


def debug(text: str, options: Options) -> None:
    """With `--debug`: what is being done."""
    if not options.has("debug"):
        return
    if options.get("log"):
        write("debug", text, options)
    else:
        sys.stderr.write(line("debug", text, options.get("log-format")) + "\n")


def debug_trace(trace: Trace, options: Options) -> None:
    """With `--debug`: every step that was done, how long it took, and what went wrong."""
    for event in trace.events:
        took = f"{event.step} ({event.lasted / 1e6:.1f} ms)"
        debug(took + (f": {event.error}" if event.error else ""), options)


def write(level: str, text: str, options: Options) -> None:
    """One line to the log; a log that cannot be written is told on stderr, and ends nothing."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(options.get("log"), flags, 0o644)
        try:
            os.write(descriptor, (line(level, text, options.get("log-format")) + "\n").encode())
        finally:
            os.close(descriptor)
    except OSError as failed:
        sys.stderr.write(f"onggi-oci: write log `{options.get('log')}`: {failed}\n")


def line(level: str, text: str, style: str) -> str:
    """One entry as logrus formats it, `json` or text."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if style == "json":
        return json.dumps({"level": level, "msg": text, "time": now})
    return f'time="{now}" level={level} msg={json.dumps(text, ensure_ascii=False)}'
