"""A process's network interfaces and addresses, read from `/proc/PID/net` without entering its namespace.

Callers: `explain`. Read next: `limits`. See proc_pid_net(5).
"""

from __future__ import annotations

import ipaddress
import itertools
import os
from dataclasses import dataclass, replace

from onggi.errors import NotFound

_IPv4 = tuple[ipaddress.IPv4Network, str]


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface with its addresses (`172.17.0.2/16`) and the bytes that went through it."""

    name: str
    addresses: tuple[str, ...]
    received: int
    sent: int
    gateway: str = ""


def interfaces(pid: int, proc: str = "/proc") -> tuple[Interface, ...]:
    """The interfaces that the process sees, in the kernel's order."""
    directory = f"{proc}/{pid}/net"
    found: dict[str, Interface] = {}
    for line in _lines(directory, "dev")[2:]:
        name, _, numbers = line.partition(":")
        counts = numbers.split()
        found[name.strip()] = Interface(name.strip(), (), int(counts[0]), int(counts[8]))
    routes, gateways = _routes(_lines(directory, "route")[1:])
    for address, name in [*_old_addresses(_lines(directory, "fib_trie"), routes), *_new_addresses(directory)]:
        if name in found:
            found[name] = replace(found[name], addresses=(*found[name].addresses, address))
    return tuple(replace(item, gateway=gateways.get(name, "")) for name, item in found.items())


def _routes(lines: list[str]) -> tuple[list[_IPv4], dict[str, str]]:
    """The networks that lie at an interface, and the gateway of the default route, from `route`."""
    networks: list[_IPv4] = []
    gateways: dict[str, str] = {}
    for line in lines:
        name, destination, gateway, *rest = line.split()
        mask = rest[4]
        if destination == "00000000":
            gateways[name] = str(_address(gateway))
        else:
            networks.append((ipaddress.IPv4Network((_address(destination), str(_address(mask)))), name))
    return networks, gateways


def _address(text: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(text), "little"))


def _old_addresses(lines: list[str], networks: list[_IPv4]) -> list[tuple[str, str]]:
    """IPv4: the local addresses of the routing tree, each at the interface whose network it is in."""
    found: dict[ipaddress.IPv4Address, None] = {}
    for leaf, kind in itertools.pairwise(lines):
        if "|--" in leaf and "/32 host LOCAL" in kind:
            found[ipaddress.IPv4Address(leaf.split()[-1])] = None
    placed = []
    for address in found:
        if address.is_loopback:
            placed.append((f"{address}/8", "lo"))
            continue
        network, name = next(((n, i) for n, i in networks if address in n), (None, ""))
        placed.append((f"{address}/{network.prefixlen if network else 32}", name))
    return placed


def _new_addresses(directory: str) -> list[tuple[str, str]]:
    """IPv6, from `if_inet6`, which is not there where IPv6 is off."""
    if not os.path.exists(f"{directory}/if_inet6"):
        return []
    found = []
    for line in _lines(directory, "if_inet6"):
        digits, _, length, _, _, name = line.split()
        found.append((f"{ipaddress.IPv6Address(bytes.fromhex(digits))}/{int(length, 16)}", name))
    return found


def _lines(directory: str, name: str) -> list[str]:
    try:
        with open(f"{directory}/{name}", encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError) as error:
        raise NotFound.of("process", directory.split("/")[-2]) from error
    except OSError as error:  # EINVAL: the process is dying and has left its network namespace
        raise NotFound.of("process", directory.split("/")[-2]) from error
