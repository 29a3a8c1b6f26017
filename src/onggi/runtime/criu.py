"""CRIU as a peer: a process of ours, `criu swrk FD`, that dumps or restores containers and asks us at each point of it.

What it is asked and what it answers is in `wire/criu`; what is wished of it is decided by `dump` and `restore`, whose steps
are the callers. It is found in PATH. When it gives up, its own log says why, and that is what the error says. See criu(8).
"""

from __future__ import annotations

import errno
import os
import select

from onggi.errors import NotFound, OnggiError, Unavailable
from onggi.kernel import signals, sockets
from onggi.unwinding import ExitStack, suppress
from onggi.wire import criu as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from onggi.kernel.sockets import Socket

    Notified: TypeAlias = Callable[[wire.Answer, list[int]], None]
    """Called at each point of CRIU's work, with the descriptors that came with it; an error lets CRIU give up."""

_LARGEST = 256 << 10
"""Bytes of an answer: no socket takes a longer one."""
_PATIENCE = 10_000
"""Milliseconds that it gets to clean up behind itself when we give up."""
_QUOTED = 5
"""Lines of CRIU's log that an error quotes."""
_OF_LOG = 64 << 10
"""Bytes at the end of its log in which they are looked for."""


def find() -> str:
    """The program, as PATH names it; NotFound where there is none."""
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(directory or ".", "criu")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise NotFound("find", "criu", "checkpoint and restore need it, and it is not in PATH", hint="apt-get install criu")


