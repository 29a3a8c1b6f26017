"""The files by which a container knows names, and the values of endpoints and rules: text in, text out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.engine.network_views import endpoint_settings, network_settings
from onggi.errors import Corrupt, Invalid, Unsupported
from onggi.network import files, ports, records
from onggi.network.bridge import Bridge, bridge_name, ruleset
from onggi.network.endpoint import Endpoint, host_link_name, links
from onggi.network.ports import Port
from onggi.network.records import NetworkRecord
from onggi.wire.document import to_wire

_ENDPOINT = Endpoint(
    "e" * 64,
    "n" * 64,
    "bridge",
    "bridge",
    "c" * 64,
    bridge="onggi0",
    host_link="v012345670",
    container_link="eth0",
    mac="02:42:ac:11:00:02",
    address="172.17.0.2/16",
    gateway="172.17.0.1",
    mtu=1500,
    ipv6_off=True,
)


def test_hosts_knows_localhost_and_the_container() -> None:
    """The container's own line comes last, with its short name."""
    lines = files.hosts("web", addresses=["172.17.0.2/16"]).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-1] == "172.17.0.2\tweb"


def test_a_domain_name_comes_before_the_short_one() -> None:
    """The full name is the canonical one."""
    assert files.hosts("web", domainname="example.org", addresses=["10.0.0.2"]).endswith(
        "10.0.0.2\tweb.example.org web\n"
    )


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("db:10.0.0.5", "10.0.0.5\tdb\n"),
        ("db=10.0.0.5", "10.0.0.5\tdb\n"),
        ("db:fd00::5", "fd00::5\tdb\n"),
        ("db:[fd00::5]", "fd00::5\tdb\n"),
        ("host.docker.internal:host-gateway", "172.17.0.1\thost.docker.internal\n"),
    ],
)
def test_an_added_host_is_a_line(value: str, line: str) -> None:
    """Every way in which `--add-host` is written."""
    assert line in files.hosts("web", extra=[value], host_gateway="172.17.0.1")


@pytest.mark.parametrize("value", ["", "db", ":10.0.0.5", "db:", "db:name", "a b:10.0.0.5", "a\n6.6.6.6 b:10.0.0.5"])
def test_an_added_host_that_is_none_is_refused(value: str) -> None:
    """No value writes a line that was not meant: newlines and blanks in a name are errors."""
    with pytest.raises(Invalid):
        files.hosts("web", extra=[value])


def test_with_the_hosts_network_the_hosts_file_is_kept() -> None:
    """What the host knows, the container knows, with what was added below it."""
    assert files.hosts("web", host_text="10.1.1.1 nas", extra=["db:10.0.0.5"]) == "10.1.1.1 nas\n10.0.0.5\tdb\n"


_HOST = "# c\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nnameserver ::1\nnameserver fd00::1\nsearch a.org b.org\noptions edns0\n"


def test_servers_on_the_hosts_loopback_are_left_out() -> None:
    """In the container that address is another machine; IPv6 servers go where there is no IPv6."""
    assert files.resolv_conf(_HOST) == "nameserver 10.1.1.1\nsearch a.org b.org\noptions edns0\n"
    assert "fd00::1" in files.resolv_conf(_HOST, has_ipv6=True)


def test_where_no_server_is_left_public_ones_are_named() -> None:
    """As Docker does, so that a container on a laptop with a local resolver has names."""
    assert files.resolv_conf("nameserver 127.0.0.1\n") == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_with_the_hosts_network_the_hosts_servers_are_kept() -> None:
    """There the loopback is the host's own."""
    assert files.resolv_conf("nameserver 127.0.0.53\n", is_host_network=True) == "nameserver 127.0.0.53\n"


def test_what_was_asked_for_replaces_the_hosts() -> None:
    """`--dns`, `--dns-search` and `--dns-option`, each for itself, even a server on the loopback."""
    text = files.resolv_conf(_HOST, dns=["127.0.0.1"], search=["x.org"], options=["ndots:2"])
    assert text == "nameserver 127.0.0.1\nsearch x.org\noptions ndots:2\n"


def test_a_search_list_of_a_dot_is_none() -> None:
    """`--dns-search .` takes the host's list away."""
    assert "search" not in files.resolv_conf(_HOST, search=["."])


@given(st.text(max_size=200))
def test_no_host_file_breaks_the_reader(text: str) -> None:
    """Whatever stands in the host's file, there is a server in the result."""
    assert files.resolv_conf(text).startswith("nameserver ")


def test_the_stub_alone_is_recognised() -> None:
    """Only then the real servers are looked for elsewhere."""
    assert files.names_only_the_stub("nameserver 127.0.0.53\noptions edns0\n")
    assert not files.names_only_the_stub(_HOST)


def test_a_hostname_file_is_one_line() -> None:
    """hostname(5)."""
    assert files.hostname("web") == "web\n"


def test_an_endpoint_survives_its_record() -> None:
    """What is written with the container comes back, through JSON."""
    assert Endpoint.from_record(json.loads(json.dumps(_ENDPOINT.to_record()))) == _ENDPOINT


def test_links_are_what_the_runtime_reads() -> None:
    """One value for each link; no IPv6 address means no IPv6."""
    (link,) = links([_ENDPOINT])
    assert json.loads(json.dumps(link)) == link
    assert (link["addresses"], link["mac"]) == (["172.17.0.2/16"], "02:42:ac:11:00:02")
    assert link["routes"] == [{"destination": "default", "gateway": "172.17.0.1"}]
    assert link["sysctls"] == {"net.ipv6.conf.eth0.disable_ipv6": "1"}


