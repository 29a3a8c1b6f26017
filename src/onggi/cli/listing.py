"""How a list is printed: a table, only ids, JSON, or a template.

Callers: `commands/ps`, `commands/images`, `commands/history`. Read next: `template`.
"""

from __future__ import annotations

from onggi.cli import output, template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def show(
    rows: list[dict[str, Any]],
    columns: dict[str, str],
    *,
    format: str,
    quiet: str = "",
    style: Sequence[Sequence[str]] = (),
) -> None:
    """Print `rows`. `columns` maps a field to its heading; `quiet` names the one field to print, if any."""
    if quiet:
        for row in rows:
            print(row[quiet])
        return
    if not format or format == "table":
        print(output.table(list(columns.values()), [[str(row[name]) for name in columns] for row in rows], style))
        return
    body, heading = template.headings(format, columns)
    if heading:
        table = [template.render(body, row).split("\t") for row in rows]
        print(output.table(heading.split("\t"), table))
        return
    for row in rows:
        print(template.render(body, row))
