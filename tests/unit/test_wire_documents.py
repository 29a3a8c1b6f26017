"""The API's documents: Docker's names, Go's leniency, Docker's words for what is wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Invalid
from onggi.wire import document
from onggi.wire.containers import ContainerConfig, ContainerCreate, ContainerInspect, State, WaitResult, decode_create
from onggi.wire.events import Actor, Event
from onggi.wire.host_config import HostConfig
from onggi.wire.images import ImageSummary
from onggi.wire.networks import EndpointSettings, Network

# The keys of the real Docker's documents, sorted; what has no rule is what this list is for.
HOST_CONFIG = """
AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps BlkioWeight
BlkioWeightDevice CapAdd CapDrop Cgroup CgroupParent CgroupnsMode ConsoleSize ContainerIDFile CpuCount CpuPercent
CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpuShares CpusetCpus CpusetMems DeviceCgroupRules DeviceRequests
Devices Dns DnsOptions DnsSearch ExtraHosts GroupAdd IOMaximumBandwidth IOMaximumIOps IpcMode Isolation Links LogConfig
MaskedPaths Memory MemoryReservation MemorySwap MemorySwappiness NanoCpus NetworkMode OomKillDisable OomScoreAdj PidMode
PidsLimit PortBindings Privileged PublishAllPorts ReadonlyPaths ReadonlyRootfs RestartPolicy SecurityOpt ShmSize UTSMode
Ulimits UsernsMode VolumeDriver VolumesFrom
"""
ENDPOINT = """
Aliases DNSNames DriverOpts EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen GwPriority IPAMConfig IPAddress
IPPrefixLen IPv6Gateway Links MacAddress NetworkID
"""
CONFIG = """
AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env Hostname Image Labels OnBuild OpenStdin StdinOnce Tty
User Volumes WorkingDir
"""
STATE = "Dead Error ExitCode FinishedAt OOMKilled Paused Pid Restarting Running StartedAt Status"
INSPECT = """
AppArmorProfile Args Config Created Driver ExecIDs GraphDriver HostConfig HostnamePath HostsPath Id Image LogPath
MountLabel Mounts Name NetworkSettings Path Platform ProcessLabel ResolvConfPath RestartCount State
"""
IMAGE = "Containers Created Id Labels ParentId RepoDigests RepoTags SharedSize Size"
NETWORK = """
Attachable ConfigFrom ConfigOnly Containers Created Driver EnableIPv4 EnableIPv6 IPAM Id Ingress Internal Labels Name
Options Scope
"""


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        (HostConfig(), HOST_CONFIG),
        (EndpointSettings(), ENDPOINT),
        (ContainerConfig(), CONFIG),
        (State(), STATE),
        (ContainerInspect(id="", created=""), INSPECT),
        (ImageSummary(), IMAGE),
        (Network(), NETWORK),
    ],
    ids=lambda value: type(value).__name__,
)
def test_names_on_the_wire(value: document.Document, keys: str) -> None:
    """An empty document has exactly Docker's keys, spelled Docker's way."""
    assert sorted(json.loads(document.encode(value))) == sorted(keys.split())


def test_events_are_written_small() -> None:
    """An event has capital and small names, as Docker has them."""
    event = Event(
        status="die", id="x", from_="i", type="container", action="die", actor=Actor(id="x"), time=1, time_nano=2
    )
    assert json.loads(document.encode(event)) == {
        "status": "die",
        "id": "x",
        "from": "i",
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "x", "Attributes": {}},
        "scope": "local",
        "time": 1,
        "timeNano": 2,
    }


def test_pointers_are_sent_when_zero() -> None:
    """What Go holds as a pointer is left out when nil and sent when it points to zero."""
    assert "StopTimeout" not in json.loads(document.encode(ContainerConfig()))
    assert json.loads(document.encode(ContainerConfig(stop_timeout=0)))["StopTimeout"] == 0
    assert json.loads(document.encode(HostConfig(init=False)))["Init"] is False
    assert json.loads(document.encode(WaitResult(status_code=0))) == {"StatusCode": 0}


def test_no_html_escapes() -> None:
    """`<missing>` stays as it is."""
    assert b"<missing>&" in document.encode({"a": "<missing>&"})


def test_bytes_that_are_no_text_are_replaced() -> None:
    """A name with bytes that are no UTF-8 can be sent."""
    raw = b"caf\xe9".decode(errors="surrogateescape")
    assert json.loads(document.encode({raw: [raw, "ü\ud800"]})) == {"caf\ufffd": ["caf\ufffd", "ü\ufffd"]}


def test_keys_match_whatever_their_case() -> None:
    """Go matches keys without regard to case; unknown ones are ignored."""
    body = decode_create(b'{"image":"x","CMD":["y"],"hostconfig":{"MEMORY":7,"What":1},"Else":{}}')
    assert (body.config.image, body.config.cmd, body.host_config.memory) == ("x", ["y"], 7)


@pytest.mark.parametrize("key", ["Cmd", "Entrypoint"])
def test_one_string_is_a_list_of_one(key: str) -> None:
    """A command given as a string is a list of one."""
    body = decode_create(json.dumps({"Image": "x", key: "sh -c"}).encode())
    assert body.config.cmd == (["sh -c"] if key == "Cmd" else None)
    assert body.config.entrypoint == (["sh -c"] if key == "Entrypoint" else None)


def test_null_is_zero() -> None:
    """`null` leaves a field at its zero value, wherever it stands."""
    raw = {
        "Image": "x",
        "Hostname": None,
        "Tty": None,
        "Env": [None],
        "HostConfig": {"Memory": None, "Binds": None, "Devices": [None], "LogConfig": None},
        "NetworkingConfig": {"EndpointsConfig": {"n": None}},
    }
    body = decode_create(json.dumps(raw).encode())
    assert (body.config.hostname, body.config.tty, body.config.env) == ("", False, [""])
    assert body.host_config.devices is not None
    assert body.host_config.devices[0].path_on_host == ""
    assert body.endpoints == {"n": EndpointSettings()}


def test_host_config_may_be_missing() -> None:
    """A body without HostConfig, or with null for it, has the default one."""
    assert decode_create(b'{"Image":"x"}').host_config == HostConfig()
    assert decode_create(b'{"Image":"x","HostConfig":null,"NetworkingConfig":null}').host_config == HostConfig()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"Image":3}', "cannot unmarshal number into Go struct field ContainerConfig.Image of type string"),
        (b'{"Env":"a"}', "cannot unmarshal string into Go struct field ContainerConfig.Env of type []string"),
        (b'{"Tty":"yes"}', "cannot unmarshal string into Go struct field ContainerConfig.Tty of type bool"),
        (
            b'{"HostConfig":{"Memory":99999999999999999999}}',
            "cannot unmarshal number into Go struct field CreateRequest.HostConfig.Memory of type int64",
        ),
        (b'{"Image":"a" "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a" 3}', "invalid character '3' after object key"),
        (b"nul", "invalid character"),
        (b'"abc', "unexpected EOF"),
        (b"[1]", "cannot unmarshal array into Go value"),
    ],
)
def test_what_is_wrong_is_said_as_go_says_it(raw: bytes, words: str) -> None:
    """A body that does not fit is refused with Go's reason."""
    with pytest.raises(Invalid) as caught:
        decode_create(raw)
    assert words in caught.value.cause


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(raw: bytes) -> None:
    """No body makes the decoder fail in another way."""
    with contextlib.suppress(Invalid):
        assert isinstance(decode_create(raw), ContainerCreate)


TEXT = st.text("ab1\0\ud800é", max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from((HOST_CONFIG + CONFIG + "HostConfig NetworkingConfig EndpointsConfig").split())


@given(st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=4), max_size=6))
def test_any_values_are_refused_or_read(value: dict[str, Any]) -> None:
    """Whatever stands in a known field, it is read or refused, and what was read can be sent again."""
    try:
        body = decode_create(json.dumps(value).encode())
    except Invalid:
        return
    again = {**json.loads(document.encode(body.config)), "HostConfig": json.loads(document.encode(body.host_config))}
    assert decode_create(json.dumps(again).encode()).host_config == body.host_config