@given(st.text(min_size=1, max_size=64), st.text(max_size=20), st.integers(0, 9))
def test_a_links_name_fits_the_kernel(container_id: str, instance: str, number: int) -> None:
    """At most 15 characters, and another name for another engine's container of the same id."""
    name = host_link_name(instance, container_id, number)
    assert len(name) == 10
    assert name != host_link_name(instance + "x", container_id, number)


@pytest.mark.parametrize(("instance", "name"), [("onggi", "onggi0"), ("onggi-0123abcd", "og0123abcd")])
def test_the_bridge_carries_the_instance(instance: str, name: str) -> None:
    """The names of docs/architecture.md."""
    assert bridge_name(instance) == name


def test_the_rules_replace_the_whole_table_at_once() -> None:
    """Adding, deleting and adding in one transaction works whether the table was there or not."""
    lines = ruleset(Bridge("onggi0", "onggi", "172.17.0.1/16")).split("\n")[1:4]
    assert lines == ["table inet onggi", "delete table inet onggi", "table inet onggi {"]


def test_settings_repeat_the_default_bridge_flat() -> None:
    """Old clients read the address at the top, new ones below the network's name."""
    shown = to_wire(network_settings([_ENDPOINT]))
    assert shown["IPAddress"] == shown["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
    assert (shown["IPPrefixLen"], shown["Gateway"]) == (16, "172.17.0.1")


def test_an_endpoint_without_a_link_shows_its_network_only() -> None:
    """`host` and `none` appear by name, with empty addresses."""
    shown = to_wire(endpoint_settings(Endpoint("e" * 64, "n" * 64, "host", "host", "c" * 64)))
    assert (shown["IPAddress"], shown["IPPrefixLen"], shown["NetworkID"]) == ("", 0, "n" * 64)


def test_records_come_back_and_leave_no_other_file(tmp_path: Path) -> None:
    """Written aside and renamed; the file aside is gone."""
    kept = [NetworkRecord("n" * 64, "bridge", "bridge", 7, "onggi0", "172.17.0.1/16", 1500, is_default=True)]
    path = str(tmp_path / "networks.json")
    records.save(path, kept)
    assert records.load(path) == kept
    assert [entry.name for entry in tmp_path.iterdir()] == ["networks.json"]


def test_without_a_file_there_are_no_records(tmp_path: Path) -> None:
    """The first start of an engine."""
    assert records.load(str(tmp_path / "networks.json")) == []


@pytest.mark.parametrize("text", ["", "{", '[{"nope": 1}]', "[1]"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    """It is not taken for an empty one, which would give the networks new identities."""
    path = tmp_path / "networks.json"
    path.write_text(text)
    with pytest.raises(Corrupt, match=r"networks\.json"):
        records.load(str(path))


@pytest.mark.parametrize(
    ("inside", "host_ip", "host_port", "port"),
    [
        ("80/tcp", "", "8080", Port("tcp", 80, 8080)),
        ("80", "", "", Port("tcp", 80, 0)),
        ("53/udp", "127.0.0.1", "53", Port("udp", 53, 53, "127.0.0.1")),
    ],
)
def test_a_port_is_read_from_dockers_words(inside: str, host_ip: str, host_port: str, port: Port) -> None:
    """Protocol, numbers and address, with what they are when left out."""
    assert ports.parse(inside, host_ip, host_port) == port


@pytest.mark.parametrize(
    ("inside", "host_ip", "host_port"),
    [
        ("0/tcp", "", ""),
        ("65536/tcp", "", ""),
        ("x/tcp", "", ""),
        ("", "", ""),
        ("80/tcp", "", "-1"),
        ("80/tcp", "", "70000"),
        ("80/tcp", "", "8080 }; flush ruleset"),
        ("٨٠/tcp", "", ""),
        ("80/tcp", "10.0.0.1; flush ruleset", ""),
        ("80/tcp", "localhost", ""),
    ],
)
def test_what_is_no_port_never_becomes_a_rule(inside: str, host_ip: str, host_port: str) -> None:
    """Every part is a number or an address before it stands in nft's text."""
    with pytest.raises(Invalid):
        ports.parse(inside, host_ip, host_port)


@pytest.mark.parametrize(("inside", "host_ip"), [("80/sctp", ""), ("80/tcp", "::1"), ("80/tcp }", "")])
def test_what_cannot_be_published_is_refused_by_name(inside: str, host_ip: str) -> None:
    """Another protocol, an IPv6 address of the host."""
    with pytest.raises(Unsupported):
        ports.parse(inside, host_ip)


def test_ports_are_elements_of_two_maps() -> None:
    """One for all addresses of the host, one for a given address; one transaction for both."""
    wanted = [Port("tcp", 80, 8080), Port("udp", 53, 53, "127.0.0.1")]
    assert ports.change("add", "onggi", wanted, "172.17.0.2").splitlines() == [
        "add element inet onggi ports { tcp . 8080 : 172.17.0.2 . 80 }",
        "add element inet onggi ports_at { 127.0.0.1 . udp . 53 : 172.17.0.2 . 53 }",
    ]


def test_published_and_exposed_ports_are_shown_together() -> None:
    """An exposed port has no binding; a published one has its own, whatever the image said."""
    endpoint = replace(_ENDPOINT, ports=(Port("tcp", 80, 8080),))
    shown = to_wire(network_settings([endpoint], exposed=["80/tcp", "443/tcp"]))["Ports"]
    assert shown == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": None}
    assert Endpoint.from_record(json.loads(json.dumps(endpoint.to_record()))) == endpoint
