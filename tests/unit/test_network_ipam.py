"""Subnets and addresses: pure decisions."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Conflict, Invalid, LimitExceeded
from onggi.network.ipam import DEFAULT_POOLS, Addresses, AddressPool, choose_subnet, mac_of, parse_bip


def _small(prefix: int = 29) -> Addresses:
    subnet = IPv4Network(f"10.9.0.0/{prefix}")
    return Addresses(subnet, subnet.network_address + 1, network="bridge")


@given(st.lists(st.one_of(st.none(), st.integers(0, 7)), max_size=60), st.integers(24, 30))
def test_no_address_is_given_out_twice(actions: list[int | None], prefix: int) -> None:
    """Whatever is allocated and released in between, an address has one holder, and is a host's in the subnet."""
    pool = _small(prefix)
    held: list[IPv4Address] = []
    for action in actions:
        if action is not None and held:
            pool.release(str(held.pop(action % len(held))))
            continue
        if len(held) == pool.subnet.num_addresses - 3:
            with pytest.raises(LimitExceeded):
                pool.allocate()
            continue
        address = pool.allocate()
        assert address not in held
        assert address in set(pool.subnet.hosts()) - {pool.gateway}
        held.append(address)


def test_a_full_subnet_says_so_in_dockers_words() -> None:
    """The sentence that Docker's users know."""
    pool = _small(30)
    pool.allocate()
    with pytest.raises(LimitExceeded, match="no available IPv4 addresses on this network's address pools: bridge"):
        pool.allocate()


def test_a_released_address_is_the_last_to_come_back() -> None:
    """All others are used first."""
    pool = _small()
    first = pool.allocate()
    pool.release(str(first))
    others = [pool.allocate() for _ in range(4)]
    assert first not in others
    assert pool.allocate() == first


def test_an_address_that_runs_is_not_given_to_another() -> None:
    """What was reserved after a restart is passed over; reserving it again is a conflict."""
    pool = _small()
    pool.reserve("10.9.0.2")
    assert pool.allocate() == IPv4Address("10.9.0.3")
    with pytest.raises(Conflict, match="Address already in use"):
        pool.reserve("10.9.0.2")


@pytest.mark.parametrize("address", ["10.9.0.0", "10.9.0.1", "10.9.0.7"])
def test_the_subnets_own_addresses_are_never_a_containers(address: str) -> None:
    """Network, gateway and broadcast cannot be reserved, and stay taken when released."""
    pool = _small()
    pool.release(address)
    with pytest.raises(Conflict):
        pool.reserve(address)


@pytest.mark.parametrize("address", ["10.9.1.2", "fd00::1", "10.9.0.2/29", "", "010.9.0.2"])
def test_an_address_from_elsewhere_is_refused(address: str) -> None:
    """Another subnet, another family, or no address at all."""
    with pytest.raises(Invalid):
        _small().reserve(address)


def test_the_first_subnet_is_dockers() -> None:
    """On a host with nothing but a default route it is 172.17.0.0/16."""
    assert choose_subnet(DEFAULT_POOLS, ["default", "203.0.113.0/24"]) == IPv4Network("172.17.0.0/16")


_PREFIXES = st.builds(
    lambda address, length: str(IPv4Network((address, length), strict=False)), st.ip_addresses(v=4), st.integers(8, 32)
)


@given(st.lists(_PREFIXES, max_size=30))
def test_no_route_is_ever_shadowed(routes: list[str]) -> None:
    """Whatever the host routes, the chosen subnet overlaps none of it, or there is an error."""
    try:
        chosen = choose_subnet(DEFAULT_POOLS, routes)
    except LimitExceeded:
        return
    assert not any(chosen.overlaps(IPv4Network(route)) for route in routes)


def test_a_route_inside_a_subnet_and_one_around_it_both_count() -> None:
    """A single address inside 172.17/16 and a /14 around the next ones push the choice on."""
    assert choose_subnet(DEFAULT_POOLS, ["172.17.255.1/32", "172.16.0.0/14"]) == IPv4Network("172.20.0.0/16")


def test_a_vpn_that_cuts_the_default_route_in_halves_leaves_a_choice() -> None:
    """0.0.0.0/1 and 128.0.0.0/1 are a default route in disguise, and real subnets are still avoided."""
    routes = ["0.0.0.0/1", "128.0.0.0/1", "172.17.0.0/16"]
    assert choose_subnet(DEFAULT_POOLS, routes) == IPv4Network("172.18.0.0/16")


def test_when_every_pool_is_routed_the_error_says_so() -> None:
    """All of Docker's ranges taken: the sentence, and a hint at the options."""
    with pytest.raises(LimitExceeded, match="all predefined address pools have been fully subnetted") as caught:
        choose_subnet(DEFAULT_POOLS, ["172.16.0.0/12", "192.168.0.0/16"])
    assert "--default-address-pool" in caught.value.hint


def test_a_pool_is_read_as_docker_writes_it() -> None:
    """`base=…,size=…` in either order."""
    assert AddressPool.parse("size=24,base=10.9.0.0/16") == AddressPool(IPv4Network("10.9.0.0/16"), 24)


@pytest.mark.parametrize(
    "text", ["", "base=10.9.0.0/16", "base=10.9.0.1/16,size=24", "base=10.9.0.0/16,size=8", "base=x,size=24"]
)
def test_a_pool_that_is_none_is_refused(text: str) -> None:
    """Each broken value of the option is an error, not a surprise later."""
    with pytest.raises(Invalid):
        AddressPool.parse(text)


def test_bip_is_gateway_and_subnet_in_one() -> None:
    """`10.9.0.1/24` is the gateway 10.9.0.1 of 10.9.0.0/24."""
    assert parse_bip("10.9.0.1/24") == (IPv4Network("10.9.0.0/24"), IPv4Address("10.9.0.1"))


@pytest.mark.parametrize("text", ["", "10.9.0.0/24", "10.9.0.255/24", "10.9.0.1", "10.9.0.1/31", "fd00::1/64", "x"])
def test_a_bip_that_is_no_hosts_address_is_refused(text: str) -> None:
    """The network's or the broadcast address, a host alone, and what is none."""
    with pytest.raises(Invalid):
        parse_bip(text)


@given(st.ip_addresses(v=4))
def test_a_mac_address_says_which_address_it_belongs_to(address: IPv4Address) -> None:
    """Locally administered, unicast, and as unique as the address."""
    packed = bytes.fromhex(mac_of(address).replace(":", ""))
    assert packed[:2] == b"\x02\x42"
    assert packed[2:] == address.packed
