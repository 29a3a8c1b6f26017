"""Scheduling, memory policy, personality, limits: what becomes of the document, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest

from harness import plans
from onggi.errors import Invalid
from onggi.oci.ranges import parse_ranges
from onggi.runtime.plan import Plan, build
from onggi.runtime.request import from_json

DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 10_000, "deadline": 20_000, "period": 30_000}


def planned(changes: dict[str, Any]) -> Plan:
    """The plan of the plain request with these changes."""
    return build(from_json(plans.changed(plans.request_document(), changes)), plans.V2)


def added(changes: dict[str, Any]) -> list[str]:
    """The steps that a plan has because of these changes."""
    without = [step.describe() for _, step in planned({}).in_order()]
    return [text for _, step in planned(changes).in_order() if (text := step.describe()) not in without]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        (
            {"process.scheduler": {"policy": "SCHED_FIFO", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}},
            "chrt --fifo --reset-on-fork --pid 3 $$",
        ),
        ({"process.scheduler": {"policy": "SCHED_BATCH", "nice": 19}}, "chrt --batch --pid 0 $$ ; renice 19 $$"),
        (
            {"process.scheduler": DEADLINE},
            "chrt --deadline --sched-runtime 10000 --sched-deadline 20000 --sched-period 30000 --pid 0 $$",
        ),
        ({"process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}}, "ionice -c 2 -n 4 -P $$"),
        ({"process.ioPriority": {"class": "IOPRIO_CLASS_IDLE"}}, "ionice -c 3 -n 0 -P $$"),
        ({"linux.personality": {"domain": "LINUX32"}}, "setarch linux32"),
        ({"linux.personality": {"domain": "LINUX", "flags": []}}, "setarch linux64"),
        ({"linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1, 3"}}, "numactl --bind=0-1, 3"),
        ({"linux.memoryPolicy": {"mode": "MPOL_LOCAL"}}, "numactl --local"),
    ],
)
def test_what_is_asked_for_is_one_step(changes: dict[str, Any], step: str) -> None:
    """Each member is one step, and before the capabilities and the filter go."""
    assert added({f"config.{name}": value for name, value in changes.items()}) == [step]
    order = [done.describe() for _, done in planned({f"config.{n}": v for n, v in changes.items()}).in_order()]
    assert order.index(step) < order.index("setpriv --seccomp-filter filter.bpf")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process.scheduler": {}}, "scheduler policy is required"),
        ({"process.scheduler": {"policy": "SCHED_NONE"}}, "invalid scheduler policy `SCHED_NONE`"),
        ({"process.scheduler": {"policy": "SCHED_OTHER", "nice": 20}}, "invalid scheduler.nice: 20"),
        ({"process.scheduler": {"policy": "SCHED_OTHER", "priority": 1}}, "scheduler.priority can only be specified"),
        ({"process.scheduler": {"policy": "SCHED_OTHER", "period": 1}}, "runtime/deadline/period can only be"),
        ({"process.scheduler": {"policy": "SCHED_IDLE", "flags": ["X"]}}, "invalid scheduler option `X`"),
        ({"process.scheduler": {"policy": "SCHED_FIFO", "priority": "3"}}, "priority is no whole number: '3'"),
        ({"process.scheduler": {**DEADLINE, "runtime": None}}, "`SCHED_DEADLINE` requires `runtime`"),
        ({"process.scheduler": {**DEADLINE, "deadline": None}}, "`SCHED_DEADLINE` requires `deadline`"),
        ({"process.scheduler": {**DEADLINE, "runtime": 0}}, "runtime must be greater than 0"),
        ({"process.scheduler": {**DEADLINE, "runtime": 20_001}}, "runtime (20001) must be <= deadline (20000)"),
        ({"process.scheduler": {**DEADLINE, "deadline": 30_001}}, "deadline (30001) must be <= period (30000)"),
        ({"process.scheduler": {**DEADLINE, "runtime": 1023}}, "runtime (1023) must be between 1024 and"),
        ({"process.ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}, "invalid ioPriority.priority: 8"),
        ({"process.ioPriority": {"priority": 1}}, 'invalid ioPriority.class: ""'),
        ({"linux.personality": {"domain": "LINUX64"}}, "invalid personality domain LINUX64"),
        ({"linux.memoryPolicy": {}}, 'invalid memory policy mode ""'),
        ({"linux.memoryPolicy": {"mode": "BIND"}}, 'invalid memory policy mode "BIND"'),
        ({"linux.memoryPolicy": {"mode": "MPOL_LOCAL", "flags": ["X"]}}, 'invalid memory policy flag "X"'),
        ({"linux.memoryPolicy": {"mode": "MPOL_DEFAULT", "nodes": "0-7"}}, "mode requires 0 nodes but got 8"),
        ({"linux.memoryPolicy": {"mode": "MPOL_BIND"}}, "requires at least one node but got 0"),
        ({"linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-9876543210"}}, "invalid memory policy nodes"),
        ({"process.rlimits": [{"type": "NOFILE", "soft": 1, "hard": 1}]}, "wrong rlimit value: NOFILE"),
        ({"process.rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 2**64}]}, "are no limits"),
        ({"process.rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2}, "RLIMIT_CPU is there twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_plan(changes: dict[str, Any], words: str) -> None:
    """Before anything is done; in the words that runc's and crun's callers know."""
    with pytest.raises(Invalid) as failure:
        planned({f"config.{name}": value for name, value in changes.items()})
    assert words in str(failure.value)
    assert next(iter(changes)) in str(failure.value)


def test_who_has_ids_of_its_own_may_not_raise_a_limit_so_the_keeper_does() -> None:
    """In a user namespace CAP_SYS_RESOURCE counts for nothing: the hard limits are raised from outside, the rest inside."""
    maps = [{"containerID": 0, "hostID": 1000, "size": 10}]
    plan = planned(
        {
            "config.linux.namespaces": plans.namespaces("user", "mount", "pid", "ipc", "uts", "network"),
            "config.linux.uidMappings": maps,
            "config.linux.gidMappings": maps,
            "config.process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 7}],
        }
    )
    assert "prlimit --pid $INIT --nofile=:7" in [step.describe() for step in plan.mapping]
    assert "prlimit --nofile=5:7" in [step.describe() for step in plan.after]


@pytest.mark.parametrize(
    ("text", "mask"),
    [("", 0), ("0", 1), ("0-3,7", 0b1000_1111), (" 1 , 2-2,, ", 0b110), ("64", 1 << 64), ("2-65", (1 << 66) - 4)],
)
def test_lists_of_numbers(text: str, mask: int) -> None:
    """As cpuset(7) writes them; blanks and empty entries count for nothing."""
    assert parse_ranges(text) == mask


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-2", "1--2", "65537", "9" * 10_000, "١", ",", "0x1"])
def test_what_is_no_list_of_numbers(text: str) -> None:
    """Refused at once, however long it is."""
    with pytest.raises(Invalid):
        parse_ranges(text)
