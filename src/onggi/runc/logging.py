"""How `onggi-oci` tells what went wrong: to people on stderr, to container managers in the file of `--log`.

A manager reads lines as logrus writes them: containerd takes the last error of the log, conmon and podman look for words in
it, dockerd makes exit codes 126 and 127 of *permission denied*, *executable file not found* and *no such file or directory*.
So what hinders a program's start is worded as runc words it. Imported only when there is something to tell. Callers: `main`,
`create`.
"""

from __future__ import annotations

import json
import os
import sys
import time

from onggi.errors import OnggiError
from onggi.runc.words import Options, log_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_SEALED = (
    "what is `runc exeseal: using overlayfs for sealed /proc/self/exe` or `runc exeseal: using /proc/self/exe clone` for "
    "runc: the interpreter is executed from a read-only mount of its own"
)
"""Who looks in runc's debug output how it is kept from being overwritten finds our answer."""


_LANDMARKS = {
    "init": ("nsexec container setup: the init is in its namespaces", "child process in init()"),
    "joiner": ("nsexec container setup: the joiner is on its way into the container's namespaces",),
    "process": ("child process in init(): it is born in the container",),
}
"""What runc says when such a process begins."""
_LAST = {"init": "init: closing the pipe to signal completion", "process": "setns_init: about to exec"}


def complain(error: OnggiError, options: Options, command: str) -> None:
    """An error: the end of the command."""
    text = worded(error, command)
    hint = f"\nhint: {error.hint}" if error.hint else ""
    sys.stderr.write(f"{text}\n" if error.facts.get("call") == "execve" else f"onggi-oci: {text}{hint}\n")
    if log_file(options):
        which = "exec" if command == "exec" else f"onggi-oci {command}"  # docker puts its own words before it
        write("error", f"{which} failed: {text}" if command and not text.startswith("runc ") else text, options)


def worded(error: OnggiError, command: str = "run") -> str:
    """The error in the words that callers of runc know: for a program that cannot be executed, and for a mount."""
    if "mount" in error.facts:
        source, destination = error.facts["mount"]
        reason = os.strerror(error.facts["errno"])
        return (
            f"runc {command} failed: unable to start container process: error during container init: "
            f'error mounting "{source}" to rootfs at "{destination}": {error.cause.replace(reason, reason.lower())}'
        )
    if not error.code.startswith("exec."):
        return str(error)
    command, reason = error.facts["command"], error.facts["reason"]
    if error.facts.get("call") == "execve":  # by then the runtime is gone, for runc: the program's last words
        return f"exec {command}: {reason}"
    return f'unable to start container process: exec: "{command}": {reason}'


def warn(text: str, options: Options) -> None:
    """Something that the caller should know, while the command goes on."""
    if log_file(options):
        write("warning", text, options)
    else:
        sys.stderr.write(f"onggi-oci: warning: {text}\n")


def tell(rows: list[list[Any]], options: Options) -> None:
    """With `--debug`: every step that was done. Who knows runc's debug output finds its landmarks."""
    before = ""
    debug(_SEALED, options)
    for who, step, _, lasted, error, *_ in rows:
        for landmark in _LANDMARKS.get(who, ()) if who != before else ():
            debug(landmark, options)
        before = who
        debug(f"{who}: {step}" + (f": {error}" if error else f" ({lasted / 1e6:.2f} ms)"), options)
    if before in _LAST and not rows[-1][4]:
        debug(_LAST[before], options)


def debug(text: str, options: Options) -> None:
    """One line of it."""
    if log_file(options):
        write("debug", text, options)
    else:
        sys.stderr.write(line("debug", text, options.get("log-format")) + "\n")


def write(level: str, text: str, options: Options) -> None:
    """One line to the log; a log that cannot be written is told on stderr, and ends nothing."""
    path = log_file(options)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, (line(level, text, options.get("log-format")) + "\n").encode())
        finally:
            os.close(descriptor)
    except OSError as failed:
        sys.stderr.write(f"onggi-oci: write log `{path}`: {failed}\n")


def line(level: str, text: str, style: str) -> str:
    """One entry as logrus formats it, `json` or text."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if style == "json":
        return json.dumps({"level": level, "msg": text, "time": now}, separators=(",", ":"))
    return f'time="{now}" level={level} msg={json.dumps(text, ensure_ascii=False)}'
