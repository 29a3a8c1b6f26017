"""A plan and what became of it, as rows: what was to be done, why, when it was done, how long it took, how it ended.

A plan row is `{"where", "describe", "why"}`: the process that does it (keeper, init), the nearest shell command, the
reason. A trace row is a mapping with the same keys and `started`, `lasted` (nanoseconds) and `error`, or the list
`[who, step, started, lasted, error, why]` that keepers write, the last of which may be missing. Every row that comes
out has all of

    where, describe, why, started, lasted, error      as they came, empty or 0 where they did not
    title                                             the process, as a heading
    text                                              describe, why and result in one sentence

Rows keep the order of the plan; what was traced without having been planned comes where it happened.
Callers: `explain`, `routes`. Read next: `routes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
Traced = Mapping[str, Any] | Sequence[Any]


def rows(plan: Sequence[Mapping[str, Any]], trace: Sequence[Traced] = ()) -> list[Row]:
    """Plan and trace joined. With an empty trace nothing was done yet; with an empty plan the trace stands alone."""
    done = [_traced(row) for row in trace]
    if not plan:
        return [_row({}, row) for row in done]
    waiting: dict[tuple[str, str], list[Row]] = {}
    for row in done:
        waiting.setdefault((row["where"], row["describe"]), []).append(row)
    joined = []
    for planned in plan:
        same = waiting.get((planned.get("where", ""), planned["describe"]))
        joined.append(_row(planned, same.pop(0) if same else {}))
    unplanned = [_row({}, row) for left in waiting.values() for row in left]
    return _placed(joined, unplanned)


def _placed(joined: list[Row], unplanned: list[Row]) -> list[Row]:
    """Each unplanned row before the first planned one that began after it."""
    for extra in sorted(unplanned, key=lambda row: int(row["started"])):
        after = (n for n, row in enumerate(joined) if row["started"] > extra["started"])
        joined.insert(next(after, len(joined)), extra)
    return joined


def _traced(row: Traced) -> Row:
    if isinstance(row, Mapping):
        return {"where": row.get("where") or row.get("who") or "", **row}
    who, step, started, lasted, error, *rest = row
    why = rest[0] if rest else ""
    return {"where": who, "describe": step, "started": started, "lasted": lasted, "error": error, "why": why}


def _row(planned: Mapping[str, Any], traced: Mapping[str, Any]) -> Row:
    both = {**planned, **{key: value for key, value in traced.items() if value not in ("", None)}}
    row: Row = {
        "where": both.get("where", ""),
        "describe": both.get("describe", ""),
        "why": both.get("why", ""),
        "started": both.get("started", 0),
        "lasted": both.get("lasted", 0),
        "error": both.get("error", ""),
    }
    return row | {"title": row["where"] or "step", "text": _text(row)}


def _text(row: Row) -> str:
    why = f", for {row['why']}" if row["why"] else ""
    if row["error"]:
        return f"{row['describe']}{why}: failed, {row['error']}"
    if row["started"]:
        return f"{row['describe']}{why}: done in {row['lasted'] / 1_000_000:.3f} ms"
    return f"{row['describe']}{why}"


def total(given: Sequence[Row]) -> int:
    """Nanoseconds from the first step's beginning to the last one's end; 0 when nothing was done."""
    done = [row for row in given if row["started"]]
    return max(row["started"] + row["lasted"] for row in done) - min(row["started"] for row in done) if done else 0
