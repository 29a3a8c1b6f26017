"""The protocol between keeper and init, spoken with itself over a socket pair."""

from __future__ import annotations

import os
import socket

import pytest

from onggi.errors import KernelError, NotFound, StartFailed
from onggi.runtime import sync


def outcome_of(*messages: dict[str, object]) -> sync.Outcome:
    """What the keeper hears when the init says this and goes."""
    ours, theirs = sync.pair()
    with ours:
        with theirs:
            for message in messages:
                sync.send(theirs, message)
        heard = sync.Outcome()
        sync.wait_outcome(ours, heard)
        return heard


def test_an_init_that_executes_says_so_last() -> None:
    """Trace and warnings are kept; no failure is raised."""
    heard = outcome_of({"trace": [["init", "cd /", 1, 2, ""]], "warnings": ["w"]}, {"executing": True})
    assert (heard.executing, heard.trace, heard.warnings) == (True, [["init", "cd /", 1, 2, ""]], ["w"])
    sync.raise_failure(heard)


def test_an_end_without_a_word_means_killed() -> None:
    """As when the memory limit is too low for the init itself."""
    with pytest.raises(StartFailed) as failure:
        sync.raise_failure(outcome_of())
    assert failure.value.code == "init.killed"
    assert "memory limit" in failure.value.hint


def test_a_failed_exec_counts_although_it_was_announced() -> None:
    """`executing` is said before execve(2), which may fail."""
    error = StartFailed("execute", "nope", "no such file", code="exec.no-such-file", facts={"errno": 2})
    heard = outcome_of({"executing": True}, {"failed": error.to_fields(), "trace": [], "warnings": []})
    with pytest.raises(StartFailed) as failure:
        sync.raise_failure(heard)
    assert (failure.value.code, failure.value.facts) == ("exec.no-such-file", {"errno": 2})


@pytest.mark.parametrize("error", [NotFound.of("image", "x"), KernelError("mount", "/a", 22, detail="why")])
def test_an_error_crosses_as_fields(error: NotFound | KernelError) -> None:
    """Class, text and facts are the same on the other side."""
    with pytest.raises(type(error)) as failure:
        sync.raise_failure(outcome_of({"failed": error.to_fields(), "trace": [], "warnings": []}))
    assert (str(failure.value), failure.value.facts) == (str(error), error.facts)


def test_the_terminals_master_travels_beside_its_message() -> None:
    """The keeper owns a descriptor of its own for the same file."""
    ours, theirs = sync.pair()
    with ours, open(os.devnull) as file:
        with theirs:
            socket.send_fds(theirs, [b'{"console": true}'], [file.fileno()])
        heard = sync.Outcome()
        sync.wait_outcome(ours, heard)
        assert os.path.samestat(os.fstat(heard.console), os.fstat(file.fileno()))
        assert not os.get_inheritable(heard.console)
        os.close(heard.console)


def test_a_long_trace_is_one_message() -> None:
    """A thousand steps are told whole: no message is cut."""
    rows = [["init", "mount " + "x" * 150, n, n, ""] for n in range(1000)]
    assert outcome_of({"trace": rows, "warnings": []}).trace == rows


def test_a_keeper_that_is_gone_is_a_broken_pipe() -> None:
    """No signal, an error that the sender can handle."""
    ours, theirs = sync.pair()
    ours.close()
    with theirs, pytest.raises(BrokenPipeError):
        sync.send(theirs, {"executing": True})


def test_go_is_waited_for_by_its_word() -> None:
    """The word that was waited for lets the init go on."""
    ours, theirs = sync.pair()
    with ours, theirs:
        sync.send(ours, {"go": "ready"})
        sync.wait_go(theirs, "ready")


def test_an_init_that_goes_without_listening_is_still_heard() -> None:
    """The kernel reports unread words as a reset before it hands out the failure that was sent."""
    ours, theirs = sync.pair()
    with ours:
        sync.send(ours, {"go": "ready"})
        sync.send(theirs, {"failed": StartFailed("carry out", "cd /", "no").to_fields()})
        theirs.close()
        heard = sync.Outcome()
        sync.wait_outcome(ours, heard)
    assert heard.failure is not None
    assert heard.failure["object"] == "cd /"