class Peer:
    """One `criu swrk`; a context manager: at the end it is gone, and so is what it left half done."""

    def __init__(
        self, program: str, stdio: tuple[int, int, int], inherited: tuple[int, ...] = (), *, apart: bool = False
    ) -> None:
        """Execute it; `stdio` are its 0, 1 and 2, `inherited` descriptors of ours that it has under the same numbers.

        `apart`: in a process group of its own, so that no Ctrl-C comes to it in the middle of somebody else's memory.
        """
        self._program = program
        self.log = ""
        """The file that it writes its log to, once it has been told one."""
        ours, theirs = sockets.pair()
        self._socket: Socket = ours
        given = (theirs.fileno(), *inherited)
        group: dict[str, Any] = {"setpgroup": 0} if apart else {}
        try:
            for descriptor in given:
                os.set_inheritable(descriptor, True)
            self.pid = os.posix_spawn(
                program,
                ("criu", "swrk", str(theirs.fileno())),
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, place) for place, descriptor in enumerate(stdio)],
                setsigmask=(),
                setsigdef=signals.CAN_BE_DEFAULT,
                **group,
            )
        except OSError as error:
            ours.close()
            raise Unavailable("execute", program, (error.strerror or str(error)).lower()) from error
        finally:
            for descriptor in given:
                os.set_inheritable(descriptor, False)
            theirs.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()  # at its next point it finds nobody to ask, lets go of what it holds, and ends
        if self.pid and not _wait_end(self.pid):
            os.kill(self.pid, signals.KILL)
        self._collect()

    def ask(self, data: bytes) -> wire.Answer:
        """A small request, and its answer; after it the next may follow."""
        self._send(data)
        return self._hear()[0]

    def check_version(self, options: Mapping[str, Any]) -> tuple[int, int, int]:
        """Its release; Unavailable when that is too old, or does not know one of these options and would pass it over."""
        version = self.ask(wire.request(wire.VERSION, keep_open=True)).version
        needs = [("it", wire.OLDEST), *((name, wire.SINCE[name]) for name in wire.SINCE if options.get(name))]
        for name, least in needs:
            if version < least:
                what = "checkpoint and restore need" if name == "it" else f"{name.replace('_', '-')} needs"
                raise Unavailable("use", self._program, f"{_text(version)} is too old: {what} criu {_text(least)}")
        return version

    def need(self, feature: str, what: str) -> None:
        """Unavailable unless CRIU and the kernel can do it."""
        answer = self.ask(wire.feature_check(feature))
        if not answer.success:
            raise self._hinted(self._failure(answer))
        if feature not in answer.features:
            raise Unavailable("use", self._program, f"{what}: CRIU on this kernel lacks {feature}")

    def check(self) -> bool:
        """Whether it finds in the kernel what it needs."""
        self._send(wire.request(wire.CHECK))
        return self._hear()[0].success

    def set_log(self, path: str) -> None:
        """Where the log of the next request will be; an older one would tell of other errors."""
        with suppress(FileNotFoundError):
            os.unlink(path)
        self.log = path

    def carry_out(self, kind: int, options: Mapping[str, Any], notified: Notified) -> wire.Answer:
        """A dump or restore to its end; when it fails the error quotes CRIU's log, or is what `notified` raised."""
        try:
            return self._converse(kind, options, notified)
        except Unavailable as error:
            raise self._hinted(error) from error.__cause__

    def _hinted(self, error: Unavailable) -> Unavailable:
        """The error; with a hint that nothing can work, if CRIU finds so."""
        if not works(self._program):
            error.hint = f"criu cannot work with this kernel (criu check); a newer one may. {error.hint}".rstrip()
        return error

    def _converse(self, kind: int, options: Mapping[str, Any], notified: Notified) -> wire.Answer:
        refused: OnggiError | None = None
        self._send(wire.request(kind, options))
        while True:
            answer, descriptors = self._hear()
            if answer.type != wire.NOTIFY:
                break
            try:
                notified(answer, descriptors)
            except OnggiError as error:
                refused = refused or error
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            self._send(wire.go_on(success=refused is None))
        if refused:
            raise refused
        if not answer.success or answer.type != kind:
            raise self._failure(answer)
        status = self._collect()
        if status and kind != wire.PRE_DUMP:  # after a pre-dump it waits for more, and does not like that none comes
            raise self._failure(answer, _ended(status))
        return answer

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data, sockets.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
            raise self._gone() from error

    def _hear(self) -> tuple[wire.Answer, list[int]]:
        try:
            data, descriptors = sockets.receive(self._socket, _LARGEST, 4) if self._wait_answer() else (b"", [])
        except ConnectionResetError as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        with ExitStack() as undo:
            for descriptor in descriptors:
                undo.callback(os.close, descriptor)
            answer = wire.answer(data)
            undo.pop_all()
        return answer, descriptors

    def _wait_answer(self) -> bool:
        """Until there is something to read; False when it has died, even if what it forked still has its socket."""
        pidfd = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.register(pidfd, select.POLLIN)
            return any(number == self._socket.fileno() for number, _ in poll.poll())
        finally:
            os.close(pidfd)

    def _gone(self) -> Unavailable:
        return self._failure(wire.Answer(0, success=False), f"it ended before its answer: {_ended(self._collect())}")

    def _collect(self) -> int:
        """Let it go and wait for it; how it ended."""
        self._socket.close()
        if not self.pid:
            return 0
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return status

    def _failure(self, answer: wire.Answer, how: str = "") -> Unavailable:
        said = errors_in(self.log)
        if not said and answer.message:
            said = [answer.message.strip()]
        if not how:
            number = f" errno {answer.errno}" if answer.errno else ""
            how = f"type {wire.NAMES.get(answer.type, str(answer.type)).upper()}{number}"
        cause = f"criu failed: {how}" + "".join(f"\n{line}" for line in said)
        hint = f"all that criu says: {self.log}" if os.path.exists(self.log) else ""
        return Unavailable("run", "criu", cause, hint=hint, facts={"errno": answer.errno, "log": self.log})


def works(program: str) -> bool:
    """Whether CRIU itself thinks that it can work with this kernel (criu check); yes when it says nothing."""
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            with Peer(program, (null, null, null)) as peer:
                return peer.check()
        finally:
            os.close(null)
    except (OnggiError, OSError):
        return True


def errors_in(path: str) -> list[str]:
    """The last lines of a log that tell of errors; none where there is no log."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _OF_LOG))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:  # it did not come as far as to open one
        return []
    found = [line for line in lines if "Error" in line]
    return found[-_QUOTED:]


def _wait_end(pid: int) -> bool:
    """Whether a child of ours ends within its time."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(_PATIENCE))
    finally:
        os.close(pidfd)


def _text(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


def _ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signals.name(os.WTERMSIG(status))}"
    return f"exit status {os.WEXITSTATUS(status)}"
