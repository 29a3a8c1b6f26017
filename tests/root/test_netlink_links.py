"""`Netlink` against the kernel, in network namespaces of the test's own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from network_world import Namespace
from onggi.errors import KernelError
from onggi.kernel import rtnetlink
from onggi.kernel.netlink import Netlink
from onggi.kernel.netlink_codec import Request
from onggi.kernel.rtnetlink import LinkFlag, Route

pytestmark = pytest.mark.root


@pytest.fixture
def host() -> Iterator[Namespace]:
    """The namespace that plays the host."""
    namespace = Namespace()
    yield namespace
    namespace.close()


@pytest.fixture
def inner() -> Iterator[Namespace]:
    """The namespace that plays a container."""
    namespace = Namespace()
    yield namespace
    namespace.close()


def _fails(code: int, netlink: Netlink, *requests: Request) -> KernelError:
    with pytest.raises(KernelError) as caught:
        netlink.run(*requests)
    assert caught.value.errno == code
    return caught.value


def test_a_bridge_forwards_without_delay(host: Namespace) -> None:
    """A bridge has no spanning tree and no forward delay, the wanted MAC address, and is up."""
    with host.netlink() as netlink, host.inside():
        netlink.bridge("br7", mac="02:42:0a:00:00:01", mtu=1400, up=True)
        link = netlink.link("br7")
        assert (link.kind, link.mac, link.mtu) == ("bridge", "02:42:0a:00:00:01", 1400)
        assert link.flags & LinkFlag.UP


def test_the_peer_is_born_in_the_other_namespace(host: Namespace, inner: Namespace) -> None:
    """After one request the peer has its name, MAC address and MTU in there, and never was here."""
    with host.netlink() as netlink, inner.netlink() as inside:
        netlink.bridge("br7", up=True)
        netlink.veth("v1", "eth0", peer_netns_fd=inner.fd, master="br7", mac="02:42:0a:00:00:02", mtu=1400)
        peer = inside.link("eth0")
        assert (peer.kind, peer.mac, peer.mtu) == ("veth", "02:42:0a:00:00:02", 1400)
        assert netlink.link("v1").master == netlink.index("br7")
        assert netlink.find_link("eth0") is None


def test_configure_makes_a_container_reachable(host: Namespace, inner: Namespace) -> None:
    """Address, state and default route are there after `configure`, and packets flow."""
    with host.netlink() as netlink, inner.netlink() as inside:
        netlink.bridge("br7", up=True)
        netlink.add_address("br7", "10.9.0.1/24")
        netlink.veth("v1", "eth0", peer_netns_fd=inner.fd, master="br7")
        inside.configure("eth0", ["10.9.0.2/24", "fd00:9::2/64"], [Route("default", gateway="10.9.0.1")])
        assert {a.address for a in inside.addresses("eth0")} >= {"10.9.0.2/24", "fd00:9::2/64"}
        defaults = [r for r in inside.routes() if r.destination == "default"]
        assert [r.gateway for r in defaults] == ["10.9.0.1"]
    assert inner.ping("10.9.0.1")
    assert host.ping("10.9.0.2")


def test_an_error_names_the_object_and_what_the_kernel_said(host: Namespace) -> None:
    """The extended acknowledgement is part of the message."""
    with host.netlink() as netlink:
        netlink.bridge("br7", up=True)
        with pytest.raises(KernelError, match=r"RTM_NEWROUTE `default via 10\.1\.1\.1 dev br7`: .*invalid gateway"):
            netlink.add_route(Route("default", gateway="10.1.1.1", link="br7"))


def test_an_onlink_gateway_needs_no_address_in_its_subnet(host: Namespace) -> None:
    """With `onlink` the same route is accepted, and is listed as such."""
    with host.netlink() as netlink:
        netlink.bridge("br7", up=True)
        netlink.add_address("br7", "10.9.0.1/32")
        netlink.add_route(Route("default", gateway="10.1.1.1", link="br7", onlink=True))
        assert [r.onlink for r in netlink.routes() if r.gateway == "10.1.1.1"] == [True]
        netlink.remove_route(Route("default", gateway="10.1.1.1", link="br7"))
        assert not [r for r in netlink.routes() if r.gateway == "10.1.1.1"]


def test_a_batch_raises_its_first_failure_and_leaves_the_socket_usable(host: Namespace) -> None:
    """Every acknowledgement of a batch is read, so that the next exchange gets its own."""
    with host.netlink() as netlink:
        error = _fails(errno.ENODEV, netlink, rtnetlink.delete_link("no1"), rtnetlink.delete_link("no2"))
        assert error.object == "link no1"
        assert netlink.link("lo").index == 1


def test_more_requests_than_one_datagram_holds_are_all_done(host: Namespace) -> None:
    """Two hundred addresses in one call arrive."""
    with host.netlink() as netlink:
        netlink.bridge("br7", up=True)
        index = netlink.index("br7")
        wanted = {f"10.9.{i}.1/24" for i in range(200)}
        netlink.run(*(rtnetlink.add_address(index, "br7", address) for address in sorted(wanted)))
        assert {a.address for a in netlink.addresses("br7")} >= wanted
        netlink.remove_address("br7", "10.9.0.1/24")
        assert "10.9.0.1/24" not in {a.address for a in netlink.addresses("br7")}


@pytest.mark.parametrize("name", ["x" * 16, "a/b", "a b", "..", ""])
def test_a_name_that_is_none_makes_no_link(host: Namespace, name: str) -> None:
    """The kernel refuses names that are too long or could be taken for paths; no link is left behind."""
    with host.netlink() as netlink:
        before = netlink.links()
        with pytest.raises(KernelError):
            netlink.veth("v1", name or "..")
        assert [link.name for link in netlink.links()] == [link.name for link in before]


def test_a_taken_name_in_the_container_leaves_nothing_on_the_host(host: Namespace, inner: Namespace) -> None:
    """When the peer cannot be made, neither end is there."""
    with host.netlink() as netlink, inner.netlink() as inside:
        inside.bridge("eth0")
        with pytest.raises(KernelError) as caught:
            netlink.veth("v1", "eth0", peer_netns_fd=inner.fd)
        assert caught.value.errno == errno.EEXIST
        assert netlink.find_link("v1") is None


def test_a_link_is_renamed_retuned_and_taken_out_of_its_bridge(host: Namespace) -> None:
    """`set_link` changes exactly what it is given."""
    with host.netlink() as netlink:
        netlink.bridge("br7")
        netlink.veth("v1", "v2", master="br7", up=False)
        netlink.set_link("v1", new_name="v3", mac="02:42:0a:00:00:07", mtu=1300, master=0)
        link = netlink.link("v3")
        assert (link.mac, link.mtu, link.master) == ("02:42:0a:00:00:07", 1300, 0)
        assert not link.flags & LinkFlag.UP
        netlink.delete_link("v3")
        assert netlink.find_link("v2") is None


def test_a_link_goes_with_its_peers_namespace(host: Namespace) -> None:
    """Nobody needs to delete the host's end: it goes when the container's namespace does."""
    with host.netlink() as netlink, ExitStack() as undo:
        namespace = Namespace()
        undo.callback(namespace.close)
        netlink.veth("v1", "eth0", peer_netns_fd=namespace.fd)
        undo.close()
        while netlink.find_link("v1"):  # the kernel tidies up in a worker; the test's timeout ends a vain wait
            os.sched_yield()


def test_counters_are_read(host: Namespace, inner: Namespace) -> None:
    """What went over the link is seen from the host's end."""
    with host.netlink() as netlink, inner.netlink() as inside:
        netlink.veth("v1", "eth0", peer_netns_fd=inner.fd)
        netlink.configure("v1", ["10.9.0.1/24"])
        inside.configure("eth0", ["10.9.0.2/24"])
        assert host.ping("10.9.0.2")
        stats = netlink.link("v1").stats
        assert stats is not None
        assert stats.tx_packets >= 1
        assert stats.rx_bytes >= 28


def test_the_socket_is_closed_on_exec(host: Namespace) -> None:
    """No container inherits a netlink socket."""
    with host.netlink() as netlink:
        assert not os.get_inheritable(netlink.fileno())
