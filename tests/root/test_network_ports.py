"""Published ports: who reaches them, who does not, and who may have them."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from network_machine import Machine
from network_world import Namespace
from onggi.engine.network_views import port_map
from onggi.engine.networks import Networks
from onggi.errors import Conflict
from onggi.kernel.netlink import Route
from onggi.network.endpoint import Endpoint
from onggi.network.ports import Port

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    """A machine of the test's own."""
    with ExitStack() as undo:
        yield Machine(tmp_path, undo)


def _publish(
    host: Machine, networks: Networks, ports: Sequence[Port], container_id: str = "a" * 64
) -> tuple[Namespace, Endpoint]:
    (endpoint,) = host.do(networks.attach(container_id, ports=ports))
    container = host.container([endpoint])
    host.undo.callback(container.close)
    return container, endpoint


def _serves(server: socket.socket, client: Namespace, address: str, port: int) -> str:
    """The peer that the server sees when `client` connects."""
    with client.connect(address, port):
        connection, peer = server.accept()
        connection.close()
    return str(peer[0])


def test_a_neighbour_reaches_a_published_port(host: Machine) -> None:
    """By the machine's address, and the container sees who it is."""
    outside = host.outside()
    container, _ = _publish(host, host.started(), [Port("tcp", 80, 8080)])
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, outside, "203.0.113.1", 8080) == "203.0.113.2"


def test_the_host_reaches_it_on_its_loopback_and_its_address(host: Machine) -> None:
    """127.0.0.1 works, too, as with Docker."""
    host.outside()
    container, endpoint = _publish(host, host.started(), [Port("tcp", 80, 8080)])
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, host.netns, "127.0.0.1", 8080) == endpoint.gateway
        assert _serves(server, host.netns, "203.0.113.1", 8080)


def test_a_container_reaches_it_by_the_hosts_address_and_so_does_its_owner(host: Machine) -> None:
    """The way out and back over the same bridge (hairpin), from another container and from itself."""
    networks = host.started()
    container, endpoint = _publish(host, networks, [Port("tcp", 80, 8080)])
    other, _ = host.run(networks, "b" * 64)
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, other, endpoint.gateway, 8080)
        assert _serves(server, container, endpoint.gateway, 8080)


def test_a_container_of_another_engine_reaches_it_by_the_hosts_address(host: Machine) -> None:
    """What is published is published for everybody; what is not stays closed to them."""
    container, endpoint = _publish(host, host.started(), [Port("tcp", 80, 8080)])
    stranger, _ = host.run(host.started("onggi-0123abcd"), "b" * 64)
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, stranger, endpoint.gateway, 8080)
        with pytest.raises(TimeoutError):
            stranger.connect(endpoint.address.partition("/")[0], 80, timeout=0.3)


def test_a_port_on_the_loopback_is_not_for_neighbours(host: Machine) -> None:
    """`-p 127.0.0.1:8080:80` answers the host, and refuses the network."""
    outside = host.outside()
    container, _ = _publish(host, host.started(), [Port("tcp", 80, 8080, "127.0.0.1")])
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, host.netns, "127.0.0.1", 8080)
        with pytest.raises(ConnectionRefusedError):
            outside.connect("203.0.113.1", 8080)
        with outside.netlink() as netlink:
            netlink.remove_address("lo", "127.0.0.1/8")
        with pytest.raises(OSError, match=r"timed out|unreachable|refused|Invalid"):
            outside.connect("127.0.0.1", 8080, timeout=0.3)


def test_udp_is_published_beside_tcp_of_the_same_number(host: Machine) -> None:
    """The protocols have maps' keys of their own."""
    outside = host.outside()
    container, _ = _publish(host, host.started(), [Port("udp", 53, 5353)])
    with container.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 53))
    with outside.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server, client:
        server.settimeout(2)
        client.settimeout(2)
        client.sendto(b"ping", ("203.0.113.1", 5353))
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)
        assert client.recvfrom(100) == (b"ping", ("203.0.113.1", 5353))
    with pytest.raises(ConnectionRefusedError):
        outside.connect("203.0.113.1", 5353)


