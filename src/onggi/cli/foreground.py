"""A container in the foreground: raw terminal, sizes, signals, streams.

Callers: `commands/run`, `commands/attach`, `commands/start`. Read next: `streams`.
"""

from __future__ import annotations

from onggi.cli import output, terminal
from onggi.cli.client import with_query
from onggi.cli.failure import CommandFailed, EngineSaidNo
from onggi.cli.signals import SIGWINCH, SignalPipe, name
from onggi.cli.starting import NOT_RUN
from onggi.cli.streams import Carrier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from onggi.cli.client import Connection, Response
    from onggi.cli.engine import Engine


class Session:
    """One attached container, or exec, from before its start to the end of its streams.

    `path` is what the engine knows it by: `/containers/ID`, `/exec/ID`.
    """

    __slots__ = ("_attached", "_engine", "_path", "_size", "_stdin", "_tty")

    def __init__(self, engine: Engine, path: str, attached: Connection, *, tty: bool, stdin: bool) -> None:
        self._engine = engine
        self._path = path
        self._attached = attached
        self._tty = tty
        self._stdin = stdin
        self._size: tuple[int, int] | None = None

    def carry(self, begin: Callable[[], None], *, proxy: bool, detach_keys: str) -> bool:
        """Call `begin` (which starts it), then carry bytes until its streams end; true when the user detached."""
        watch = terminal.DetachWatch(detach_keys) if self._tty and self._stdin else None
        raw = terminal.RawMode(0 if self._tty and self._stdin else -1)
        with SignalPipe(proxy=proxy) as pipe:
            begin()
            self._resize()
            carrier = Carrier(
                self._attached,
                stdin=0 if self._stdin else None,
                framed=not self._tty,
                wake=pipe.fileno(),
                detach=watch,
            )
            carrier.on_wake = self._woken
            with raw:
                carrier.carry()
        self._attached.close()
        return watch is not None and watch.seen

    def _woken(self, numbers: bytes) -> None:
        for number in numbers:
            if number == SIGWINCH:
                self._resize()
            else:
                self._forward(number)

    def _resize(self) -> None:
        size = terminal.size() if self._tty else None
        if size is None or size == self._size:
            return
        self._size = size
        rows, columns = size
        path = with_query(f"{self._path}/resize", {"h": rows, "w": columns})
        try:
            self._engine.call("POST", path)
        except EngineSaidNo as refused:
            if refused.code not in (404, 409):  # it may just have ended
                output.warn(refused.message)

    def _forward(self, number: int) -> None:
        path = with_query(f"{self._path}/kill", {"signal": name(number)})
        try:
            self._engine.call("POST", path)
        except EngineSaidNo as refused:
            if refused.code not in (404, 409):
                output.warn(refused.message)


def exit_code(connection: Connection, response: Response) -> int:
    """The exit status that the answer to `wait` carries."""
    answer = response.json()
    connection.close()
    error = (answer.get("Error") or {}).get("Message")
    if error:
        raise CommandFailed(str(error), status=NOT_RUN)
    return int(answer["StatusCode"])
