"""The protocol between keeper and init, over one pair of seqpacket sockets; each message is one JSON document.

    keeper                                   init
      │ ── clone3 ───────────────────────────► born
      │ (with ids of its own:) writes the id maps, opens the host's files
      │ ── {"handed": 3} + 3 fds ────────────► detached mounts, in the plan's order
      │ ── {"go": "mapped"} ─────────────────► root, mounts, devices, names
      │ makes the links
      │ ◄──────────────── {"mounted": true} ─ (with hooks, which it then runs)
      │ ◄──────────── {"console": true} + fd ─ (with a terminal: its master)
      │ ── {"go": "ready"} ──────────────────► network, pivot, rights
      │ ◄──────────────────── {"listener": n} ─ (with a filter that notifies; then {}: see `notify`)
      │ ◄─ {"times": […], "executing": true} ─ when each step began, how long it took; the last word
      │ ◄─ end of file: execve closed the socket; the container runs
      │ ◄─ {"failed": {…}}: a step, or the execve itself, failed; end of file follows

A process that enters a container that runs has the same, shorter (`enter`):

    keeper                                   joiner                    process
      │ ── clone3 ───────────────────────────► born
      │ ◄──────────── {"console": true} + fd ─ (with a terminal)
      │ ◄───────────── {"born": pid} + pidfd ─ clone3 ──────────────────► born
      │ ── {"go": "born"} ──────────────────────────────────────────────► rights
      │ ◄─────────────────────────────── {"times": […], "executing": true}
      │ ◄─ end of file

An end of file without `executing` means that the init was killed on the way. Callers: `container`, `init`. Read next:
`init`.
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import StartFailed, from_fields
from onggi.kernel import sockets
from onggi.kernel.sockets import Socket, receive
from onggi.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LARGEST = 1 << 20
_WORD = 64
_MOST_AT_ONCE = 200
"""Descriptors beside one message: the kernel takes 253."""


__all__ = [
    "Outcome",
    "hand_over",
    "offer",
    "pair",
    "raise_failure",
    "receive",
    "send",
    "tell",
    "wait_born",
    "wait_go",
    "wait_mounted",
    "wait_outcome",
]


def pair() -> tuple[Socket, Socket]:
    """The two ends, close-on-exec; messages keep their borders."""
    return sockets.pair()


def send(end: Socket, message: dict[str, Any]) -> None:
    """One message; BrokenPipeError when the other end is gone."""
    end.send(documents.dumps(message), sockets.MSG_NOSIGNAL)


def tell(end: Socket, message: dict[str, Any]) -> None:
    """In the init: one message by write(2), which a seccomp filter that is in force already is the likeliest to allow."""
    os.write(end.fileno(), documents.dumps(message))


def offer(end: Socket, descriptor: int) -> None:
    """In the init: have the keeper take this descriptor, and close it. No call but write(2), read(2), close(2)."""
    os.write(end.fileno(), b'{"listener": %d}' % descriptor)
    if not os.read(end.fileno(), _WORD):
        os._exit(1)  # the keeper could not hand it on, and says why
    os.close(descriptor)


def hand_over(end: Socket, descriptors: list[int]) -> None:
    """In the keeper: give the init these descriptors and close our own."""
    for start in range(0, len(descriptors), _MOST_AT_ONCE):
        some = descriptors[start : start + _MOST_AT_ONCE]
        sockets.send_descriptors(end, documents.dumps({"handed": len(some)}), some)
    for descriptor in descriptors:
        os.close(descriptor)


def wait_go(end: Socket, word: str) -> list[int]:
    """In the init: until the keeper says `word`; what it handed over before. Without a keeper there is nothing to live for."""
    handed: list[int] = []
    while True:
        data, descriptors = receive(end, 4096, _MOST_AT_ONCE)
        if not data:
            os._exit(1)
        handed += descriptors
        if documents.loads(data).get("go") == word:
            return handed


@dataclass(slots=True)
class Outcome:
    """What the keeper heard from the init until the end of file."""

    executing: bool = False
    console: int = -1
    """The terminal's master, owned by the keeper."""
    times: list[int] = field(default_factory=list)
    """Begin and length of each of the init's steps, in the plan's order, when all went well."""
    trace: list[list[Any]] = field(default_factory=list)
    """Rows of what was done, when something failed."""
    namespaces: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failure: dict[str, Any] | None = None
    on_listener: Callable[[int], None] | None = None
    """What to do with the number of the init's seccomp listener; its failure is the start's."""
    pid: int = 0
    """Of a process that was born in a container that runs."""
    pidfd: int = -1
    """Its pidfd, owned by the keeper."""


def wait_mounted(end: Socket, outcome: Outcome) -> bool:
    """In the keeper: until the init has made its mounts; False when it is gone instead."""
    return _hear(end, outcome, "mounted")


def wait_born(end: Socket, outcome: Outcome) -> bool:
    """In the keeper: until the process is born in its container; False when the joiner is gone instead."""
    return _hear(end, outcome, "born")


def wait_outcome(end: Socket, outcome: Outcome) -> None:
    """In the keeper: read until the end of file."""
    _hear(end, outcome, "")


def _hear(end: Socket, outcome: Outcome, until: str) -> bool:
    while True:
        try:
            data, descriptors = receive(end, _LARGEST, 1)
        except ConnectionResetError:  # it went without having read our last word: told once, before what it said itself
            continue
        if not data:
            return False
        message = documents.loads(data)
        if message.get("console"):
            outcome.console = descriptors[0]
        if message.get("born"):
            outcome.pid, outcome.pidfd = message["born"], descriptors[0]
        if message.get("listener") is not None:
            _hand_on(end, outcome, message["listener"])
        outcome.trace += message.get("trace", ())
        outcome.times += message.get("times", ())
        outcome.namespaces.update(message.get("namespaces", {}))
        outcome.warnings += message.get("warnings", ())
        outcome.executing = outcome.executing or bool(message.get("executing"))
        outcome.failure = message.get("failed") or outcome.failure
        if until in message:
            return True


def _hand_on(end: Socket, outcome: Outcome, number: int) -> None:
    if not outcome.on_listener:
        raise StartFailed("hand on seccomp listener", str(number), "nobody was named to give it to")
    outcome.on_listener(number)
    send(end, {})


def raise_failure(outcome: Outcome) -> None:
    """StartFailed, as the init told it, when the container did not get as far as its own first instruction."""
    if outcome.failure:
        raise from_fields(outcome.failure)
    if not outcome.executing:
        raise StartFailed(
            "start",
            "init",
            "it was killed before it could execute the program",
            hint="is the memory limit too low for a process at all?",
            code="init.killed",
        )
