"""Networks end to end: the engine's use cases on one side, plain namespaces in the place of containers on the other."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from network_machine import Machine
from onggi.engine.networks import Networks
from onggi.errors import Conflict, Forbidden, Invalid, NotFound, Unsupported
from onggi.kernel.netlink import Route
from onggi.network.endpoint import Endpoint, links
from onggi.network.ipam import AddressPool
from onggi.wire.document import to_wire
from onggi.wire.filters import Filters
from onggi.wire.networks import NetworkCreate

pytestmark = pytest.mark.root
T = TypeVar("T")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    """A machine of the test's own."""
    with ExitStack() as undo:
        yield Machine(tmp_path, undo)


def _address(endpoint: Endpoint) -> str:
    return endpoint.address.partition("/")[0]


def _subnet(host: Machine, networks: Networks) -> str:
    (pool,) = to_wire(host.do(networks.inspect("bridge")))["IPAM"]["Config"]
    return str(pool["Subnet"])


def test_two_containers_reach_each_other_and_the_host_reaches_them(host: Machine) -> None:
    """Ping and TCP work between containers of the default bridge, and from the host."""
    networks = host.started()
    (one, first), (two, second) = host.run(networks, "a" * 64), host.run(networks, "b" * 64)
    assert one.ping(_address(second))
    assert host.netns.ping(_address(first))
    with two.listen(_address(second)) as server, one.connect(_address(second), server.getsockname()[1]) as client:
        assert client.getpeername()[0] == _address(second)


def test_a_container_gets_out_under_the_hosts_address(host: Machine) -> None:
    """A server outside, which has no route to the container, answers it and sees the machine's address."""
    outside = host.outside()
    container, _ = host.run(host.started(), "a" * 64)
    with outside.listen("203.0.113.2") as server, container.connect(*server.getsockname()):
        connection, peer = server.accept()
        connection.close()
    assert peer[0] == "203.0.113.1"


def test_a_neighbour_of_the_machine_does_not_reach_an_unpublished_port(host: Machine) -> None:
    """With a route to the subnet by way of the machine, nothing comes through but answers."""
    outside = host.outside()
    container, endpoint = host.run(host.started(), "a" * 64)
    with outside.netlink() as netlink:
        netlink.add_route(Route("172.16.0.0/12", gateway="203.0.113.1", link="eth0"))
    assert outside.ping("203.0.113.1")
    assert not outside.ping(_address(endpoint), timeout=0.3)
    with container.listen(_address(endpoint)) as server, pytest.raises(TimeoutError):
        outside.connect(_address(endpoint), server.getsockname()[1], timeout=0.3)


def test_two_engines_have_two_bridges_that_do_not_meet(host: Machine) -> None:
    """The second engine takes another subnet, and neither's containers reach the other's, in both directions."""
    here, there = host.started("onggi"), host.started("onggi-0123abcd")
    (one, first), (two, second) = host.run(here, "a" * 64), host.run(there, "a" * 64)
    assert (first.bridge, second.bridge) == ("onggi0", "og0123abcd")
    assert first.address.split(".")[:2] != second.address.split(".")[:2]
    assert not one.ping(_address(second), timeout=0.3)
    assert not two.ping(_address(first), timeout=0.3)
    with two.listen(_address(second)) as server, pytest.raises(TimeoutError):
        one.connect(_address(second), server.getsockname()[1], timeout=0.3)


def test_what_one_engine_removes_leaves_the_other_whole(host: Machine) -> None:
    """Stopping an engine without containers takes its own bridge and table, nothing of its neighbour's."""
    here, there = host.started("onggi"), host.started("onggi-0123abcd")
    host.do(here.attach("a" * 64))
    container, endpoint = host.run(there, "b" * 64)
    host.do(here.detach("a" * 64))
    host.do(here.stop())
    assert host.nft("list tables inet").split() == ["table", "inet", "onggi-0123abcd"]
    assert container.ping(endpoint.gateway)


