"""A kernel without netfilter: the engine lives, and says what does not work."""

from __future__ import annotations

import os
import socket

import pytest

from forked import in_child
from onggi.errors import Unavailable
from onggi.kernel.nft import Nft


def test_a_kernel_without_netfilter_is_told_and_not_the_end() -> None:
    """libnftables ends the process when it gets no netlink socket; we find out before it does."""

    def attempt() -> str:
        class Refusing(socket.socket):
            """What socket(2) is in a kernel without the protocol."""

            def __init__(self, *arguments: int) -> None:
                raise OSError(93, os.strerror(93))

        socket.socket = Refusing  # type: ignore[misc, assignment]  # in a process of its own
        with pytest.raises(Unavailable) as caught:
            Nft().run("list tables")
        return caught.value.hint

    assert in_child(attempt) == "modprobe nf_tables"
