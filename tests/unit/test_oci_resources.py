"""`linux.resources` as bundles and `update` give it: names, types, what an update writes and what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from onggi.errors import Invalid
from onggi.runc import resources, update
from onggi.runc.words import Options

Json = dict[str, Any]


def test_names_are_read_in_any_case() -> None:
    """As Go's decoder, which managers are used to; of two spellings the later has the last word."""
    given = {
        "cpu": {"shares": 5, "cpus": "1"},
        "CPU": {"Cpus": "0"},
        "hugepageLimits": [{"pagesize": "2MB", "limit": 1}],
    }
    assert resources.read(given) == {
        "cpu": {"shares": 5, "cpus": "0"},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
    }


def test_what_the_specification_does_not_know_is_passed_over() -> None:
    """It says so; and null is as good as nothing."""
    assert resources.read({"future": {"x": 1}, "memory": {"limit": None, "y": 2}, "pids": None}) == {"memory": {}}


def test_free_names_stay_as_they_are() -> None:
    """Files of cgroup v2, and RDMA devices."""
    given = {"unified": {"memory.High": "1"}, "rdma": {"MLX5_1": {"hcahandles": 3}}}
    assert resources.read(given) == {"unified": {"memory.High": "1"}, "rdma": {"MLX5_1": {"hcaHandles": 3}}}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ([], "linux.resources"),
        ({"memory": 5}, "linux.resources.memory"),
        ({"memory": {"limit": "64m"}}, "linux.resources.memory.limit"),
        ({"memory": {"limit": 1.5}}, "linux.resources.memory.limit"),
        ({"pids": {"limit": True}}, "linux.resources.pids.limit"),
        ({"memory": {"disableOOMKiller": 1}}, "linux.resources.memory.disableOOMKiller"),
        ({"cpu": {"cpus": 0}}, "linux.resources.cpu.cpus"),
        ({"devices": {}}, "linux.resources.devices"),
        ({"devices": [{"type": "c"}]}, r"linux.resources.devices\[0\]"),
        ({"hugepageLimits": [{"limit": 5}]}, r"linux.resources.hugepageLimits\[0\]"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 2}]}}, r"throttleReadBpsDevice\[0\]"),
        ({"unified": {"memory.high": 5}}, "linux.resources.unified.memory.high"),
        ({"rdma": {"mlx": 5}}, "linux.resources.rdma.mlx"),
    ],
)
def test_a_member_of_the_wrong_type_is_named(given: Any, where: str) -> None:
    """Rather than that the kernel is told nonsense."""
    with pytest.raises(Invalid, match=where):
        resources.read(given)


def test_an_update_keeps_what_it_does_not_name() -> None:
    """Member by member; of devices and page sizes, item by item."""
    old = {
        "memory": {"limit": 10, "reservation": 5},
        "blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1}, {"major": 8, "minor": 16, "weight": 2}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
    }
    new = {
        "memory": {"limit": 20},
        "pids": {"limit": 3},
        "blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 9}, {"major": 7, "minor": 0, "weight": 3}]},
        "hugepageLimits": [{"pageSize": "1GB", "limit": 2}],
    }
    assert resources.merged(old, new) == {
        "memory": {"limit": 20, "reservation": 5},
        "pids": {"limit": 3},
        "blockIO": {
            "weightDevice": [
                {"major": 8, "minor": 0, "weight": 1}, {"major": 8, "minor": 16, "weight": 9},
                {"major": 7, "minor": 0, "weight": 3},
            ],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 2}],
    }  # fmt: skip
    assert old["memory"] == {"limit": 10, "reservation": 5}


def test_idle_takes_the_place_of_shares() -> None:
    """The kernel keeps one of the two, and refuses the other one from then on."""
    assert resources.merged({"cpu": {"shares": 5}}, {"cpu": {"idle": 1}}) == {"cpu": {"idle": 1}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"quota": 5, "period": 7}, {"period": 9}, {"quota": 5, "period": 9}),
        ({"quota": 5, "period": 7}, {"quota": -1}, {"quota": -1, "period": 7}),
        ({"quota": 5, "shares": 7}, {"shares": 9}, {"shares": 9}),
        ({}, {"quota": 5}, {"quota": 5}),
    ],
)
def test_a_quota_goes_with_its_period(old: Json, new: Json, expected: Json) -> None:
    """On v2 they are one value; nothing else of the section is written again."""
    assert resources.to_write({"cpu": old}, {"cpu": new}) == {"cpu": expected}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"limit": 5, "swap": 7}, {"limit": 6}, {"limit": 6, "swap": 7}),
        ({"limit": 5, "swap": 7}, {"swap": 9}, {"limit": 5, "swap": 9}),
        ({"limit": 5, "swap": 7}, {"limit": -1}, {"limit": -1}),
        ({"limit": 5, "swap": 7}, {"reservation": 3}, {"reservation": 3}),
    ],
)
def test_swap_goes_with_memory(old: Json, new: Json, expected: Json) -> None:
    """v2 limits the difference; without a limit of memory there is none of the two."""
    assert resources.to_write({"memory": old}, {"memory": new}) == {"memory": expected}


def test_the_same_device_rules_again_are_not_written() -> None:
    """Managers send them each time; what a plugin has allowed since stays allowed."""
    rules = [{"allow": False, "access": "rwm"}]
    assert resources.to_write({"devices": rules}, {"devices": rules, "pids": {"limit": 1}}) == {"pids": {"limit": 1}}
    assert resources.to_write({}, {"devices": rules}) == {"devices": rules}


def flags(**given: str) -> Json:
    """What these flags of `update` ask for."""
    return update._from_flags(Options({name.replace("_", "-"): [value] for name, value in given.items()}))


def test_flags_are_members() -> None:
    """Each flag of runc has its place in the specification."""
    assert flags(
        memory="64m", memory_swap="-1", cpu_quota="-1", cpu_share="512", cpuset_cpus="0-1", pids_limit="0", cpu_idle="1"
    ) == {
        "memory": {"limit": 64 << 20, "swap": -1},
        "cpu": {"quota": -1, "shares": 512, "cpus": "0-1", "idle": 1},
        "pids": {"limit": 0},
    }


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("0", 0),
        ("52428800", 52428800),
        ("50M", 50 << 20),
        ("1.5g", 3 << 29),
        ("2KiB", 2048),
        ("3 kb", 3072),
        ("7b", 7),
        ("-1", -1),
    ],
)
def test_sizes(word: str, expected: int) -> None:
    """As Docker's tools write them."""
    assert flags(memory=word) == {"memory": {"limit": expected}}


@pytest.mark.parametrize("word", ["x", "m", "5x", "5mm", "-2", "5bb", "1e30", "nan", "5 5m", "9999999p"])
def test_what_is_no_size_is_refused(word: str) -> None:
    """With the flag's name, before anything is written."""
    with pytest.raises(Invalid, match="invalid value for memory"):
        flags(memory=word)


@pytest.mark.parametrize(("flag", "word"), [("cpu_share", "x"), ("cpu_period", "-5"), ("pids_limit", "1.5")])
def test_what_is_no_number_is_refused(flag: str, word: str) -> None:
    """The same."""
    with pytest.raises(Invalid, match="invalid value for " + flag.replace("_", "-")):
        flags(**{flag: word})
