"""One rtnetlink socket: makes, changes, finds and removes links, addresses and routes.

A socket belongs for ever to the network namespace in which it was opened. Opened by the keeper it acts on the host's
links and can give birth to a veth peer inside a container's namespace (by a descriptor of it) without entering it;
opened by the init it acts inside. What the kernel can do in one message is one message: a whole veth pair, both ends
named, the host's end up and enslaved, costs one sendmsg and its answer. The messages are made in `rtnetlink`.
Callers: `runtime/keeper`, `runtime/init`, `network/bridge`. Imports nothing slow. Read next: `rtnetlink`.
"""

from __future__ import annotations

import errno

from onggi.errors import KernelError
from onggi.kernel import rtnetlink
from onggi.kernel.netlink_codec import NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, Message, Request, failure, messages
from onggi.kernel.rtnetlink import Address, Link, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence
    from types import TracebackType
else:
    import _socket as socket

__all__ = ["Address", "Link", "Netlink", "Route"]

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_RECEIVE = 64 << 10
"""Bytes for one datagram: a dump's are at most 32 KiB."""
_IN_FLIGHT = 64
"""Requests in one datagram: their acknowledgements fit the socket's smallest receive buffer."""
_DUMP_TRIES = 5
_LOOPBACK_INDEX = 1
"""The loopback link is the first that a network namespace has (net/core/dev.c: loopback_net_init)."""


