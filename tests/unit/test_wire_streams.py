"""Frames, progress lines, filters, names, times: what travels beside the documents."""

from __future__ import annotations

import ast
import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Corrupt, Invalid
from onggi.wire import filters, frames, gotime, names, options, progress, upgrade, versions

H = 3600


def test_a_frame_is_dockers() -> None:
    """Stream, three zeros, the length in four bytes, the payload."""
    assert frames.encode(frames.STDERR, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=50))), st.lists(st.integers(1, 20)))
def test_frames_survive_any_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """However the transport cuts the frames, each stream's bytes come out whole and in order."""
    data = b"".join(frames.encode(stream, payload) for stream, payload in sent)
    decoder, got, position = frames.Decoder(), [], 0
    for cut in [*cuts, len(data)]:
        got += decoder.feed(data[position : position + cut])
        position += cut
    decoder.finish()
    for stream in range(4):
        assert b"".join(p for s, p in got if s == stream) == b"".join(p for s, p in sent if s == stream)


@pytest.mark.parametrize("junk", [b"\x04\0\0\0\0\0\0\x01", b"\x01\0\x01\0\0\0\0\x01", b"HTTP/1.1"])
def test_junk_is_no_frame(junk: bytes) -> None:
    """A header that names no stream is refused."""
    with pytest.raises(Corrupt):
        frames.Decoder().feed(junk)


def test_a_cut_frame_is_noticed() -> None:
    """A stream that ends inside a frame was cut."""
    decoder = frames.Decoder()
    decoder.feed(frames.encode(1, b"abc")[:-1])
    with pytest.raises(Corrupt):
        decoder.finish()


def test_progress_lines_end_in_crlf() -> None:
    """One object a line; the bar is drawn for old clients."""
    line = progress.status("Loading layer", ident="x", current=25, total=100)
    assert line.endswith(b"\r\n")
    assert progress.Lines().feed(line + progress.stream("a\n")[:-1]) == [
        {
            "status": "Loading layer",
            "progressDetail": {"current": 25, "total": 100},
            "progress": "[============>                                     ]  25B/100B",
            "id": "x",
        }
    ]


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_any_progress_can_be_drawn(current: int, total: int) -> None:
    """No numbers make the bar fail or grow."""
    [line] = progress.Lines().feed(progress.status("x", current=current, total=total))
    assert len(str(line.get("progress", ""))) < 80


@given(st.lists(st.binary(max_size=30)))
def test_progress_lines_are_read_or_refused(pieces: list[bytes]) -> None:
    """Bytes that are no progress are refused."""
    lines = progress.Lines()
    with contextlib.suppress(Corrupt):
        for piece in pieces:
            assert all(isinstance(one, dict) for one in lines.feed(piece))


@pytest.mark.parametrize("text", ['{"label":["a=b"]}', '{"label":{"a=b":true}}'])
def test_both_forms_of_filters(text: str) -> None:
    """A list of values and a map of values mean the same."""
    assert filters.parse(text, filters.CONTAINERS).values("label") == ("a=b",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"foo":["a"]}', "invalid filter 'foo'"),
        ("bad", "invalid filter"),
        ("[1]", "invalid filter"),
        ('{"label":3}', "invalid filter"),
        ('{"label":[3]}', "invalid filter"),
        ("[" * 100_000, "invalid filter"),
    ],
)
def test_bad_filters(text: str, words: str) -> None:
    """Filters that are none are refused in Docker's words."""
    with pytest.raises(Invalid) as caught:
        filters.parse(text, filters.CONTAINERS)
    assert caught.value.cause == words


def test_how_filters_match() -> None:
    """Names by pattern, ids by beginning, labels all, other values one of them; no key matches everything."""
    wanted = filters.Filters(
        {"name": ["^a", "("], "id": ["12"], "label": ["x=1", "y"], "status": ["running", "exited"]}
    )
    assert wanted.match_pattern("name", "abc")
    assert not wanted.match_pattern("name", "cba")
    assert wanted.match_prefix("id", "123")
    assert wanted.match_labels({"x": "1", "y": ""})
    assert not wanted.match_labels({"x": "1"})
    assert not wanted.match_labels({"x": "2", "y": ""})
    assert wanted.match("status", "exited")
    assert wanted.match("network", "anything")


def test_filter_flags() -> None:
    """True and false in Docker's spellings; both at once, or another word, is refused."""
    assert filters.Filters({"dangling": ["1"]}).flag("dangling", default=False)
    assert not filters.Filters({"dangling": ["False"]}).flag("dangling", default=True)
    for values in (["x"], ["true", "false"]):
        with pytest.raises(Invalid, match="invalid filter 'dangling="):
            filters.Filters({"dangling": values}).flag("dangling", default=False)


