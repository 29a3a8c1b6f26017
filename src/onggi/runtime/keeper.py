"""The keeper: the process beside each running container.

It owns the container's stdio or terminal, its log and its exit status, and answers on a socket in the run directory, so
that a restarted engine finds it again. It has one thread and one loop; nothing in it waits for a client, so no client can
hold up the container. When the container ends it removes the cgroup, leaves an exit record, tells whoever listens, sends
attached clients the rest, and goes.

    control (seqpacket, JSON)   engine: {"n": 1, "op": "signal", "signal": 15}      keeper: {"n": 1, "ok": {}}
                                ops: state, signal, resize, attach (+ descriptor)
                                unasked, from the starter: {"started": {…}} then {"trace": […]}, or {"failed": {…}};
                                from the keeper, at the end: {"exited": {…}}

You come from `starter`; the next doors are `subscriber` and `log`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any, NoReturn

from onggi.errors import Invalid, OnggiError
from onggi.kernel import process, tty
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.cgroup.usage import oom_kills
from onggi.runtime import starter, sync
from onggi.runtime.log import CHUNK, Writer
from onggi.runtime.starter import say
from onggi.runtime.subscriber import Subscriber, Wants

SOCKET_NAME, EXIT_NAME, STATE_NAME = "keeper.sock", "exit.json", "state.json"
_IN, _OUT, _GONE = select.POLLIN, select.POLLOUT, select.POLLHUP | select.POLLERR | select.POLLNVAL
_LARGEST = 1 << 20
_DRAIN_SECONDS = 2.0
"""How long the streams may stay open after the container has ended."""
_STALLED_SECONDS = 60.0
"""How long an attached client may take no byte after that."""


def wait(engine: socket.socket, taken: int, layout: Layout) -> NoReturn:
    """A keeper in waiting, from the launcher's fork on: its starter takes a request, it keeps what that starts."""
    process.set_name("onggi-waiting")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    process.set_subreaper()
    ours, theirs = sync.pair()
    if os.fork() == 0:
        ours.close()
        starter.start_one(engine, taken, theirs, layout)
    for end in (theirs, engine):
        end.close()
    os.close(taken)
    data, descriptors = sync.receive(ours, _LARGEST, starter.MOST_DESCRIPTORS + 8)
    ours.close()
    if not data:
        _reap_all()
        os._exit(0)
    process.set_name("onggi-keeper")
    Keeper(json.loads(data), descriptors, layout).run()
    os._exit(0)


