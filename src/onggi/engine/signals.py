"""Signals by name or number, as `--signal` and `STOPSIGNAL` take them. Pure."""

from __future__ import annotations

import signal

from onggi.errors import Invalid

KILL = int(signal.SIGKILL)
_LARGEST = 64


def parse(text: str, container: str = "") -> int:
    """`TERM`, `SIGTERM`, `15`, `RTMIN+3`; Invalid in Docker's words."""
    name = text.upper().removeprefix("SIG")
    if name.isdigit() and 0 < int(name) <= _LARGEST:
        return int(name)
    base, plus, offset = name.partition("+")
    if plus and base == "RTMIN" and offset.isdigit() and int(offset) <= signal.SIGRTMAX - signal.SIGRTMIN:
        return int(signal.SIGRTMIN) + int(offset)
    try:
        return int(signal.Signals["SIG" + name])
    except KeyError as error:
        if name.isdigit():
            cause = f"cannot kill container: {container}: the linux daemon does not support signal {name}"
            raise Invalid("signal", text, cause, code="text") from error
        facts = {"name": container, "signal": text}
        raise Invalid("signal", text, "no such signal", code="container.signal-invalid", facts=facts) from error


def is_known(text: str) -> bool:
    """Whether it is a signal's name or any positive number: Docker takes every number as a stop signal."""
    try:
        parse(text)
    except Invalid:
        return text.isdigit() and int(text) > 0
    return True
