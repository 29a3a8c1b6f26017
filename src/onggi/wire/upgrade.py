"""Leaving HTTP: how a client asks for the raw connection, and how the engine answers.

A client that sends `Connection: Upgrade` and `Upgrade: tcp` gets `101 UPGRADED`; one that does not gets a `200 OK`
without a length. Either way all bytes that follow are the stream's, both ways. No I/O. Callers: the API and the CLI.
"""

from __future__ import annotations

from collections.abc import Mapping

RAW = "application/vnd.docker.raw-stream"
"""The stream of a terminal: no frames."""
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
"""The stream of a container without a terminal: `frames`. Said so from API 1.42 on; older clients are told RAW."""
REQUEST_HEADERS = {"Connection": "Upgrade", "Upgrade": "tcp"}
"""What a client sends to ask for it."""


def is_asked(headers: Mapping[str, str]) -> bool:
    """Whether the request, its headers by lower-case name, asks to leave HTTP."""
    return "upgrade" in headers and "upgrade" in headers.get("connection", "").lower()


def answer(content_type: str, *, is_upgrade: bool) -> bytes:
    """The header that ends HTTP on this connection."""
    if is_upgrade:
        head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: {}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    else:
        head = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\n\r\n"
    return head.format(content_type).encode("ascii")


def content_type(*, tty: bool, version: tuple[int, ...]) -> str:
    """What a client of this API version is told that the stream is."""
    return MULTIPLEXED if not tty and version >= (1, 42) else RAW
