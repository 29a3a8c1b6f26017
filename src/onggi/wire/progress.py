"""Progress lines of load, pull and build: one JSON object a line, each ending in CRLF.

`{"status", "id", "progressDetail": {"current", "total"}}`, `{"stream"}`, `{"aux"}`, `{"errorDetail": {"message"},
"error"}`. The status of the answer is 200 once the first line is out, so a later failure is such a line. No I/O, and
quick to import: the CLI reads what the engine writes.
"""

from __future__ import annotations

import json
from typing import Any

from onggi.errors import Corrupt

_MAX_LINE = 16 << 20


def line(fields: dict[str, Any]) -> bytes:
    """One line of any fields."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\r\n"


def stream(text: str) -> bytes:
    """Text for the person."""
    return line({"stream": text})


def status(text: str, *, ident: str = "", current: int = 0, total: int = 0) -> bytes:
    """What happens to one thing, with a bar once something is counted."""
    fields: dict[str, Any] = {"status": text}
    if total or current:
        fields["progressDetail"] = {"current": current, "total": total}
        fields["progress"] = _bar(current, total)
    elif ident:
        fields["progressDetail"] = {}
    if ident:
        fields["id"] = ident
    return line(fields)


def error(text: str) -> bytes:
    """The failure that ends the stream."""
    return line({"errorDetail": {"message": text}, "error": text})


def _bar(current: int, total: int) -> str:
    """The bar as old clients print it; new ones draw their own from the detail."""
    if total <= 0 or current > total:
        return human_size(current)
    done = current * 50 // total
    arrow = ">" if done < 50 else ""
    return f"[{'=' * done}{arrow}{' ' * (50 - done - len(arrow))}]  {human_size(current)}/{human_size(total)}"


def human_size(size: int) -> str:
    """A size in powers of 1000 with four digits, as Docker shows it: `1.982MB`."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.4g}{units[0]}"


class Lines:
    """Takes bytes as they come and gives whole lines as dicts."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The lines that `data` completes; `Corrupt` for one that is no JSON object, or has no end."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            raise Corrupt("read", "progress", "a line without end")
        return [_object(raw) for raw in whole if raw.strip()]


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as cause:
        raise Corrupt("read", "progress", f"no JSON: {raw[:80]!r}") from cause
    if not isinstance(value, dict):
        raise Corrupt("read", "progress", f"no JSON object: {raw[:80]!r}")
    return value
