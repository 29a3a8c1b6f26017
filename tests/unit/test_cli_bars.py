"""`cli/bars` and `cli/credentials` where they are pure: what is drawn, whose credentials are meant."""

from __future__ import annotations

import base64
import json

import pytest

from onggi.cli import bars, credentials
from onggi.cli.bars import Thing, left, row_of, rows_of
from onggi.cli.commands.pull import taken_apart

MB = 1_000_000


def downloading(seconds: float = 2.0) -> Thing:
    """A layer of 40 MB that has come to 10 MB at 5 MB/s."""
    thing = Thing()
    thing.take("Downloading", 0, 40 * MB, 100.0)
    thing.take("Downloading", 10 * MB, 40 * MB, 100.0 + seconds)
    return thing


def test_a_row_says_how_far_how_fast_and_how_long() -> None:
    """A quarter of the bar, the rate, the time for the rest; as wide as the terminal, never wider."""
    row = row_of("0123456789ab", downloading(), 100)
    assert row.startswith("0123456789ab  Downloading")
    assert "10MB/40MB" in row
    assert "5MB/s" in row
    assert row.rstrip().endswith("6s")
    full, rest = row.count("━"), row.count("╌")
    assert (full + rest) // 4 == full
    assert len(row) < 100


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_row_fits(columns: int) -> None:
    """Into any terminal, or the redrawing would go wrong."""
    assert len(row_of("0123456789ab", downloading(), columns)) < columns
    waiting = Thing()
    waiting.take("Waiting for something that takes a very long word", 0, 0, 1.0)
    assert len(row_of("0123456789ab" * 3, waiting, columns)) < columns


def test_more_layers_than_lines() -> None:
    """Those that are done go first, then the last ones; the last line counts all."""
    things = {f"layer{n}": downloading() for n in range(30)}
    for n in range(20):
        things[f"layer{n}"].take("Pull complete", 0, 0, 200.0)
    lines = rows_of(things, 80, 6)
    assert len(lines) == 6
    assert lines[-1].startswith("20 of 30 layers, 50MB/s")
    assert lines[0].startswith("layer20")


def test_a_rate_is_forgotten_with_what_it_was_of() -> None:
    """Extracting is not downloading, and a download that begins again has no rate yet."""
    thing = downloading()
    thing.take("Extracting", 20 * MB, 40 * MB, 103.0)
    assert thing.rate == 0
    thing = downloading()
    thing.take("Downloading", 5, 40 * MB, 103.0)
    assert thing.rate == 0


@pytest.mark.parametrize(
    ("count", "rate", "text"), [(0, 1, "0s"), (59, 1, "59s"), (125, 1, "2m05s"), (4200, 1, "1h10m"), (-5, 1, "0s")]
)
def test_time_left(count: int, rate: float, text: str) -> None:
    """In the units that people count in."""
    assert left(count, rate) == text


def test_what_is_not_a_terminal_gets_each_word_once(capsys: pytest.CaptureFixture[str]) -> None:
    """No bars, no control characters: not ours, and not those of a registry."""
    shown = bars.Bars()
    for _ in range(2):
        shown.take({"id": "a", "status": "Pulling fs layer", "progressDetail": {}})
    shown.take({"id": "a", "status": "Downloading", "progressDetail": {"current": 1, "total": 2}})
    shown.take({"status": "Digest: \x1b[2J"})
    shown.close()
    assert capsys.readouterr().err == "a: Pulling fs layer\nDigest: \\x1b[2J\n"


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("busybox", credentials.HUB),
        ("me/busybox", credentials.HUB),
        ("docker.io/library/busybox", credentials.HUB),
        ("localhost/x", "localhost"),
        ("localhost:5000/x/y", "localhost:5000"),
        ("quay.io/x/y", "quay.io"),
        ("localhost", credentials.HUB),
    ],
)
def test_whose_credentials_are_meant(name: str, server: str) -> None:
    """A first part is a host as in every reference."""
    assert credentials.server_of(name) == server


def test_the_header_is_base64_for_urls() -> None:
    """As the engine reads it."""
    text = credentials.encoded({"username": "kim", "password": "~~~???>>>"})
    assert not set(text) & set("+/")
    assert json.loads(base64.urlsafe_b64decode(text)) == {"username": "kim", "password": "~~~???>>>"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", ("a", "")),
        ("a:1", ("a", "1")),
        ("h:5/a", ("h:5/a", "")),
        ("h:5/a:1", ("h:5/a", "1")),
        ("a@sha256:0", ("a", "sha256:0")),
        ("h:5/a:1@sha256:0", ("h:5/a", "sha256:0")),
    ],
)
def test_names_are_taken_apart(name: str, expected: tuple[str, str]) -> None:
    """A digest says more than a tag beside it."""
    assert taken_apart(name) == expected