def _reap_all() -> None:
    """Collect the starter, and an init that did not become a container."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


class Keeper:
    """The keeper of one container, or of one `exec` in it, made from what its starter hands over; `run` is the rest of its
    life."""

    def __init__(self, facts: dict[str, Any], descriptors: list[int], layout: Layout) -> None:
        self.pidfd, control_number, log_number, *rest = descriptors
        self.layout = layout
        self.state: dict[str, Any] = facts["state"]
        self.cgroup: str = facts["cgroup"]
        self.own_processes: bool = facts["own_processes"]
        self.terminal: bool = facts["terminal"]
        self.keeps_log: bool = facts["keeps_log"]
        self.stdin_once: bool = facts["stdin_once"]
        self.log = Writer(log_number)
        self.log_start: int = facts["log_start"]
        control = socket.socket(fileno=control_number)
        self.controls: dict[int, socket.socket] = {control.fileno(): control}
        self.subscribers: dict[int, Subscriber] = {}
        self.pending_input = b""
        self.stdin_ends = False
        self.poll = select.poll()
        self._run_dir = os.open(facts["run_dir"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if facts["run_dir"] else -1
        self.listener = self._listen() if self._run_dir >= 0 else None
        waiting: list[list[bool]] = facts["streams"]
        self._take_streams(rest[: len(rest) - len(waiting)])
        for number, (stdin, stdout, stderr) in zip(rest[len(rest) - len(waiting) :], waiting, strict=True):
            self._subscribe(socket.socket(fileno=number), Wants(stdin, stdout, stderr), self.log_start)
        self._write_record(STATE_NAME, self.state)

    def _take_streams(self, numbers: list[int]) -> None:
        """The terminal's master; or stdout, stderr and, when it is open, stdin."""
        self.master = self.stdin = -1
        if self.terminal:
            self.stdin = self.master = numbers[0]
            self.outputs = {self.master: 1}
        else:
            self.outputs = {numbers[0]: 1, numbers[1]: 2}
            self.stdin = numbers[2] if len(numbers) > 2 else -1
        for number in numbers:
            os.set_blocking(number, False)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(f"/proc/self/fd/{self._run_dir}/{SOCKET_NAME}")  # by descriptor: sun_path holds 107 bytes
        os.chmod(SOCKET_NAME, 0o600, dir_fd=self._run_dir)
        listener.listen(16)
        listener.setblocking(False)
        return listener

    # ---- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the container has ended and everybody has been told."""
        wakeup = self._wake_on_children()
        self._reap_orphans()  # the starter may have ended before anybody listened
        self.poll.register(self.pidfd, _IN)
        if self.listener:
            self.poll.register(self.listener, _IN)
        self.poll.register(wakeup, _IN)
        for descriptor in (*self.outputs, *self.controls):
            self.poll.register(descriptor, _IN)
        for control in self.controls.values():
            control.setblocking(False)
        while True:
            self._watch_subscribers()
            for descriptor, events in self.poll.poll():
                if descriptor == self.pidfd:
                    self._finish()
                    return
                if descriptor == wakeup:
                    os.read(wakeup, 4096)
                    self._reap_orphans()
                else:
                    self._serve(descriptor, events)

    def _wake_on_children(self) -> int:
        """A descriptor that becomes readable when a child ends: with the host's pid namespace orphans come to us."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return read

    def _reap_orphans(self) -> None:
        """Collect whoever ended, except the container's first process: its status is read by pidfd."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid == self.state["pid"]:
                return
            os.waitpid(found.si_pid, 0)

    def _serve(self, descriptor: int, events: int) -> None:
        if descriptor in self.outputs:
            if events & _OUT:
                self._write_input()
            if events & ~_OUT:
                self._read_output(descriptor)
        elif descriptor in self.controls:
            self._read_control(self.controls[descriptor])
        elif descriptor in self.subscribers:
            self._serve_subscriber(self.subscribers[descriptor], events)
        elif descriptor == self.stdin:
            self._write_input()
        elif self.listener and descriptor == self.listener.fileno():
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            self.controls[connection.fileno()] = connection
            self.poll.register(connection, _IN)

    def _read_output(self, descriptor: int) -> bool:
        """Keep what there is to read, and pass it on; whether there was anything."""
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last slave of the terminal is closed
            data = b""
        if not data:
            self.poll.unregister(descriptor)
            self.outputs.pop(descriptor)
            if descriptor != self.master:
                os.close(descriptor)
            return False
        if self.keeps_log or self.subscribers:
            self.log.append(self.outputs[descriptor], time.time_ns(), data)
        self._pump()
        return True

    def _pump(self) -> None:
        for subscriber in list(self.subscribers.values()):
            if not subscriber.blocked:
                self._pump_one(subscriber)
        if not self.keeps_log and self.log.end and not any(s.behind(self.log.end) for s in self.subscribers.values()):
            self.log.forget()
            for subscriber in self.subscribers.values():
                subscriber.offset = 0

    def _pump_one(self, subscriber: Subscriber) -> None:
        try:
            subscriber.pump(self.log.descriptor, self.log.end)
        except OSError:  # the client is gone
            self._drop(subscriber)

    # ---- attached clients --------------------------------------------------------------------------------------

    def _subscribe(self, connection: socket.socket, wants: Wants, offset: int) -> None:
        if not self.keeps_log:
            offset = min(offset, self.log.end)
        subscriber = Subscriber(connection, wants, offset, terminal=self.terminal)
        self.subscribers[connection.fileno()] = subscriber
        self.poll.register(connection, 0)
        self._pump_one(subscriber)

    def _watch_subscribers(self) -> None:
        """Ask the kernel only for what can be dealt with: input while the container takes it, room while it is behind."""
        takes_input = self.stdin >= 0 and not self.pending_input
        for number, subscriber in self.subscribers.items():
            wanted = (_OUT if subscriber.behind(self.log.end) else 0) | (_IN if subscriber.reads and takes_input else 0)
            self.poll.modify(number, wanted)

    def _serve_subscriber(self, subscriber: Subscriber, events: int) -> None:
        if events & _OUT:
            self._pump_one(subscriber)
        if events & _IN and subscriber.reads:
            self._take_input(subscriber)
        elif events & _GONE:
            self._drop(subscriber)

    def _take_input(self, subscriber: Subscriber) -> None:
        try:
            data = subscriber.receive()
        except OSError:
            self._drop(subscriber)
            return
        if data:
            self.pending_input += data
            self._write_input()
        elif data is not None:
            subscriber.reads = False
            self._end_input()

    def _end_input(self) -> None:
        """A client closed its side: with StdinOnce that is the container's end of input, as for a pipe."""
        if self.stdin_once and not self.terminal:
            self.stdin_ends = True
            self._write_input()

    def _write_input(self) -> None:
        if self.stdin < 0:
            self.pending_input = b""
            return
        try:
            while self.pending_input:
                self.pending_input = self.pending_input[os.write(self.stdin, self.pending_input) :]
        except BlockingIOError:
            self._watch_stdin(on=True)
            return
        except OSError:  # EPIPE, EIO: the container reads no more
            self.pending_input, self.stdin_ends = b"", not self.terminal
        self._watch_stdin(on=False)
        if self.stdin_ends and self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def _watch_stdin(self, *, on: bool) -> None:
        if self.terminal:
            if self.master in self.outputs:
                self.poll.modify(self.master, _IN | (_OUT if on else 0))
        elif on:
            self.poll.register(self.stdin, _OUT)
        else:
            try:
                self.poll.unregister(self.stdin)
            except KeyError:
                return  # it was not being watched

    def _drop(self, subscriber: Subscriber) -> None:
        number = subscriber.connection.fileno()
        if self.subscribers.pop(number, None) is None:
            return
        self.poll.unregister(number)
        subscriber.close()
        if subscriber.reads:
            self._end_input()

    # ---- control -----------------------------------------------------------------------------------------------

    def _read_control(self, control: socket.socket) -> None:
        try:
            data, descriptors = sync.receive(control, 1 << 16, 4)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.poll.unregister(control)
            del self.controls[control.fileno()]
            control.close()
            return
        message = json.loads(data)
        try:
            answer = {"n": message["n"], "ok": self._operate(message, descriptors)}
        except OnggiError as error:
            answer = {"n": message["n"], "error": error.to_fields()}
        except OSError as error:
            failure = Invalid(str(message.get("op")), self.state["id"], error.strerror or str(error))
            answer = {"n": message["n"], "error": failure.to_fields()}
        say(control, answer)

    def _operate(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        match message["op"]:
            case "state":
                return self.state
            case "signal":
                signal.pidfd_send_signal(self.pidfd, message["signal"])
            case "resize":
                if self.master >= 0:
                    tty.set_size(self.master, message["height"], message["width"])
            case "attach":
                wants = Wants(message["stdin"], message["stdout"], message["stderr"], message.get("raw_frames", False))
                offset = self.log_start if message.get("from_start") else message.get("offset", -1)
                offset = offset if offset >= 0 else self.log.end
                self._subscribe(socket.socket(fileno=descriptors[0]), wants, offset)
                return {"offset": offset}
            case other:
                raise Invalid("ask the keeper", str(other), "no such operation")
        return {}

    def _write_record(self, name: str, record: dict[str, Any]) -> None:
        """Whole or not at all, also when we are killed half-way; who keeps an `exec` writes none."""
        if self._run_dir < 0:
            return
        new = f".{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o600, dir_fd=self._run_dir)
        try:
            os.write(descriptor, json.dumps(record).encode())
        finally:
            os.close(descriptor)
        os.rename(new, name, src_dir_fd=self._run_dir, dst_dir_fd=self._run_dir)

    # ---- the end -----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The container's first process has ended: note how, clean up, tell everybody, send the rest, go."""
        found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert found is not None
        code = found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status
        path = self.cgroup
        oom, notes = False, []
        if path:
            try:
                oom = oom_kills(self.layout, path) > 0
                if not self.own_processes:  # with a pid namespace of its own everybody is dead by now
                    self.layout.kill(path)
            except OnggiError as error:
                notes.append(str(error))
        self._drain()
        if path:
            try:
                self.layout.remove(path)
            except OnggiError as error:
                notes.append(str(error))
        record = {"code": code, "oom": oom, "at": time.time_ns(), "pid": self.state["pid"], "notes": notes}
        record["log_lost"] = self.log.lost
        self._write_record(EXIT_NAME, record)
        if self.listener:
            os.unlink(SOCKET_NAME, dir_fd=self._run_dir)
        for control in list(self.controls.values()):
            say(control, {"exited": record})  # from here on the run directory may go at any moment
        self._send_rest()

    def _drain(self) -> None:
        """Read what the container still had in its pipes; all its processes are dead, so the end is near."""
        for descriptor in list(self.outputs):
            while self._read_output(descriptor):
                continue
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self.outputs and time.monotonic() < deadline:
            poll = select.poll()
            for descriptor in self.outputs:
                poll.register(descriptor, _IN)
            found = poll.poll(max(1, int((deadline - time.monotonic()) * 1000)))
            for descriptor, _ in found:
                self._read_output(descriptor)

    def _send_rest(self) -> None:
        """Let attached clients have the end of the output, as long as they take it."""
        deadline = time.monotonic() + _STALLED_SECONDS
        while time.monotonic() < deadline:
            poll, waiting = select.poll(), 0
            for subscriber in list(self.subscribers.values()):
                before = subscriber.offset
                self._pump_one(subscriber)
                if subscriber.offset != before:
                    deadline = time.monotonic() + _STALLED_SECONDS
                if subscriber.behind(self.log.end):
                    if subscriber.connection.fileno() in self.subscribers:
                        poll.register(subscriber.connection, _OUT)
                        waiting += 1
                else:
                    self._drop(subscriber)  # it has all: it need not wait for one that takes nothing
            if not waiting:
                break
            poll.poll(1000)
        for subscriber in list(self.subscribers.values()):
            subscriber.close()
