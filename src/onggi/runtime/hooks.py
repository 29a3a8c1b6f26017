"""Steps that run hooks: programs of the caller's at one point of the container's life, with its state on their stdin.

    runtime's namespaces     prestart, createRuntime    the keeper's, after the mounts, before the root changes
                             poststart, poststop        `runc/create` and `runc/kill`, through `run_all`
    container's namespaces   createContainer            the init's, before the root changes
                             startContainer             the init's, right before the program

A hook gets its state in a memory file, and leaves what it says in two: it can neither block nor be blocked. See the
runtime specification's config.md ("POSIX-platform Hooks"). You come from `steps`; the order is `plan`'s.
"""

from __future__ import annotations

import os
import select

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
        if hook.env is None and self.kind == "startContainer":  # beyond the specification, but many rely on it
            env = [f"{name}={value}" for name, value in context.environment.items()]
        else:
            env = list(hook.env or ())
        pid = context.child or os.getpid()
        failure = run(hook, self.state.document(self.status, pid), env)
        if failure:
            raise StartFailed("run", f"{self.kind} hook #{self.number} {hook.path}", failure, facts={"hook": hook.path})


def texts(annotations: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Annotations as a `State` has them."""
    return tuple((name, str(value)) for name, value in annotations.items())


def steps(kind: str, hooks: Iterable[Hook], state: State, status: str) -> tuple[RunHook, ...]:
    """The hooks of one kind as steps."""
    return tuple(RunHook(kind, n, hook, state, status, f"hooks.{kind}") for n, hook in enumerate(hooks))


def run_all(kind: str, hooks: Iterable[Hook], document: Mapping[str, Any]) -> list[str]:
    """Every hook of one kind, whatever became of the one before; returns what went wrong."""
    notes = []
    for number, hook in enumerate(hooks):
        failure = run(hook, document, list(hook.env or ()))
        if failure:
            notes.append(f"error running {kind} hook #{number}: {failure}")
    return notes


def run(hook: Hook, document: Mapping[str, Any], env: list[str]) -> str:
    """Run one hook to its end; why it failed, or nothing. After its time-out it is killed with its whole group."""
    stdin, stdout, stderr = (os.memfd_create(f"hook-{name}", os.MFD_CLOEXEC) for name in ("state", "out", "err"))
    try:
        os.write(stdin, documents.dumps(document))
        os.lseek(stdin, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, theirs, ours) for ours, theirs in enumerate((stdin, stdout, stderr))]
        try:
            pid = os.posix_spawn(
                hook.path,
                hook.args or (hook.path,),
                dict(pair.partition("=")[::2] for pair in env),
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=signals.CAN_BE_DEFAULT,
            )
        except OSError as error:
            return f"exec {hook.path}: {(error.strerror or str(error)).lower()}"
        ended = _wait(pid, hook.timeout)
        if not ended:
            return ""
        return f"{ended}, stdout: {_said(stdout)}, stderr: {_said(stderr)}"
    finally:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)


def _said(descriptor: int) -> str:
    return os.pread(descriptor, _SAID, 0).decode(errors="replace").rstrip("\n")


def _wait(pid: int, timeout: int | None) -> str:
    """How it ended, in words; nothing for well."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        late = timeout is not None and not poll.poll(max(timeout, 0) * 1000)
        if late:
            os.killpg(pid, signals.KILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(pidfd)
    if late:
        return f"hook ran past specified timeout of {float(timeout or 0):.1f}s"
    if os.WIFSIGNALED(status):
        return f"signal: {signals.name(os.WTERMSIG(status))}"
    return f"exit status {os.WEXITSTATUS(status)}" if status else ""
