"""The streams of containers: attach, logs, the terminal's size.

You come from `containers`; the next doors are `attach`, `logs` and `runtime/keeper`.
"""

from __future__ import annotations

import socket

from onggi.engine.attach import Attachment, parse_keys
from onggi.engine.container import Container, Pending
from onggi.engine.logs import LogStream
from onggi.engine.parts import Parts
from onggi.errors import Conflict, Unsupported
from onggi.wire.options import AttachOptions, LogOptions


class Streams:
    """The use cases."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Join its stdio; before a start, from the start on."""
        container = self._parts.directory.find(ref)
        keys = parse_keys(options.detach_keys)
        if container.status == "paused":
            facts = {"id": container.id}
            raise Conflict("attach", container.name, "it is paused", code="container.attach-paused", facts=facts)
        ours, theirs = socket.socketpair()
        wants = {"stdin": options.stdin, "stdout": options.stdout, "stderr": options.stderr}
        past = b""
        with theirs:
            if container.link is not None and container.is_running:
                offset = 0 if options.logs else -1
                wants["stdin"] = options.stdin and container.body.config.open_stdin
                await container.link.ask("attach", [theirs.fileno()], **wants, offset=offset)
            else:
                if options.logs:
                    past = await self._past(container, options)
                if options.stream and not container.removing:
                    container.pending.append(Pending(**wants, stream=theirs.dup()))
        self._parts.tell(container, "attach")
        tty = container.body.config.tty
        return Attachment(ours, tty=tty, keys=keys, past=past, on_detach=lambda: self._parts.tell(container, "detach"))

    async def logs(self, ref: str, options: LogOptions) -> LogStream:
        """Its log; with `follow` what comes until it ends."""
        container = self._parts.directory.find(ref)
        if container.body.host_config.log_config.type == "none":
            cause = "configured logging driver does not support reading"
            raise Unsupported("read log of", container.name, cause, code="text")
        path = self._parts.instance.container_dir(container.id) / "log"
        end = path.stat().st_size if path.exists() else 0
        follow = None
        if options.follow and container.link is not None and container.is_running:
            follow, theirs = socket.socketpair()
            follow.setblocking(False)
            with theirs:
                answer = await container.link.ask(
                    "attach", [theirs.fileno()], stdin=False, stdout=True, stderr=True, raw_frames=True
                )
                end = answer["offset"]  # a frame's end; the size of a file that is being written may lie within one
        details = ",".join(f"{k}={v}" for k, v in sorted((container.body.config.labels or {}).items()))
        return LogStream(path, options, tty=container.body.config.tty, details=details, follow=follow, end=end)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set its terminal's size; Conflict if it does not run."""
        container = self._parts.directory.find(ref)
        await container.keeper("resize").ask("resize", height=height, width=width)
        self._parts.tell(container, "resize", height=str(height), width=str(width))

    async def _past(self, container: Container, options: AttachOptions) -> bytes:
        chosen = LogOptions(stdout=options.stdout, stderr=options.stderr)
        stream = await self.logs(container.id, chosen)
        return b"".join([piece async for piece in stream])