def test_a_service_on_the_hosts_loopback_is_not_reached(host: Machine) -> None:
    """Even a container that routes 127.0.0.2 to its gateway, on a host with route_localnet on, gets no answer."""
    container, endpoint = host.run(host.started(), "a" * 64)
    with host.netns.inside():
        Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
    with container.inside():
        Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
    with container.netlink() as inside:
        inside.add_route(Route("127.0.0.2/32", gateway=endpoint.gateway, source=_address(endpoint), link="eth0"))
        inside.remove_address("lo", "127.0.0.1/8")
    with host.netns.listen("127.0.0.2") as server, pytest.raises(OSError, match=r"timed out|unreachable|refused"):
        container.connect("127.0.0.2", server.getsockname()[1], timeout=0.3)


def test_nothing_is_left_after_the_last_container(host: Machine) -> None:
    """Links, addresses, routes and rules are those from before, once container and engine have gone."""
    before = host.state()
    networks = host.started()
    endpoints = host.do(networks.attach("a" * 64))
    host.container(endpoints).close()
    host.do(networks.detach("a" * 64))
    host.do(networks.stop())
    with host.netns.netlink() as netlink:
        while netlink.find_link(endpoints[0].host_link):  # the kernel's worker; the test's timeout ends a vain wait
            os.sched_yield()
    assert host.state() == before


def test_the_bridge_stays_while_a_container_is_on_it(host: Machine) -> None:
    """An engine that stops takes nothing from a container that runs; the next engine takes both over."""
    networks = host.started()
    container, endpoint = host.run(networks, "a" * 64)
    host.do(networks.stop())
    assert container.ping(endpoint.gateway)
    again = host.started(endpoints=[Endpoint.from_record(endpoint.to_record())])
    assert container.ping(endpoint.gateway)
    _, other = host.run(again, "b" * 64)
    assert other.address != endpoint.address


def test_a_bridge_that_somebody_deleted_is_made_again(host: Machine) -> None:
    """The next start makes bridge and rules anew, and containers that run are back on it."""
    networks = host.started()
    container, endpoint = host.run(networks, "a" * 64)
    with host.netns.netlink() as netlink:
        netlink.delete_link("onggi0")
    host.nft("delete table inet onggi")
    assert not host.netns.ping(_address(endpoint), timeout=0.2)
    host.run(networks, "b" * 64)
    assert container.ping(endpoint.gateway)
    assert "masquerade" in host.nft("list table inet onggi")


def test_rules_that_somebody_changed_are_made_again(host: Machine) -> None:
    """A flushed chain does not stay empty: the next start puts the rules back."""
    networks = host.started()
    host.run(networks, "a" * 64)
    made = host.nft("list table inet onggi")
    host.nft("flush chain inet onggi forward")
    host.run(networks, "b" * 64)
    assert host.nft("list table inet onggi") == made


def test_a_start_sweeps_links_that_nobody_owns(host: Machine) -> None:
    """After an engine that was killed, a link of a container that is no more goes; one that lives stays."""
    networks = host.started()
    _, alive = host.run(networks, "a" * 64)
    _, dead = host.run(networks, "b" * 64)
    with host.netns.netlink() as netlink:
        netlink.veth("guest", "guest1", master="onggi0")
        host.started(endpoints=[alive])
        names = {link.name for link in netlink.links()}
    assert alive.host_link in names
    assert "guest" in names
    assert dead.host_link not in names


def test_a_start_removes_the_bridge_of_a_killed_engine(host: Machine) -> None:
    """When no container was left, neither bridge nor rules outlive the next start."""
    networks = host.started()
    host.do(networks.attach("a" * 64))
    host.started()
    with host.netns.netlink() as netlink:
        assert netlink.find_link("onggi0") is None
    assert host.nft("list tables inet") == ""


def test_a_subnet_that_the_host_came_to_route_is_left(host: Machine) -> None:
    """Between the engine's start and the first container a route appeared: the bridge takes the next subnet."""
    networks = host.started()
    assert _subnet(host, networks) == "172.17.0.0/16"
    with host.netns.netlink() as netlink:
        netlink.veth("vpn", "vpn1")
        netlink.configure("vpn", ["172.17.3.1/24"])
    _, endpoint = host.run(networks, "a" * 64)
    assert endpoint.address == "172.18.0.2/16"
    assert _subnet(host, networks) == "172.18.0.0/16"
    assert _subnet(host, host.started(endpoints=[endpoint])) == "172.18.0.0/16"