class Netlink:
    """An AF_NETLINK, NETLINK_ROUTE socket; a context manager; for one thread."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's number, borrowed."""
        return self._socket.fileno()

    # links

    def bridge(self, name: str, *, mac: str = "", mtu: int = 0, up: bool = False) -> None:
        """Make a bridge without spanning tree; EEXIST when the name is taken."""
        self.run(rtnetlink.bridge(name, mac=mac, mtu=mtu, up=up))

    def veth(
        self,
        host_name: str,
        peer_name: str,
        *,
        peer_netns_fd: int = -1,
        master: str | int = 0,
        mac: str = "",
        mtu: int = 0,
        up: bool = True,
        hairpin: bool = False,
    ) -> None:
        """Make a veth pair, both ends named, the host's end up; `mac` is the peer's, `master` the host end's bridge.

        The peer is born in the namespace behind `peer_netns_fd`, so nothing is ever moved or renamed: a move would
        wait for an RCU grace period. EEXIST when either name is taken in its namespace. `hairpin` lets the bridge send
        back over this port what came from it: a container that calls a port that it publishes itself needs that where
        bridged packets pass the IP rules (bridge-nf-call-iptables).
        """
        index = self.index(master) if isinstance(master, str) and master else int(master or 0)
        request = rtnetlink.veth(
            host_name, peer_name, peer_netns_fd=peer_netns_fd, master_index=index, mac=mac, mtu=mtu, up=up
        )
        self.run(request, *((rtnetlink.hairpin(host_name),) if hairpin else ()))

    def set_link(
        self,
        name: str,
        *,
        up: bool | None = None,
        new_name: str = "",
        mac: str = "",
        mtu: int = 0,
        master: str | int | None = None,
        netns_fd: int = -1,
    ) -> None:
        """Change what is given of a link; `master` 0 or empty takes it out of its bridge."""
        master_index = self.index(master) if isinstance(master, str) and master else master
        request = rtnetlink.set_link(
            self.index(name),
            name,
            up=up,
            name=new_name,
            mac=mac,
            mtu=mtu,
            master_index=None if master_index is None else int(master_index or 0),
            netns_fd=netns_fd,
        )
        self.run(request)

    def delete_link(self, name: str) -> None:
        """Remove a link; ENODEV when there is none."""
        self.run(rtnetlink.delete_link(name))

    def find_link(self, name: str) -> Link | None:
        """The link of this name, or None."""
        try:
            (answer,) = self._exchange([rtnetlink.get_link(name)])
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return rtnetlink.parse_link(answer.payload)

    def link(self, name: str) -> Link:
        """The link of this name; ENODEV when there is none."""
        (answer,) = self._exchange([rtnetlink.get_link(name)])
        return rtnetlink.parse_link(answer.payload)

    def index(self, name: str) -> int:
        """The index of the link of this name; ENODEV when there is none."""
        return self.link(name).index

    def links(self) -> list[Link]:
        """All links of the namespace, with their counters."""
        return [rtnetlink.parse_link(m.payload) for m in self._dump(rtnetlink.RTM_GETLINK)]

    # addresses and routes

    def addresses(self, link: str = "") -> list[Address]:
        """All addresses of the namespace, or of one link."""
        found = [rtnetlink.parse_address(m.payload) for m in self._dump(rtnetlink.RTM_GETADDR)]
        index = self.index(link) if link else 0
        return [a for a in found if not index or a.index == index]

    def permanent_addresses(self, index: int) -> list[bytes]:
        """A link's own addresses, as `put_back` takes them: without those that come and go with the network."""
        found = (rtnetlink.permanent_address(m.payload) for m in self._dump(rtnetlink.RTM_GETADDR))
        return [item[1] for item in found if item and item[0] == index]

    def put_back(self, link: Link, addresses: Sequence[bytes]) -> None:
        """Give a link the addresses that it had in another namespace, and set it up."""
        up = rtnetlink.set_link(link.index, link.name, up=True)
        self.run(*(rtnetlink.again(link.index, link.name, address) for address in addresses), up)

    def add_address(self, link: str, address: str) -> None:
        """Put `172.17.0.1/16` on a link; EEXIST when it is there."""
        self.run(rtnetlink.add_address(self.index(link), link, address))

    def remove_address(self, link: str, address: str) -> None:
        """Take an address from a link; EADDRNOTAVAIL when it is not there."""
        self.run(rtnetlink.remove_address(self.index(link), link, address))

    def routes(self) -> list[Route]:
        """The unicast routes of all tables, both families."""
        found = (rtnetlink.parse_route(m.payload) for m in self._dump(rtnetlink.RTM_GETROUTE))
        return [route for route in found if route]

    def add_route(self, route: Route, *, replace: bool = False) -> None:
        """Make a route over the link `route.link`; EEXIST when there is one and `replace` is not set."""
        self.run(rtnetlink.add_route(route, self.index(route.link), replace=replace))

    def remove_route(self, route: Route) -> None:
        """Remove a route; ESRCH when there is none."""
        self.run(rtnetlink.remove_route(route, self.index(route.link)))

    # a container's inside, in as few messages as there can be

    def configure(self, link: str, addresses: Sequence[str], routes: Sequence[Route] = (), *, up: bool = True) -> None:
        """Give a link its addresses, set it up and make routes over it: one question, one datagram."""
        index = self.index(link)
        requests = [rtnetlink.add_address(index, link, address) for address in addresses]
        if up:  # before the routes, because a gateway is reachable only over a link that is up
            requests.append(rtnetlink.set_link(index, link, up=True))
        requests += [rtnetlink.add_route(route, index) for route in routes]
        self.run(*requests)

    def loopback_up(self) -> None:
        """Set the loopback link up; the kernel gives it 127.0.0.1 and ::1."""
        self.run(rtnetlink.set_link(_LOOPBACK_INDEX, "lo", up=True))

    # the exchange

    def run(self, *requests: Request) -> None:
        """Send requests in one datagram and wait for each one's acknowledgement; the first failure is raised.

        The kernel goes on after a failed request, so later ones may have been carried out all the same.
        """
        for start in range(0, len(requests), _IN_FLIGHT):
            self._exchange(requests[start : start + _IN_FLIGHT])

    def _exchange(self, requests: Sequence[Request]) -> list[Message]:
        """The answers to `requests`, other than acknowledgements."""
        first = self._send(requests)
        answers: list[Message] = []
        error: KernelError | None = None
        waiting = len(requests)
        while waiting:
            for message in self._receive():
                position = message.sequence - first
                if not 0 <= position < len(requests):
                    continue  # left over from an exchange that an exception cut short
                if message.type != NLMSG_ERROR:
                    answers.append(message)
                    continue
                waiting -= 1
                error = error or _error(requests[position], message)
        if error:
            raise error
        return answers

    def _dump(self, kind: int) -> list[Message]:
        """All objects of a kind; asked again when the kernel says that they changed meanwhile."""
        for _ in range(_DUMP_TRIES):
            found, consistent = self._dump_once(rtnetlink.dump(kind))
            if consistent:
                break
        return found

    def _dump_once(self, request: Request) -> tuple[list[Message], bool]:
        sequence = self._send([request])
        found: list[Message] = []
        consistent = True
        while True:
            for message in self._receive():
                if message.sequence != sequence:
                    continue
                consistent = consistent and not message.flags & NLM_F_DUMP_INTR
                if message.type not in (NLMSG_DONE, NLMSG_ERROR):
                    found.append(message)
                    continue
                if error := _error(request, message):
                    raise error
                return found, consistent

    def _send(self, requests: Sequence[Request]) -> int:
        """Send in one datagram; the sequence number of the first."""
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.send(b"".join(request.encode(first + i) for i, request in enumerate(requests)))
        return first

    def _receive(self) -> Iterable[Message]:
        return messages(self._socket.recv(_RECEIVE))


def _error(request: Request, message: Message) -> KernelError | None:
    code, said = failure(message)
    return KernelError(request.call, request.object, code, detail=said) if code else None
