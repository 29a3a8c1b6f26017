"""`--format` prints what it understands and refuses the rest by name."""

from __future__ import annotations

import pytest

from onggi.cli import template
from onggi.cli.failure import CommandFailed

VALUE = {"ID": "abc", "State": {"Pid": 7, "Running": True}, "List": ["a", "<b>"], "None": None}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{{.ID}}", "abc"),
        ("{{ .ID }}:{{.State.Pid}}", "abc:7"),
        ("{{.State.Running}}", "true"),
        ("{{json .State}}", '{"Pid":7,"Running":true}'),
        ("{{json .List}}", '["a","<b>"]'),
        ("{{.None}}", "<no value>"),
        ("{{.ID}}\\t{{.ID}}", "abc\tabc"),
        ("plain", "plain"),
    ],
)
def test_plain_fields_are_filled_in(text: str, shown: str) -> None:
    """Fields, nested fields and json of a field, with text between them."""
    assert template.render(text, VALUE) == shown


def test_json_gives_everything() -> None:
    """The word json, and `{{json .}}`, print the whole value."""
    assert template.render("json", {"a": 1}) == template.render("{{json .}}", {"a": 1}) == '{"a":1}'


@pytest.mark.parametrize(
    "text", ["{{range .List}}", "{{if .ID}}", "{{.ID | upper}}", "{{.ID", "{{.Nosuch}}", "{{.ID.X}}"]
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    """Nothing is printed half."""
    with pytest.raises(CommandFailed, match="format"):
        template.render(text, VALUE)


def test_a_table_has_headings() -> None:
    """`table` in front asks for a line of headings."""
    assert template.headings("table {{.ID}}\\t{{.Names}}", {"ID": "CONTAINER ID"}) == (
        "{{.ID}}\\t{{.Names}}",
        "CONTAINER ID\tNAMES",
    )