def test_bip_and_pools_are_obeyed(host: Machine) -> None:
    """`--bip` names the gateway itself; a pool of the user's replaces Docker's."""
    _, endpoint = host.run(host.started(bip="10.44.0.5/24"), "a" * 64)
    assert (endpoint.address, endpoint.gateway) == ("10.44.0.1/24", "10.44.0.5")
    pools = [AddressPool.parse("base=10.45.0.0/16,size=24")]
    assert _subnet(host, host.started("onggi-0123abcd", pools=pools)) == "10.45.0.0/24"


def test_a_changed_bip_moves_an_unused_bridge(host: Machine) -> None:
    """With no container on it the default bridge follows `--bip` at the next start, old address gone."""
    host.run(host.started(), "a" * 64)
    _, endpoint = host.run(host.started(bip="10.44.0.1/24"), "b" * 64)
    assert endpoint.address == "10.44.0.2/24"
    with host.netns.netlink() as netlink:
        assert [a.address for a in netlink.addresses("onggi0")] == ["10.44.0.1/24"]


def test_identities_stay_over_a_restart(host: Machine) -> None:
    """The ids of the three networks are chosen once."""
    before = [network.id for network in host.do(host.started().list())]
    assert [network.id for network in host.do(host.started().list())] == before
    assert all(re.fullmatch("[0-9a-f]{64}", identity) for identity in before)


