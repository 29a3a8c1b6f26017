"""Steps that run hooks: programs of the caller's at one point of the container's life, with its state on their stdin.

    runtime's namespaces     prestart, createRuntime    the keeper's, after the mounts, before the root changes
                             poststart, poststop        `runc/create` and `runc/kill`, through `run_all`
    container's namespaces   createContainer            the init's, before the root changes
                             startContainer             the init's, right before the program

A hook gets its state in a memory file, and leaves what it says in two: it can neither block nor be blocked. Two annotations,
which are crun's, name files for the latter. See the runtime specification's config.md ("POSIX-platform Hooks"). You come
from `steps`; the order is `plan`'s.
"""

from __future__ import annotations

import os
import select
import time

from onggi import documents
from onggi.errors import StartFailed
from onggi.kernel import signals
from onggi.oci.runtime import Hook
from onggi.runtime.steps import Context
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_SAID = 4096
"""Bytes of a hook's output that are told when it fails."""
_STREAMS = ("run.oci.hooks.stdout", "run.oci.hooks.stderr")
"""Annotations: files that hooks write to, made if need be."""
_GLANCE = 50
"""Milliseconds after which who waits for a hook looks whether somebody wants an end of it."""


@dataclass(frozen=True, slots=True)
class State:
    """What a hook is told of its container (runtime.md, "State"), but for status and pid."""

    version: str
    id: str
    bundle: str
    annotations: tuple[tuple[str, str], ...]

    def document(self, status: str, pid: int) -> dict[str, Any]:
        """The state as the specification has it."""
        found: dict[str, Any] = {"ociVersion": self.version, "id": self.id, "status": status}
        found |= {"pid": pid} if pid else {}
        found["bundle"] = self.bundle
        return found | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True)
class RunHook:
    """One hook at one point of the start; that it fails fails the start."""

    kind: str
    number: int
    hook: Hook
    state: State
    status: str
    why: str

    def describe(self) -> str:
        words = " ".join(self.hook.args[1:])
        return f"{self.hook.path} {words} < state.json".replace("  ", " ")

    def apply(self, context: Context) -> None:
        hook = self.hook
        env = _environment(hook)
        if hook.env is None and self.kind == "startContainer":  # beyond the specification, but many rely on it
            env = context.environment
        pid = context.child or os.getpid()
        document = self.state.document(self.status, pid)
        if self.kind == "createContainer":  # where runc's hooks find themselves: in the root that is to be
            os.fchdir(context.root)
        failure = run(hook, document, env, self._directory(), context.hook_streams)
        if failure:
            raise StartFailed(
                f"error running {self.kind} hook #{self.number}",
                "",
                failure,
                facts={"hook": hook.path, "kind": self.kind},
            )

    def _directory(self) -> str:
        return self.state.bundle if self.kind in ("prestart", "createRuntime") else ""


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """The files that hooks write to: they are the host's, and so opened while its root is ours."""

    annotations: tuple[tuple[str, str], ...]
    why: str

    def describe(self) -> str:
        named = dict(self.annotations)
        return "exec " + " ".join(f"{n}>>{named[name]}" for n, name in enumerate(_STREAMS, 1) if name in named)

    def apply(self, context: Context) -> None:
        context.hook_streams = open_streams(dict(self.annotations))


def wants_streams(annotations: Mapping[str, Any]) -> bool:
    """Whether an annotation names a file for what hooks say."""
    return any(name in annotations for name in _STREAMS)


def open_streams(annotations: Mapping[str, Any]) -> tuple[int, int]:
    """Descriptors of the files that the annotations name, to be closed by the caller; -1 where none is named."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    out, err = (os.open(annotations[n], flags, 0o600) if annotations.get(n) else -1 for n in _STREAMS)
    return out, err


def texts(annotations: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Annotations as a `State` has them."""
    return tuple((name, str(value)) for name, value in annotations.items())


