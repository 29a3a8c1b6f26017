"""Options do what they say, or are refused; none is ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest

from harness import image
from harness.api import Api
from harness.box import Box

MAC = "02:42:ac:11:00:99"


def on_bridge(**settings: Any) -> dict[str, Any]:
    """A NetworkingConfig with these settings for the default bridge."""
    return {"NetworkingConfig": {"EndpointsConfig": {"bridge": settings}}}


@pytest.mark.parametrize("config", [on_bridge(MacAddress=MAC), {"MacAddress": MAC}], ids=["endpoint", "container"])
def test_a_mac_address_of_ones_own(api: Api, config: dict[str, Any]) -> None:
    """--mac-address, as new and as old clients send it, is what the link has and what inspect shows."""
    box = Box.run(api, "sh", "-c", "cat /sys/class/net/eth0/address; sleep 60", **config).says(MAC)
    assert box.inspect()["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == MAC
    box.remove()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (on_bridge(MacAddress="zz"), "invalid config for network bridge: invalid MAC address zz"),
        (on_bridge(MacAddress=MAC) | {"MacAddress": "02:42:ac:11:00:98"}, "container-wide MAC address must match"),
        (
            on_bridge(IPAMConfig={"IPv4Address": "172.17.0.77"}),
            "user specified IP address is supported on user defined",
        ),
        (on_bridge(Aliases=["x"]), "network-scoped alias is supported only for containers in user defined networks"),
        (on_bridge(Links=["a:b"]), "links"),
        (on_bridge(DriverOpts={"a": "b"}), "driver_opts"),
        ({"NetworkingConfig": {"EndpointsConfig": {"other": {}}}}, "EndpointsConfig"),
        (
            {"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"nonsense": "1"}}}},
            "unknown log opt 'nonsense'",
        ),
        ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/nonesuch"}]}}, "gathering device information"),
    ],
)
def test_what_cannot_be_had_is_refused(api: Api, config: dict[str, Any], words: str) -> None:
    """400 or 501 with words that name it."""
    answer = api("POST", "/containers/create", {"Image": image.BUSYBOX, "Cmd": ["true"], **config})
    assert answer.status in (400, 501)
    assert words in answer.message


def test_a_disabled_network_is_none(api: Api) -> None:
    """NetworkDisabled leaves the loopback alone."""
    box = Box.run(api, "ls", "/sys/class/net", NetworkDisabled=True)
    box.wait()
    assert box.output()[0] == "lo\n"
    box.remove()


def test_log_options_are_answered_with_a_warning(api: Api) -> None:
    """max-size does nothing yet, and the answer to create says so."""
    host = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1k"}}}
    made = api.ok("POST", "/containers/create", {"Image": image.BUSYBOX, "HostConfig": host})
    assert "max-size" in made["Warnings"][0]
    Box(api, made["Id"]).remove()


@pytest.mark.parametrize(
    ("host", "script", "expected"),
    [
        ({"Dns": ["9.9.9.9"], "DnsSearch": ["a.b"], "DnsOptions": ["ndots:3"]}, "grep -c . /etc/resolv.conf", "3"),
        ({"ExtraHosts": ["gw:host-gateway"]}, "grep -c 'gw$' /etc/hosts", "1"),
        ({"MaskedPaths": ["/proc/uptime"]}, "cat /proc/uptime | wc -c", "0"),
        ({"ReadonlyPaths": ["/etc"]}, "touch /etc/x 2>/dev/null || echo refused", "refused"),
        ({"IpcMode": "none"}, "ls /dev/shm 2>/dev/null || echo none", "none"),
        ({"ConsoleSize": [20, 70]}, "stty size", "20 70"),
        ({"GroupAdd": ["77"]}, "id -G", "0 77"),
        ({"OomScoreAdj": 300}, "cat /proc/self/oom_score_adj", "300"),
        ({"CapAdd": ["ALL"]}, "grep -c 'CapEff:.*0000000000' /proc/self/status || true", "0"),
        (
            {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}]},
            "stat -c %a /t; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2",
            "700\n1024",
        ),
        (
            {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/t", "ReadOnly": True}]},
            "touch /t/x 2>/dev/null || echo refused",
            "refused",
        ),
        (
            {"Devices": [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/z", "CgroupPermissions": "r"}]},
            "head -c 3 /dev/z | wc -c",
            "3",
        ),
        ({"Sysctls": {"kernel.msgmax": "4242"}}, "cat /proc/sys/kernel/msgmax", "4242"),
        ({"Sysctls": {"net.core.somaxconn": "99"}}, "cat /proc/sys/net/core/somaxconn", "99"),
        ({"ShmSize": 1 << 20}, "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024"),
        ({"CpusetCpus": "0"}, "grep Cpus_allowed_list /proc/self/status | tr -d '\\t' | cut -d: -f2", "0"),
    ],
)
def test_an_option_does_what_it_says(api: Api, host: dict[str, Any], script: str, expected: str) -> None:
    """Seen from inside."""
    box = Box.run(api, "sh", "-c", script, host=host, Tty="ConsoleSize" in host)
    box.wait()
    answer = api("GET", f"/containers/{box.id}/logs?stdout=1").body if "ConsoleSize" in host else b""
    said = answer.decode() if answer else box.output()[0]
    assert said.replace("\r", "").strip() == expected
    box.remove()
