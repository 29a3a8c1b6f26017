"""A hijacked connection and a process's streams, joined both ways. Callers: `routes/containers`, `routes/exec`."""

from __future__ import annotations

import asyncio
import contextlib

from onggi.api.http import Channel
from onggi.api.ports import Attachment
from onggi.errors import OnggiError

_LINGER_SECONDS = 2.0


async def join(channel: Channel, attachment: Attachment, *, has_input: bool) -> None:
    """Pump both ways until the output ends; the input may end long before."""
    async with asyncio.TaskGroup() as pumps:
        feeder = pumps.create_task(_feed(channel, attachment)) if has_input else None
        while data := await attachment.read():
            await channel.write(data)
        if feeder is not None:
            feeder.cancel()
    await let_go(channel)


async def let_go(channel: Channel) -> None:
    """End our side, and read what the client still sends until it has seen that: a close over unread input is a reset."""
    with contextlib.suppress(TimeoutError, OSError):
        await channel.write_eof()
        async with asyncio.timeout(_LINGER_SECONDS):
            while await channel.read():
                pass


async def _feed(channel: Channel, attachment: Attachment) -> None:
    # a process that closed its stdin is no reason to stop showing its output
    with contextlib.suppress(OnggiError, ConnectionError):
        while data := await channel.read():
            await attachment.write(data)
        await attachment.write_eof()