def test_random_names_are_names() -> None:
    """What we make up passes our own check."""
    for attempt in range(2):
        for _ in range(200):
            assert re.fullmatch(r"[a-z]+_[a-z]+\d?", names.check(names.random_name(attempt=attempt)))


@pytest.mark.parametrize("name", ["a", "@", "-ab", "a b", "a/b", "", "ä1", "ab\n", "../x"])
def test_what_is_no_name(name: str) -> None:
    """Names outside of Docker's pattern are refused: they become directories and hosts entries."""
    with pytest.raises(Invalid):
        names.check(name)


@given(st.integers(0, 4102444800 * 10**9))
def test_times_survive(ns: int) -> None:
    """A time that is written is read back to the nanosecond, in both writings."""
    assert gotime.parse_rfc3339(gotime.rfc3339(ns)) == ns
    if ns:
        assert gotime.parse_rfc3339(gotime.rfc3339_fixed(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1700000000", 1700000000 * 10**9),
        ("1700000000.000000001", 1700000000 * 10**9 + 1),
        ("1700000000.5", 1700000000 * 10**9 + 5 * 10**8),
        ("2023-11-14T22:13:20Z", 1700000000 * 10**9),
        ("2023-11-14T23:13:20+01:00", 1700000000 * 10**9),
        ("10m", 2 * 10**18 - 600 * 10**9),
        ("1h30m", 2 * 10**18 - 5400 * 10**9),
    ],
)
def test_moments(text: str, ns: int) -> None:
    """`since` takes seconds with a fraction, a time, or how long ago."""
    assert gotime.parse_timestamp(text, 2 * 10**18) == ns


@pytest.mark.parametrize("text", ["abc", "5", "1x", "1.2.3h", "2023-99-99", "h", "²"])
def test_what_is_no_moment(text: str) -> None:
    """Other words are refused."""
    if text == "5":
        assert gotime.parse_timestamp(text, 0) == 5 * 10**9
        return
    with pytest.raises(Invalid):
        gotime.parse_timestamp(text, 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (59 * 60, "59 minutes"),
        (H, "About an hour"),
        (1.6 * H, "2 hours"),
        (47 * H, "47 hours"),
        (48 * H, "2 days"),
        (13 * 24 * H, "13 days"),
        (14 * 24 * H, "2 weeks"),
        (59 * 24 * H, "8 weeks"),
        (60 * 24 * H, "2 months"),
        (729 * 24 * H, "24 months"),
        (730 * 24 * H, "2 years"),
        (-5, "Less than a second"),
    ],
)
def test_human_durations(seconds: float, words: str) -> None:
    """Lengths of time in Docker's words, on both sides of each border."""
    assert gotime.human_duration(int(seconds * 10**9)) == words


def test_status_texts() -> None:
    """The `Status` of each state, as `docker ps` prints it."""
    now = 10**9 * H * 3
    said = {
        "Up 3 hours": gotime.status("running", now=now, started=1),
        "Up 3 hours (Paused)": gotime.status("paused", now=now, started=1),
        "Up 3 hours (healthy)": gotime.status("running", now=now, started=1, health="healthy"),
        "Up 3 hours (health: starting)": gotime.status("running", now=now, started=1, health="starting"),
        "Exited (137) 3 hours ago": gotime.status("exited", now=now, finished=1, exit_code=137),
        "Restarting (1) 3 hours ago": gotime.status("restarting", now=now, finished=1, exit_code=1),
        "Created": gotime.status("created", now=now),
        "Removal In Progress": gotime.status("removing", now=now),
        "Dead": gotime.status("dead", now=now),
    }
    assert all(expected == got for expected, got in said.items())


def test_what_a_stream_is_called() -> None:
    """Frames are announced from 1.42 on; a terminal is always raw."""
    assert upgrade.content_type(tty=False, version=(1, 42)) == upgrade.MULTIPLEXED
    assert upgrade.content_type(tty=False, version=(1, 41)) == upgrade.RAW
    assert upgrade.content_type(tty=True, version=(1, 51)) == upgrade.RAW


def test_the_cli_starts_without_msgspec() -> None:
    """The files that the CLI imports pull in neither msgspec nor the documents, which load slowly."""
    for module in (filters, frames, gotime, names, options, progress, upgrade, versions):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not imported & {"msgspec", "asyncio", "onggi.wire.document"}, module.__name__
