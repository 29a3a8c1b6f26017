"""Published ports: which port of the host leads to which of a container, as values, as nft text, as reservations.

A published port is an element of one of two maps in the engine's table: `ports` for all addresses of the host, `ports_at`
for one of them. Beside it the engine holds a bound socket that never listens, so that no process of the host can take
the port, and one that some process already has is found out. IPv4, TCP and UDP.
Callers: `bridge`, `engine/networks`. Read next: `bridge`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from onggi.errors import Conflict, Invalid, KernelError, Unsupported

ANY = "0.0.0.0"
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True)
class Port:
    """`-p host_ip:host_port:container_port/protocol`; host port 0 is one of the kernel's choice."""

    protocol: str
    container_port: int
    host_port: int = 0
    host_ip: str = ANY

    @property
    def inside(self) -> str:
        """The container's side as Docker writes it: `80/tcp`."""
        return f"{self.container_port}/{self.protocol}"


def parse(inside: str, host_ip: str = "", host_port: str = "") -> Port:
    """A port from Docker's words: `80/tcp`, the host's address and port, both of which may be empty."""
    number, _, protocol = inside.partition("/")
    protocol = protocol or "tcp"
    if protocol not in _KINDS:
        raise Unsupported("publish port", inside, f"the protocol {protocol}", hint="tcp and udp can be published")
    if ":" in host_ip:
        raise Unsupported("publish port", inside, f"the IPv6 address {host_ip}", hint="give an IPv4 address")
    try:
        address = str(IPv4Address(host_ip or ANY))
    except AddressValueError as error:
        raise Invalid("publish port", inside, f"invalid IP address: {host_ip}", code="text") from error
    return Port(protocol, _number(number, inside, least=1), _number(host_port or "0", inside, least=0), address)


def from_records(records: Iterable[Mapping[str, Any]]) -> tuple[Port, ...]:
    """The ports of an endpoint's record."""
    return tuple(Port(**record) for record in records)


def elements(ports: Sequence[Port], address: str) -> dict[str, list[str]]:
    """The elements of each map that lead the ports to a container's `address`, as nft text `key : value`."""
    found: dict[str, list[str]] = {}
    for port in ports:
        key = f"{port.protocol} . {port.host_port}"
        name, key = ("ports", key) if port.host_ip == ANY else ("ports_at", f"{port.host_ip} . {key}")
        found.setdefault(name, []).append(f"{key} : {address} . {port.container_port}")
    return found


def change(verb: str, table: str, ports: Sequence[Port], address: str) -> str:
    """nft text that adds or deletes (`verb`) what leads the ports to `address`."""
    return "\n".join(
        f"{verb} element inet {table} {name} {{ {', '.join(found)} }}"
        for name, found in elements(ports, address).items()
    )


class Reservations:
    """The host's ports that containers have, each with the socket that holds it."""

    def __init__(self) -> None:
        self._held: dict[str, ExitStack] = {}

    def reserve(self, owner: str, ports: Sequence[Port], *, name: str) -> tuple[Port, ...]:
        """Hold all ports for `owner` or none; the ports with the numbers that the kernel chose.

        Conflict when somebody has one of them; `name` is the container's, for that error.
        """
        with ExitStack() as undo:
            chosen = tuple(_bind(port, undo, name) for port in ports)
            self._held[owner] = undo.pop_all()
        return chosen

    def release(self, owner: str) -> None:
        """Let go what `owner` holds."""
        held = self._held.pop(owner, None)
        if held:
            held.close()

    def close(self) -> None:
        """Let go everything."""
        for owner in list(self._held):
            self.release(owner)


def _bind(port: Port, undo: ExitStack, name: str) -> Port:
    """Bound, not listening: nobody else can bind it, and whoever knocks while the rules are gone is refused."""
    holder = undo.enter_context(socket.socket(socket.AF_INET, _KINDS[port.protocol] | socket.SOCK_CLOEXEC))
    try:
        holder.bind((port.host_ip, port.host_port))
    except OSError as error:
        shown = f"{port.host_ip}:{port.host_port}"
        if error.errno != errno.EADDRINUSE:
            raise KernelError("bind", f"{shown}/{port.protocol}", error.errno or errno.EIO) from error
        raise Conflict(
            "publish port",
            shown,
            "port is already allocated",
            code="port.in-use",
            facts={"name": name, "address": port.host_ip, "port": port.host_port},
        ) from error
    return replace(port, host_port=holder.getsockname()[1])


def _number(text: str, inside: str, *, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= 65535):
        raise Invalid("publish port", inside, f"invalid port specification: {text!r}", code="text")
    return int(text)
