"""Plan and trace as rows."""

from __future__ import annotations

from typing import Any

from onggi.glass import plan_view

PLAN = [
    {"where": "keeper", "describe": "mkdir -p /a", "why": "limits"},
    {"where": "init", "describe": "mount -t proc proc /proc", "why": "mounts"},
    {"where": "init", "describe": "mount -t proc proc /proc", "why": "again"},
]
TRACE: list[list[Any]] = [
    ["keeper", "mkdir -p /a", 1000, 500, ""],
    ["keeper", "unshare --pid", 1600, 100, ""],
    ["init", "mount -t proc proc /proc", 2000, 3_000_000, ""],
    ["init", "mount -t proc proc /proc", 3_002_000, 10, "mount: No such device (ENODEV)"],
]


def test_a_plan_alone_has_done_nothing() -> None:
    """Without a trace every row is there, and none has begun."""
    got = plan_view.rows(PLAN)
    assert [row["describe"] for row in got] == [row["describe"] for row in PLAN]
    assert {(row["started"], row["lasted"], row["error"]) for row in got} == {(0, 0, "")}
    assert plan_view.total(got) == 0


def test_each_row_has_every_key() -> None:
    """Nobody who shows a row has to guess: the eight keys are always there."""
    for row in plan_view.rows([{"describe": "x"}], TRACE):
        assert set(row) == {"where", "describe", "why", "started", "lasted", "error", "title", "text"}
        assert row["title"]
        assert row["text"]


def test_the_trace_finds_its_plan() -> None:
    """Times and errors come to the planned step of the same words, the same words twice in their order."""
    got = plan_view.rows(PLAN, TRACE)
    assert [(row["why"], row["started"], bool(row["error"])) for row in got] == [
        ("limits", 1000, False), ("", 1600, False), ("mounts", 2000, False), ("again", 3_002_000, True),
    ]  # fmt: skip
    assert plan_view.total(got) == 3_001_010


def test_sentences() -> None:
    """A row's text stands for itself: what, why, and how it ended."""
    done, _, _, failed = plan_view.rows(PLAN, TRACE)
    assert done["text"] == "mkdir -p /a, for limits: done in 0.001 ms"
    assert failed["text"].endswith("for again: failed, mount: No such device (ENODEV)")


def test_a_trace_alone_and_as_mappings() -> None:
    """Without a plan the trace stands alone; mappings are taken as well as lists."""
    row = {"who": "init", "describe": "x", "started": 5, "lasted": 6, "error": ""}
    (with_reason,) = plan_view.rows([], [["init", "x", 5, 6, "", "limits"]])
    assert with_reason["why"] == "limits"
    (got,) = plan_view.rows([], [row])
    assert (got["where"], got["started"], got["lasted"]) == ("init", 5, 6)
