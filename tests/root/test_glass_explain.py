"""The glass on a real process in real namespaces and a real group."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

import pytest

from onggi.engine.seccomp_profile import default_profile
from onggi.glass.explain import Explanation, explain
from onggi.glass.namespaces import KINDS
from onggi.kernel import capability, seccomp, seccomp_compiler
from onggi.kernel.cgroup.detect import detect
from onggi.kernel.flags import Clone
from onggi.kernel.process import clone, set_hostname, set_no_new_privileges, unshare

GROUP = f"/onggi-test-glass-{os.getpid()}"
_OWN = Clone.NEWNS | Clone.NEWPID | Clone.NEWNET | Clone.NEWUTS | Clone.NEWIPC


@pytest.fixture(scope="module")
def container() -> Iterator[int]:
    """The pid of a process with five namespaces, a group with limits, the default capabilities and filter."""
    layout = detect()
    layout.create(GROUP)
    layout.apply(*layout.writes(GROUP, {"memory": {"limit": 64 << 20}, "pids": {"limit": 7}}))
    layout.apply(*layout.writes(GROUP, {"cpu": {"quota": 50000, "period": 100000}}))
    bpf = seccomp_compiler.compile_filter(default_profile(capability.DEFAULT))
    reader, writer = os.pipe()
    target = layout.clone_target(GROUP)
    pid, pidfd = clone(_OWN, target.fileno() if target else -1)
    if pid == 0:
        with contextlib.suppress(BaseException):  # nothing of the child may return into pytest
            layout.join(GROUP, born_inside=target is not None)
            unshare(Clone.NEWCGROUP)
            set_hostname("jar")
            capability.apply(capability.DEFAULT, capability.DEFAULT, capability.DEFAULT, [], [])
            set_no_new_privileges()
            seccomp.load_filter(bpf)
            os.write(writer, b"in")
            signal.sigwait({signal.SIGUSR1})
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 2) == b"in"
    yield pid
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    for descriptor in (pidfd, reader):
        os.close(descriptor)
    layout.remove(GROUP)


@pytest.fixture
def shown(container: int) -> Explanation:
    """What the glass shows of it."""
    return explain({"id": "f" * 64, "name": "jar", "pid": container, "config": {"hostname": "jar"}})


def test_which_namespaces_are_its_own(shown: Explanation) -> None:
    """Six own, two shared, each with the kernel's numbers of both sides."""
    own = {view.name for view in shown.namespaces if view.own}
    assert own == {"mnt", "pid", "net", "uts", "ipc", "cgroup"}
    assert {view.name for view in shown.namespaces} <= set(KINDS)
    for view in shown.namespaces:
        assert (view.container == view.host) is not view.own
        assert os.readlink(f"/proc/{shown.pid}/ns/{view.name}") == f"{view.name}:[{view.container}]"


def test_both_pids_of_the_process(shown: Explanation, container: int) -> None:
    """The first process is 1 inside and something else outside."""
    (view,) = [view for view in shown.namespaces if view.name == "pid"]
    assert [fact.text for fact in view.facts] == [f"1 inside, {container} outside"]


def test_both_host_names(shown: Explanation) -> None:
    """The name inside and the one outside."""
    (view,) = [view for view in shown.namespaces if view.name == "uts"]
    assert view.facts[0].text == f"`jar` inside, `{os.uname().nodename}` outside"


def test_the_group_inside_and_outside(shown: Explanation) -> None:
    """With a cgroup namespace of its own the group is the root inside."""
    (view,) = [view for view in shown.namespaces if view.name == "cgroup"]
    assert view.facts[0].text.startswith(f"`{GROUP}` outside, `/` inside (")


def test_a_network_without_a_cable(shown: Explanation) -> None:
    """A new network namespace has a loopback without an address."""
    (view,) = [view for view in shown.namespaces if view.name == "net"]
    assert ("lo", "no address; 0 B in, 0 B out") in [(fact.title, fact.text) for fact in view.facts]


def test_limits_against_use(shown: Explanation) -> None:
    """Each limit beside what is used."""
    limits = {fact.title: fact.text for fact in shown.limits}
    assert limits["memory"].startswith("64 MiB at most; ")
    assert limits["processor"].startswith("0.5 processors at most (50 ms of every 100 ms); ")
    assert limits["processes"] == "7 at most; 1 now"


def test_rights(shown: Explanation) -> None:
    """Capabilities by name, the filter, no_new_privs."""
    rights = {fact.title: fact.text for fact in shown.rights}
    assert "net_bind_service" in rights["capabilities kept"]
    assert "sys_admin" in rights["capabilities dropped"]
    assert rights["system calls"].startswith("1 filter decides")
    assert rights["no_new_privs"].startswith("on")


def test_it_is_json(shown: Explanation) -> None:
    """The whole of it survives a JSON round trip."""
    document = shown.to_json()
    assert json.loads(json.dumps(document)) == document
