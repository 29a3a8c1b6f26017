"""The plan for entering a container: whole plans of some entries, and the rules of order that the module's docstring gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plans
from onggi.errors import Invalid
from onggi.kernel.cgroup.layout import Layout
from onggi.oci.runtime import Capabilities, Process, parse_process
from onggi.runtime import affinity, entry, filters, joins, limits, rights, terminal
from onggi.runtime.steps import Step
from onggi.values import replace

PLAIN = """\
joiner prctl PR_SET_DUMPABLE 0
joiner echo $$ > /sys/fs/cgroup/onggi/c1/cgroup.procs
joiner taskset -pc 0- $$
joiner nsenter --target $CONTAINER --mount --uts --ipc --net --cgroup --pid
joiner exec 3< /
joiner id=0:0
joiner keyctl session _ses.c1
joiner cd /
joiner setpriv --reuid UID --regid GID --groups GROUPS
joiner setpriv --bounding-set -all,+chown
joiner command -v /bin/true
joiner fork
process setsid
process close_range 3- at exec
process exec /bin/true
"""
FILTERED = """\
joiner prctl PR_SET_DUMPABLE 0
joiner echo $$ > /sys/fs/cgroup/onggi/c1/cgroup.procs
joiner taskset -pc 0- $$
joiner cat /f.bpf
joiner nsenter --target $CONTAINER --mount --uts --ipc --net --cgroup --pid
joiner exec 3< /
joiner id=0:0
joiner keyctl session _ses.c1
joiner fork
process setsid
process close_range 3- at exec
process setpriv --seccomp-filter filter.bpf
process cd /
process setpriv --reuid UID --regid GID --groups GROUPS
process setpriv --bounding-set -all,+chown
process command -v /bin/true
process exec /bin/true
"""
KINDS = ("cgroup", "ipc", "mount", "network", "pid", "uts")


def process(**members: Any) -> Process:
    """A process with one capability."""
    made = parse_process({"args": ["/bin/true"], "cwd": "/", **members})
    return replace(made, capabilities=Capabilities(bounding=("CAP_CHOWN",)))


def made(layout: Layout = plans.V2, **fields: Any) -> entry.Entry:
    """A plain entry with these fields."""
    plain = entry.Entry("c1", 42, process(), KINDS, layout.joins("/onggi/c1"), layout.mounts[-1].directory)
    return replace(plain, **fields)


def lines(plan: entry.Plan) -> list[str]:
    """The plan as text, one step a line."""
    return [f"{who} {step.describe()}" for who, step in plan.in_order()]


def positions(plan: entry.Plan, *kinds: type) -> list[int]:
    """Where the steps of these classes are."""
    return [place for place, (_, step) in enumerate(plan.in_order()) if isinstance(step, kinds)]


def test_a_plain_entry() -> None:
    """Without a filter every right is gone before the process is born in the container."""
    assert lines(entry.build(made())) == PLAIN.splitlines()


def test_a_filter_without_no_new_privs_is_loaded_by_the_process() -> None:
    """It takes CAP_SYS_ADMIN, and a filter may refuse the birth: so the capabilities go after both."""
    assert lines(entry.build(made(seccomp="/f.bpf"))) == FILTERED.splitlines()


def test_a_filter_with_no_new_privs_comes_last() -> None:
    """Then the capabilities can go ahead, and the fewest system calls have to be allowed."""
    plan = entry.build(made(seccomp="/f.bpf", process=process(noNewPrivileges=True)))
    assert [type(step).__name__ for step in plan.own] == ["NewSession", "CloseRest", "LoadFilter", "Execute"]


def test_a_user_namespace_is_entered_with_the_others_and_root_in_it_taken() -> None:
    """The kernel enters it before the others; nothing of the container is touched before we are root there."""
    plan = entry.build(made(namespaces=(*KINDS, "user")))
    assert positions(plan, rights.BecomeRoot) == [place + 1 for place in positions(plan, joins.EnterNamespaces)]
    assert "--user --mount" in plan.join[positions(plan, joins.EnterNamespaces)[0]].describe()


def test_hard_limits_are_raised_outside_the_user_namespace() -> None:
    """Inside it nobody can."""
    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]
    plan = entry.build(made(namespaces=(*KINDS, "user"), process=process(rlimits=rlimits)))
    assert positions(plan, limits.RaiseRlimits) < positions(plan, joins.EnterNamespaces)


def test_a_terminal_is_opened_by_the_joiner_and_taken_by_the_process() -> None:
    """The console is the session's, and the session the process's."""
    plan = entry.build(made(process=process(terminal=True)))
    opened, taken = positions(plan, terminal.OpenTerminal), positions(plan, terminal.TakeTerminal)
    assert positions(plan, joins.FindRoot) < opened < positions(plan, joins.Bear)
    assert taken == [place + 1 for place in positions(plan, rights.NewSession)]


def test_affinity_is_set_before_the_group_and_after_it() -> None:
    """`initial` holds until the process is in the group, `final` from there on; without either it is the group's."""
    both = entry.build(made(process=process(execCPUAffinity={"initial": "0", "final": "0-1,3"})))
    first = entry.build(made(process=process(execCPUAffinity={"initial": "0"})))
    group = positions(both, joins.JoinGroups)[0]
    assert positions(both, affinity.SetAffinity) == [group - 1, group + 1]
    assert both.join[group + 1].describe() == "taskset -pc 0,1,3 $$"
    assert positions(both, rights.ResetAffinity) == positions(first, rights.ResetAffinity) == []


def test_affinity_that_is_no_list_is_refused() -> None:
    """Before anything is done."""
    with pytest.raises(Invalid):
        entry.build(made(process=process(execCPUAffinity={"initial": "zero"})))


@given(
    st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["", "/f.bpf"]), st.sampled_from([plans.V1, plans.V2])
)
def test_the_rules_of_order(nnp: bool, tty: bool, own_user: bool, seccomp: str, layout: Layout) -> None:
    """Hidden first, then in the group, then the host's files, then inside; capabilities after the user; exec last."""
    kinds = (*KINDS, "user") if own_user else KINDS
    plan = entry.build(
        made(layout, namespaces=kinds, seccomp=seccomp, process=process(noNewPrivileges=nnp, terminal=tty))
    )
    inside = positions(plan, joins.EnterNamespaces)
    assert positions(plan, joins.Hide) == [0]
    assert positions(plan, joins.JoinGroups) == [1]
    assert positions(plan, filters.ReadFilter) < inside or not seccomp
    assert inside < positions(plan, joins.FindRoot) < positions(plan, rights.TakeUser)
    assert positions(plan, rights.SetUser) < positions(plan, rights.SetCapabilities)
    assert positions(plan, joins.Bear) == [len(plan.join) - 1]
    assert positions(plan, rights.Execute) == [len(plan.join) + len(plan.own) - 1]


def test_every_step_says_what_and_why() -> None:
    """`explain` has nothing else to show."""
    steps: list[Step] = [step for _, step in entry.build(made(seccomp="/f.bpf")).in_order()]
    assert all(step.describe() and step.why for step in steps)
