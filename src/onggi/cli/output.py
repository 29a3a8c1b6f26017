"""What people read: tables, sizes, ages, colour, errors.

Data go to stdout, talk to stderr. Colour only on a terminal and without NO_COLOR; nothing is said by colour alone.
Callers: the files of `commands`, `main`. Read next: `template`.
"""

from __future__ import annotations

import os
import sys
import time

from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_AGES = (
    (60, 1, "second"),
    (3600, 60, "minute"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (730 * 86400, 30 * 86400, "month"),
)
_YEAR = 365 * 86400


def coloured(stream: TextIO) -> bool:
    """Whether `stream` wants colour."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style (bold, dim, red, green, yellow, cyan), if the stream wants it; stdout unless told."""
    if not style or not coloured(stream or sys.stdout):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def report(failure: CommandFailed) -> None:
    """Print the error and its hint on stderr."""
    if failure.message:
        print(f"{paint('onggi:', 'red', sys.stderr)} {visible(failure.message)}", file=sys.stderr)
    if failure.hint:
        print(f"{paint('hint:', 'cyan', sys.stderr)} {visible(failure.hint)}", file=sys.stderr)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    print(f"{paint('warning:', 'yellow', sys.stderr)} {visible(text)}", file=sys.stderr)


def visible(text: str) -> str:
    """`text` with control characters escaped: names and messages come from images and containers."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Sequence[str]] = ()) -> str:
    """Aligned columns, three spaces apart, the last one ragged; `styles` has a style for each cell of each row."""
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headings), *cells]) for i in range(len(headings))]
    lines = [paint(_line(list(headings), widths, ()), "bold")]
    for number, row in enumerate(cells):
        lines.append(_line(row, widths, styles[number] if styles else ()))
    return "\n".join(lines)


def _line(row: list[str], widths: list[int], styles: Sequence[str]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] + [row[-1]]
    if styles:
        padded = [
            paint(cell.rstrip(), style) + " " * (len(cell) - len(cell.rstrip()))
            for cell, style in zip(padded, styles, strict=True)
        ]
    return "   ".join(padded).rstrip()


def age(seconds: float) -> str:
    """`3 minutes`, as `docker ps` counts."""
    if seconds < 1:
        return "Less than a second"
    for limit, unit, name in _AGES:
        if seconds < limit:
            count = int(seconds // unit)
            if count == 1 and name in ("minute", "hour"):
                return f"About {'an' if name == 'hour' else 'a'} {name}"
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{int(seconds // _YEAR)} years"


def ago(created: float, now: float | None = None) -> str:
    """`3 minutes ago` for a Unix time."""
    return age((time.time() if now is None else now) - created) + " ago"


def size(number: float) -> str:
    """`1.98MB`: powers of a thousand, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(number) < 1000 or unit == "TB":
            return f"{number:.3g}{unit}" if number < 1000 else f"{number:.0f}{unit}"
        number /= 1000
    raise AssertionError("unreachable")


def milliseconds(nanoseconds: int) -> str:
    """`1.24 ms`, or microseconds below one."""
    return f"{nanoseconds / 1e6:.2f} ms" if nanoseconds >= 1_000_000 else f"{nanoseconds / 1000:.0f} µs"


def short_id(identifier: str) -> str:
    """The twelve digits that people use."""
    return identifier.removeprefix("sha256:")[:12]
