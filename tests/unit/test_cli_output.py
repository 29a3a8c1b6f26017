"""What people read: sizes, ages, tables, and nothing that a container can put on the terminal."""

from __future__ import annotations

import pytest

from onggi.cli import output


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_976_000, "1.98MB"), (25_300_000_000, "25.3GB"), (10**16, "10000TB")],
)
def test_sizes_have_three_digits(number: int, text: str) -> None:
    """Powers of a thousand, as `docker images` shows them."""
    assert output.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (150, "2 minutes"),
        (3700, "About an hour"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages_read_as_dockers(seconds: float, text: str) -> None:
    """One number and one unit."""
    assert output.age(seconds) == text


def test_a_table_is_aligned_and_not_padded_at_the_end() -> None:
    """Columns line up; no line ends in blanks."""
    lines = output.table(["A", "LONG"], [["xxxx", "1"], ["y", ""]]).split("\n")
    assert lines == ["A      LONG", "xxxx   1", "y"]


def test_control_characters_are_shown_not_sent() -> None:
    """A name with an escape sequence cannot move the cursor or set the title."""
    assert output.visible("a\x1b]0;x\x07b") == "a\\x1b]0;x\\x07b"
    assert "\x1b" not in output.table(["N"], [["\x1b[2J"]])
