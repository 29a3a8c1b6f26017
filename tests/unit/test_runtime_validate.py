"""What a config.json cannot mean: refused before anything is made, in runc's words where a manager may look for them."""

from __future__ import annotations

from typing import Any

import pytest

from harness import plans
from onggi.errors import Invalid, OnggiError
from onggi.runc import validate
from onggi.runtime import sysctls

OURS = "/run/netns/ours"
MAPS = [{"containerID": 0, "hostID": 1000, "size": 10}]


def check(changes: dict[str, Any], *, rootless: bool = False) -> None:
    """The plain configuration with these changes, on a machine where `OURS` is the caller's own network."""
    document = plans.changed(plans.config(), {"linux.sysctl": {}, **changes})
    validate.check(document, lambda path: path == OURS, rootless=rootless)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hostname": None, "linux.namespaces": plans.namespaces("mount", "pid")},
        {"linux.namespaces": plans.namespaces("mount", "uts", "user", "time"), "linux.uidMappings": MAPS},
        {"linux.namespaces": plans.namespaces("mount", "uts", user="/proc/1/ns/user")},
        {
            "linux.namespaces": plans.namespaces("mount", "uts", "time"),
            "linux.timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 999_999_999}, "boottime": {}},
        },
        {"process.execCPUAffinity": {"initial": "0-1", "final": ""}},
        {"linux.rootfsPropagation": "rslave"},
    ],
)
def test_what_can_be_meant(changes: dict[str, Any]) -> None:
    """Nothing is said."""
    check(changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": None}, "process property must not be empty"),
        ({"process.cwd": ""}, "Cwd property must not be empty"),
        ({"process.cwd": "tmp"}, "Cwd must be an absolute path"),
        ({"process.args": []}, "args must not be empty"),
        ({"process.execCPUAffinity": {"initial": "x"}}, "bad CPUAffinity.initial"),
        ({"process.execCPUAffinity": {"final": "3-1"}}, "bad CPUAffinity.final: invalid range: 3-1"),
        ({"root": None}, "must be specified"),
        ({"linux.namespaces": plans.namespaces("mount")}, "unable to set hostname without a private UTS namespace"),
        (
            {"hostname": None, "domainname": "d", "linux.namespaces": plans.namespaces("mount")},
            "unable to set domainname without a private UTS namespace",
        ),
        ({"linux.namespaces": plans.namespaces("mount", "uts", "uts")}, 'duplicated ns "uts"'),
        ({"linux.namespaces": plans.namespaces("mount", "uts", "jail")}, 'namespace "jail" does not exist'),
        ({"linux.namespaces": plans.namespaces("mount", uts="ns/uts")}, "is not absolute"),
        ({"linux.namespaces": plans.namespaces("uts")}, "unable to restrict sys entries without a private MNT"),
        ({"linux.namespaces": plans.namespaces("mount", "uts", "user")}, "nor mappings to apply specified"),
        ({"linux.uidMappings": MAPS}, "user namespace isn't enabled in the config"),
        ({"linux.timeOffsets": {}}, "time namespace isn't enabled in the config"),
        (
            {"linux.namespaces": plans.namespaces("mount", "uts", time="/t"), "linux.timeOffsets": {}},
            "both namespace path and time offsets specified",
        ),
        (
            {
                "linux.namespaces": plans.namespaces("mount", "uts", "time"),
                "linux.timeOffsets": {"realtime": {"secs": 1}},
            },
            "no offset of the clock `realtime`",
        ),
        (
            {
                "linux.namespaces": plans.namespaces("mount", "uts", "time"),
                "linux.timeOffsets": {"boottime": {"nanosecs": 10**9}},
            },
            "nanosecs one from 0 to 999999999",
        ),
        ({"linux.rootfsPropagation": "loose"}, "rootfsPropagation=loose is not supported"),
        ({"process": []}, "process property must not be empty"),
        ({"process.cwd": 5}, "wrong type"),
        ({"linux": [1]}, "wrong type"),
        ({"linux.namespaces": ["pid"]}, "wrong type"),
    ],
)
def test_what_cannot_be_meant(changes: dict[str, Any], words: str) -> None:
    """The member and the reason are named."""
    with pytest.raises(OnggiError) as failure:
        check(changes)
    assert words in str(failure.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "rootless container requires user namespaces"),
        (
            {"linux.namespaces": plans.namespaces("user", "mount", "uts"), "linux.gidMappings": MAPS},
            "at least one UID mapping",
        ),
    ],
)
def test_who_is_not_root_needs_a_user_namespace(changes: dict[str, Any], words: str) -> None:
    """It is said, not found out by a refusal of the kernel."""
    with pytest.raises(Invalid, match=words):
        check(changes, rootless=True)


ALL = ("mount", "pid", "ipc", "uts", "network")


@pytest.mark.parametrize(
    "key",
    [
        "kernel.msgmax", "kernel.shm_rmid_forced", "fs.mqueue.queues_max", "fs/mqueue/queues_max", "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.1/rp_filter", "net.ipv4.conf.eth0/1.rp_filter", "kernel.domainname",
    ],
)  # fmt: skip
def test_a_parameter_of_a_namespace_of_ones_own_may_be_set(key: str) -> None:
    """With all namespaces; and not one of them without."""
    check({"linux.sysctl": {key: "1"}, "linux.namespaces": plans.namespaces(*ALL)})
    with pytest.raises(Invalid):
        check({"linux.sysctl": {key: "1"}, "linux.namespaces": plans.namespaces("mount"), "hostname": None})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("kernel.hostname", 'conflicts with the OCI "hostname" field'),
        ("kernel.panic", "not in a separate kernel namespace"),
        ("vm.swappiness", "not in a separate kernel namespace"),
        ("user.max_user_namespaces", "without a user namespace"),
        ("kernel.sem.x", "not in a separate kernel namespace"),
        ("net/../kernel/panic", "not the name of a parameter"),
        ("net/ipv4/../../../sysrq-trigger", "not the name of a parameter"),
        ("net..ipv4", "not the name of a parameter"),
        ("net.ipv4./", "not the name of a parameter"),
        ("/kernel/panic", "not the name of a parameter"),
        ("", "not the name of a parameter"),
    ],
)
def test_a_parameter_of_the_host_is_refused(key: str, words: str) -> None:
    """Whatever the way that leads to it."""
    with pytest.raises(Invalid, match=words):
        check({"linux.sysctl": {key: "1"}, "linux.namespaces": plans.namespaces(*ALL)})


def test_a_network_that_is_joined_must_not_be_our_own() -> None:
    """A path to the caller's own network is the host's network under another name."""
    changes = {"linux.sysctl": {"net.core.somaxconn": "1"}}
    check({**changes, "linux.namespaces": plans.namespaces("mount", "uts", network="/run/netns/other")})
    ours = {**changes, "linux.namespaces": plans.namespaces("mount", "uts", network=OURS)}
    with pytest.raises(Invalid, match="not allowed in host network namespace"):
        check(ours)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/rp_filter", "sys/net/ipv4/conf/eth0.1/rp_filter"),
        ("net.ipv4.conf.eth0/1.rp_filter", "sys/net/ipv4/conf/eth0.1/rp_filter"),
    ],
)
def test_the_first_separator_of_a_key_decides(key: str, path: str) -> None:
    """As sysctl(8) reads keys."""
    assert sysctls.path(key) == path