def steps(kind: str, hooks: Iterable[Hook], state: State, status: str) -> tuple[RunHook, ...]:
    """The hooks of one kind as steps."""
    return tuple(RunHook(kind, n, hook, state, status, f"hooks.{kind}") for n, hook in enumerate(hooks))


def run_all(kind: str, hooks: Iterable[Hook], document: Mapping[str, Any]) -> list[str]:
    """Every hook of one kind; returns what went wrong. The first that fails is the last, but after the container's end."""
    notes: list[str] = []
    streams = open_streams(document.get("annotations", {}))
    for number, hook in enumerate(hooks):
        if notes and kind != "poststop":
            break
        failure = run(hook, document, _environment(hook), document["bundle"], streams)
        if failure:
            told = "poststop hook failed with" if kind == "poststop" else f"error running {kind} hook #{number}:"
            notes.append(f"{told} {failure}")
    for descriptor in streams:
        if descriptor >= 0:
            os.close(descriptor)
    return notes


def _environment(hook: Hook) -> Mapping[str, str]:
    """The hook's variables; ours where it says nothing of them."""
    return os.environ if hook.env is None else dict(pair.partition("=")[::2] for pair in hook.env)


def run(
    hook: Hook, document: Mapping[str, Any], env: Mapping[str, str], directory: str, streams: tuple[int, int]
) -> str:
    """Run one hook to its end, in a directory or where we are; why it failed, or nothing.

    After its time-out it is killed with its whole group.
    """
    stdin, stdout, stderr = (os.memfd_create(f"hook-{name}", os.MFD_CLOEXEC) for name in ("state", "out", "err"))
    held = signals.mask(signals.BLOCK, signals.END_A_PROCESS)
    try:
        os.write(stdin, documents.dumps(document))
        os.lseek(stdin, 0, os.SEEK_SET)
        out, err = (named if named >= 0 else own for named, own in zip(streams, (stdout, stderr), strict=True))
        try:
            pid = _spawn(hook, env, directory, (stdin, out, err))
        except OSError as error:
            return f"exec {hook.path}: {(error.strerror or str(error)).lower()}"
        ended = _wait(pid, hook.timeout)
        return f"{ended}, stdout: {_said(stdout)}, stderr: {_said(stderr)}" if ended else ""
    finally:
        signals.mask(signals.SET, held)
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)


def _spawn(hook: Hook, env: Mapping[str, str], directory: str, streams: tuple[int, int, int]) -> int:
    """Start the hook in a group of its own; its pid."""
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if directory and os.path.isdir(directory):  # a poststop hook may come when the bundle is gone
            os.chdir(directory)
        return os.posix_spawn(
            hook.path,
            hook.args or (hook.path,),
            env,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs, ours) for ours, theirs in enumerate(streams)],
            setpgroup=0,
            setsigmask=(),
            setsigdef=signals.CAN_BE_DEFAULT,
        )
    finally:
        os.fchdir(before)
        os.close(before)


def _said(descriptor: int) -> str:
    return os.pread(descriptor, _SAID, 0).decode(errors="replace").rstrip("\n")


def _wait(pid: int, timeout: int | None) -> str:
    """How it ended, in words; nothing for well. A signal that asks us to end ends the hook first, and is answered by that."""
    pidfd = os.pidfd_open(pid)
    late, asked = False, 0
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        deadline = None if timeout is None else time.monotonic() + max(timeout, 0)
        while not poll.poll(_GLANCE):
            late = deadline is not None and time.monotonic() >= deadline
            asked = next(iter(signals.pending() & set(signals.END_A_PROCESS)), 0)
            if late or asked:
                os.killpg(pid, signals.KILL)
                break
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(pidfd)
    if asked:
        signals.wait({asked})
        return f"ended, for the runtime was sent {signals.name(asked)}"
    if late:
        return f"hook ran past specified timeout of {float(timeout or 0):.1f}s"
    if os.WIFSIGNALED(status):
        return f"signal: {signals.name(os.WTERMSIG(status))}"
    return f"exit code {os.WEXITSTATUS(status)}" if status else ""