def test_the_default_networks_read_as_dockers(host: Machine) -> None:
    """Names, drivers, scope, subnet and options are what Docker's clients look for."""
    networks = host.started()
    shown = [to_wire(network) for network in host.do(networks.list())]
    assert [(n["Name"], n["Driver"], n["Scope"]) for n in shown] == [
        ("bridge", "bridge", "local"),
        ("host", "host", "local"),
        ("none", "null", "local"),
    ]
    assert shown[0]["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert shown[0]["Options"]["com.docker.network.bridge.name"] == "onggi0"
    assert shown[1]["IPAM"]["Config"] is None


def test_inspect_shows_who_is_attached(host: Machine) -> None:
    """A network's document lists its containers, and no longer once they are detached."""
    networks = host.started()
    _, endpoint = host.run(networks, "a" * 64)
    shown = to_wire(host.do(networks.inspect("bridge")))["Containers"]
    assert shown["a" * 64]["IPv4Address"] == endpoint.address
    assert shown["a" * 64]["MacAddress"] == "02:42:ac:11:00:02"
    host.do(networks.detach("a" * 64))
    assert to_wire(host.do(networks.inspect("bridge")))["Containers"] == {}


def test_networks_are_found_by_id_name_and_start_of_an_id(host: Machine) -> None:
    """Docker's three ways to name a network; another name is not found."""
    networks = host.started()
    identity = host.do(networks.inspect("bridge")).id
    assert host.do(networks.inspect(identity)).name == "bridge"
    assert host.do(networks.inspect(identity[:12])).name == "bridge"
    for unknown in ("nope", "", "../bridge"):
        with pytest.raises(NotFound):
            host.do(networks.inspect(unknown))


def test_a_preview_tells_what_a_start_would_get_and_does_nothing(host: Machine) -> None:
    """Same address, same link name, no bridge; what cannot be attached is an error here, too."""
    networks = host.started()
    before = host.state()
    (told,) = host.do(networks.preview("a" * 64))
    assert host.state() == before
    assert networks.endpoints("a" * 64) == ()
    (given,) = host.do(networks.attach("a" * 64))
    assert replace(told, id=given.id) == given
    assert [e.driver for e in host.do(networks.preview("a" * 64, "none"))] == ["null"]
    with pytest.raises(NotFound):
        host.do(networks.preview("a" * 64, "mynet"))


def test_host_and_none_need_no_bridge(host: Machine) -> None:
    """Both give an endpoint without a link, nothing is made in the kernel, and `container:` gives none."""
    before = host.state()
    networks = host.started()
    for mode in ("host", "none"):
        (endpoint,) = host.do(networks.attach("a" * 64, mode))
        assert (endpoint.network_name, endpoint.address) == (mode, "")
        assert links([endpoint]) == []
    assert host.do(networks.attach("b" * 64, "container:" + "a" * 64)) == ()
    assert host.state() == before


def test_what_cannot_be_attached_is_refused_and_takes_no_address(host: Machine) -> None:
    """An unknown network, or an address on the default bridge, is an error that changes nothing."""
    networks = host.started()
    with pytest.raises(NotFound):
        host.do(networks.attach("a" * 64, "mynet"))
    with pytest.raises(Invalid, match="supported on user defined networks only"):
        host.do(networks.attach("a" * 64, "bridge", address="172.17.0.9"))
    assert host.run(networks, "a" * 64)[1].address == "172.17.0.2/16"


def test_an_address_is_not_used_again_at_once(host: Machine) -> None:
    """The address of a container that has ended is the last to be given out again."""
    networks = host.started()
    first = host.do(networks.attach("a" * 64))[0].address
    host.do(networks.detach("a" * 64))
    assert host.do(networks.attach("b" * 64))[0].address != first


def test_a_quick_restart_takes_another_name_for_its_link(host: Machine) -> None:
    """While the old link is still there, the next start's link has another name."""
    networks = host.started()
    _, first = host.run(networks, "a" * 64)
    host.do(networks.detach("a" * 64))
    _, second = host.run(networks, "a" * 64)
    assert first.host_link != second.host_link


def test_many_attachments_at_once_get_different_addresses(host: Machine) -> None:
    """Thirty containers that start together make one bridge and share nothing."""
    networks = host.started()

    async def attach_all() -> list[Sequence[Endpoint]]:
        return await asyncio.gather(*(networks.attach(f"{i:064x}") for i in range(30)))

    endpoints = [endpoints[0] for endpoints in host.do(attach_all())]
    assert len({e.address for e in endpoints}) == len({e.mac for e in endpoints}) == 30
    assert len([e for e in host.trace.events if e.step.startswith("ip link add")]) == 1


def test_a_link_that_is_no_bridge_is_not_touched(host: Machine) -> None:
    """A link of another kind that has the bridge's name is an error, and stays as it is."""
    networks = host.started()
    with host.netns.netlink() as netlink:
        netlink.veth("onggi0", "other")
        with pytest.raises(Conflict, match="onggi0"):
            host.do(networks.attach("a" * 64))
        link = netlink.link("onggi0")
    assert (link.kind, link.master) == ("veth", 0)


def test_the_bridge_believes_no_router_advertisement(host: Machine) -> None:
    """IPv6 is off on a bridge without an IPv6 subnet, forwarding is on, and 127/8 is not routed."""
    host.do(host.started().attach("a" * 64))
    with host.netns.inside():
        values = {
            name: Path("/proc/sys/net", name).read_text().strip()
            for name in (
                "ipv6/conf/onggi0/disable_ipv6",
                "ipv4/ip_forward",
                "ipv4/conf/onggi0/route_localnet",
            )
        }
    assert list(values.values()) == ["1", "1", "0"]


def test_a_container_without_ipv6_has_no_link_local_address(host: Machine) -> None:
    """There is no second, unguarded way between two containers."""
    container, endpoint = host.run(host.started(), "a" * 64)
    with container.netlink() as inside:
        assert [a.address for a in inside.addresses("eth0")] == [endpoint.address]


def test_user_defined_networks_are_refused_by_name(host: Machine) -> None:
    """Creation says what is not there yet; a name that exists is a conflict; the default ones cannot be removed."""
    networks = host.started()
    with pytest.raises(Unsupported, match="user-defined networks"):
        host.do(networks.create(NetworkCreate(name="mine")))
    with pytest.raises(Conflict):
        host.do(networks.create(NetworkCreate(name="bridge")))
    with pytest.raises(Forbidden):
        host.do(networks.remove("none"))


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"driver": ["null"]}, ["none"]),
        ({"name": ["^b"]}, ["bridge"]),
        ({"type": ["custom"]}, []),
        ({"dangling": ["true"]}, []),
        ({"dangling": ["false"], "scope": ["local"]}, ["bridge", "host", "none"]),
        ({"scope": ["swarm"]}, []),
        ({"label": ["a"]}, []),
    ],
)
def test_a_list_is_narrowed_by_filters(host: Machine, filters: dict[str, list[str]], names: list[str]) -> None:
    """Each filter that Docker has for networks."""
    assert [network.name for network in host.do(host.started().list(Filters(filters)))] == names
