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
        facts = {"name": container, "signal": text}
        raise Invalid("signal", text, "no such signal", code="container.signal-invalid", facts=facts) from error
