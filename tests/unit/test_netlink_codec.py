"""The framing of netlink messages, and rtnetlink's requests, as bytes: no socket is opened here."""

from __future__ import annotations

import errno
import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Invalid
from onggi.kernel import netlink_codec as codec
from onggi.kernel import rtnetlink
from onggi.kernel.rtnetlink import Route


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_come_back_as_they_were_written(values: dict[int, bytes]) -> None:
    """Padding and lengths of `attribute` are what `attributes` reads."""
    data = b"".join(codec.attribute(kind, value) for kind, value in values.items())
    assert len(data) % 4 == 0
    assert codec.attributes(data) == values


@given(st.binary(max_size=200))
def test_no_bytes_from_a_socket_break_the_reader(data: bytes) -> None:
    """Whatever arrives, reading ends and raises nothing."""
    for message in codec.messages(data):
        codec.failure(message)
        codec.attributes(message.payload)
    codec.attributes(data)


def test_an_attribute_that_claims_more_than_there_is_is_left_out() -> None:
    """A length that runs over the end stops the reading instead of giving bytes of something else."""
    assert codec.attributes(struct.pack("=HH", 400, 3) + b"abcd") == {}


def test_requests_of_one_datagram_are_read_back_in_order() -> None:
    """Each message keeps its sequence number, type and payload, also behind one of odd length."""
    first = codec.Request("a", "", 20, 0, b"12345")
    second = codec.Request("b", "", 21, 0, b"6")
    datagram = first.encode(7) + bytes(3) + second.encode(8)
    assert [(m.sequence, m.type, m.payload) for m in codec.messages(datagram)] == [(7, 20, b"12345"), (8, 21, b"6")]


def test_the_kernels_own_words_are_read_from_a_capped_acknowledgement() -> None:
    """An extended acknowledgement gives errno and message."""
    said = codec.attribute(1, b"Nexthop has invalid gateway\0")
    payload = struct.pack("=i", -errno.ENETUNREACH) + codec.HEADER.pack(80, 24, 5, 1, 0) + said
    message = codec.Message(codec.NLMSG_ERROR, codec.NLM_F_CAPPED | codec.NLM_F_ACK_TLVS, 1, payload)
    assert codec.failure(message) == (errno.ENETUNREACH, "Nexthop has invalid gateway")


def test_an_acknowledgement_without_error_is_no_failure() -> None:
    """Error code 0 is how the kernel says yes."""
    payload = struct.pack("=i", 0) + codec.HEADER.pack(16, 24, 5, 1, 0)
    assert codec.failure(codec.Message(codec.NLMSG_ERROR, codec.NLM_F_CAPPED, 1, payload)) == (0, "")


@pytest.mark.parametrize("mac", ["", "02:42", "02:42:ac:11:00:02:03", "zz:42:ac:11:00:02", "02:42:ac:11:00:100"])
def test_what_is_no_mac_address_is_refused(mac: str) -> None:
    """A bad MAC address never reaches the kernel."""
    with pytest.raises(Invalid):
        codec.pack_mac(mac)


@pytest.mark.parametrize("text", ["", "/", "10.0.0.1/33", "10.0.0.1/-1", "10.0.0/8", "::1/129", "10.0.0.1/x", "host"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A bad address never reaches the kernel, and no name is ever looked up."""
    with pytest.raises(Invalid):
        codec.pack_prefix(text)


@given(st.ip_addresses())
def test_addresses_of_both_families_come_back(address: object) -> None:
    """What is packed is shown as it was written."""
    _family, packed, prefix = codec.pack_prefix(str(address))
    assert prefix == len(packed) * 8
    assert ipaddress.ip_address(codec.show_address(packed)) == address


def test_a_veth_request_holds_the_whole_peer() -> None:
    """Name, MAC address and namespace of the peer travel inside the one request that makes the pair."""
    request = rtnetlink.veth("v1", "eth0", peer_netns_fd=9, master_index=3, mac="02:42:ac:11:00:02", mtu=1400)
    top = codec.attributes(request.payload, 16)
    info = codec.attributes(top[18])
    peer = codec.attributes(codec.attributes(info[2])[1], 16)
    assert (top[3], info[1]) == (b"v1\0", b"veth\0")
    assert struct.unpack("=I", top[10]) == (3,)
    assert (peer[3], peer[1]) == (b"eth0\0", bytes.fromhex("0242ac110002"))
    assert struct.unpack("=I", peer[28]) == (9,)
    assert struct.unpack("=I", peer[4]) == (1400,)


def test_a_local_route_is_not_listed() -> None:
    """Only unicast routes are routes to us; local and broadcast entries are the kernel's own."""
    payload = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 255, 2, 254, 2, 0)
    assert rtnetlink.parse_route(payload) is None


def test_a_route_request_is_read_as_the_route_it_was_made_from() -> None:
    """`add_route` and `parse_route` agree on every field that both know."""
    route = Route("10.1.0.0/16", gateway="10.0.0.1", source="10.0.0.2", onlink=True, index=4)
    assert rtnetlink.parse_route(rtnetlink.add_route(route, 4).payload) == route


def test_a_broadcast_address_is_given_with_a_v4_address() -> None:
    """The last address of the subnet is named as broadcast, as Docker's endpoints have it."""
    request = rtnetlink.add_address(2, "eth0", "172.17.0.2/16")
    assert codec.attributes(request.payload, 8)[4] == bytes([172, 17, 255, 255])
