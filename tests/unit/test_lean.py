"""What stands in for slower parts of the standard library behaves as they do."""

from __future__ import annotations

import contextlib
import enum
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi import documents, unwinding, values
from onggi.errors import Invalid
from onggi.kernel import signals

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_document_comes_back_as_json_reads_it(value: Any) -> None:
    """Ours writes what `json` reads, and reads what `json` writes."""
    assert json.loads(documents.dumps(value)) == value
    assert documents.loads(json.dumps(value, indent=1)) == value


@given(st.text(alphabet='{}[]:,"\\ 01ntrufalse\n', max_size=30))
def test_what_is_no_document_is_refused_as_json_refuses_it(text: str) -> None:
    """The same texts, with the same words."""
    ours = theirs = ""
    with contextlib.suppress(RecursionError):
        try:
            json.loads(text)
        except ValueError as error:
            theirs = str(error)
        try:
            documents.loads(text)
        except ValueError as error:
            ours = str(error)
    assert ours == theirs


@pytest.mark.parametrize("word", ["TERM", "SIGTERM", "sigterm", "15"])
def test_a_signal_has_many_names(word: str) -> None:
    """With and without SIG, in any letters, as a number."""
    assert signals.number(word) == signal.SIGTERM


@pytest.mark.parametrize("word", ["", "SIG", "NOPE", "-1", "65", "_DFL", "TERM+1", "RTMIN+99", "ITIMER_REAL"])
def test_what_is_no_signal_is_refused(word: str) -> None:
    """Also what Python's module has beside them."""
    with pytest.raises(Invalid, match="unknown signal"):
        signals.number(word)


def test_every_signal_has_its_name() -> None:
    """As `signal` names it, and back."""
    for number in signal.valid_signals():
        assert signals.number(signals.name(number)) == number
        if isinstance(number, signal.Signals) and number.name not in ("SIGCLD", "SIGIOT", "SIGPOLL", "SIGRTMAX"):
            assert signals.name(number) == number.name


def scenario(stack: Any, manager: Any, log: list[str], *, body_fails: bool, callback_fails: bool) -> None:
    """Things registered, entered, and perhaps failing."""

    @manager  # type: ignore[untyped-decorator]
    def entered(name: str) -> Iterator[str]:
        log.append("in " + name)
        try:
            yield name
        finally:
            log.append("out " + name)

    with stack() as undo:
        undo.callback(log.append, "first")
        log.append(undo.enter_context(entered("a")))
        if callback_fails:
            undo.callback(int, "no number")
        undo.callback(log.append, "last")
        if body_fails:
            raise KeyError("body")


@pytest.mark.parametrize("body_fails", [False, True])
@pytest.mark.parametrize("callback_fails", [False, True])
def test_undoing_is_the_standard_librarys(*, body_fails: bool, callback_fails: bool) -> None:
    """Same order, same error, same context."""
    seen = []
    for stack, manager in (
        (contextlib.ExitStack, contextlib.contextmanager),
        (unwinding.ExitStack, unwinding.contextmanager),
    ):
        log: list[str] = []
        failed: BaseException | None = None
        try:
            scenario(stack, manager, log, body_fails=body_fails, callback_fails=callback_fails)
        except (KeyError, ValueError) as error:
            failed = error
        seen.append((log, repr(failed), repr(failed.__context__ if failed else None)))
    assert seen[0] == seen[1]


def test_what_was_moved_away_is_not_undone() -> None:
    """`pop_all` on success; the other stack does it."""
    log: list[str] = []
    with unwinding.ExitStack() as undo:
        undo.callback(log.append, "undone")
        kept = undo.pop_all()
    assert log == []
    kept.close()
    assert log == ["undone"]


def test_flags_combine_and_keep_their_class() -> None:
    """As `enum.IntFlag`'s do."""

    class Ours(values.IntFlag):
        A = 1
        B = 2

    class Theirs(enum.IntFlag):
        A = 1
        B = 2

    ours, theirs = Ours.A | Ours.B, Theirs.A | Theirs.B
    assert (int(ours), int(ours & ~Ours.A), isinstance(ours, Ours)) == (int(theirs), int(theirs & ~Theirs.A), True)
    assert 4 | Ours.A == 5