def test_a_port_of_another_container_is_a_conflict_that_keeps_nothing(host: Machine) -> None:
    """Docker's sentence has its facts; the address is free again, and the first port of the list, too."""
    networks = host.started()
    _publish(host, networks, [Port("tcp", 80, 8080)])
    with pytest.raises(Conflict, match=r"0\.0\.0\.0:8080.*port is already allocated") as caught:
        host.do(networks.attach("b" * 64, ports=[Port("tcp", 80, 8081), Port("tcp", 81, 8080)]))
    assert (caught.value.code, caught.value.facts["port"]) == ("port.in-use", 8080)
    assert networks.endpoints("b" * 64) == ()
    host.do(networks.attach("c" * 64, ports=[Port("tcp", 80, 8081)]))


def test_a_port_of_a_process_on_the_host_is_a_conflict(host: Machine) -> None:
    """What somebody listens on is not taken away from them."""
    with host.netns.listen("0.0.0.0") as server, pytest.raises(Conflict):
        host.do(host.started().attach("a" * 64, ports=[Port("tcp", 80, server.getsockname()[1])]))


def test_no_process_of_the_host_gets_a_published_port(host: Machine) -> None:
    """The engine holds it, until the container has ended."""
    networks = host.started()
    host.do(networks.attach("a" * 64, ports=[Port("tcp", 80, 8080)]))
    with pytest.raises(OSError, match="in use"):
        host.netns.listen("127.0.0.1", 8080)
    host.do(networks.detach("a" * 64))
    host.netns.listen("127.0.0.1", 8080).close()


def test_a_port_without_a_number_gets_one(host: Machine) -> None:
    """`-p 80` takes a free port of the host, and inspect shows which."""
    container, endpoint = _publish(host, host.started(), [Port("tcp", 80)])
    (port,) = endpoint.ports
    assert port.host_port >= 1024
    bindings = port_map([endpoint])["80/tcp"]
    assert bindings is not None
    (binding,) = bindings
    assert (binding.host_ip, binding.host_port) == ("0.0.0.0", str(port.host_port))
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, host.netns, "127.0.0.1", port.host_port)


def test_a_port_is_closed_once_its_container_has_ended(host: Machine) -> None:
    """No element stays in the rules, so the next container with that address is not published by accident."""
    networks = host.started()
    _publish(host, networks, [Port("tcp", 80, 8080), Port("tcp", 81, 8081, "127.0.0.1")])
    host.do(networks.detach("a" * 64))
    assert "elements" not in host.nft("list table inet onggi")


def test_ports_outlive_the_engine_and_lost_rules(host: Machine) -> None:
    """After a restart, and after somebody flushed all rules, the port leads to the container again."""
    networks = host.started()
    container, endpoint = _publish(host, networks, [Port("tcp", 80, 8080)])
    host.do(networks.stop())
    with container.listen("0.0.0.0", 80) as server:
        assert _serves(server, host.netns, "127.0.0.1", 8080)
        host.nft("flush ruleset")
        with host.netns.netlink() as netlink:
            netlink.delete_link("onggi0")
        again = host.started(endpoints=[Endpoint.from_record(endpoint.to_record())])
        assert _serves(server, host.netns, "127.0.0.1", 8080)
    with pytest.raises(Conflict):
        host.do(again.attach("b" * 64, ports=[Port("tcp", 80, 8080)]))


def test_the_hosts_loopback_stays_closed_while_a_port_is_published(host: Machine) -> None:
    """route_localnet is on now; a container that sends to 127.0.0.2 over its gateway still meets a drop."""
    container, endpoint = _publish(host, host.started(), [Port("tcp", 80, 8080)])
    with container.inside():
        Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
    with container.netlink() as inside:
        source = endpoint.address.partition("/")[0]
        inside.remove_address("lo", "127.0.0.1/8")
        inside.add_route(Route("127.0.0.2/32", gateway=endpoint.gateway, source=source, link="eth0"))
    with host.netns.listen("127.0.0.2") as server, pytest.raises(TimeoutError):
        container.connect("127.0.0.2", server.getsockname()[1], timeout=0.3)
