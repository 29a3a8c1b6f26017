"""Classes of service (`linux.intelRdt`): what becomes of the document, on a directory that looks like resctrl.

No machine of ours has the hardware. The kernel's files are plain ones here: a class that is made has none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import plans
from onggi.errors import Invalid, KernelError, NotFound, OnggiError, StartFailed, Unavailable
from onggi.kernel import resctrl
from onggi.kernel.cgroup.layout import Layout
from onggi.runc import rdt
from onggi.runtime.plan import build
from onggi.runtime.request import ServiceClass, from_json
from onggi.runtime.resctrl import JoinClass, MakeClass
from onggi.runtime.steps import Context
from onggi.trace import Trace
from onggi.values import replace

SCHEMATA = "    L3:0=fffff;1=fffff\n    MB:0=100;1= 50\n"


@pytest.fixture
def top(tmp_path: Path) -> str:
    """A directory with the default class and one more, `gold`."""
    for name in ("info/L3", "info/MB", "mon_groups", "gold/mon_groups"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "info/last_cmd_status").write_text("no domain with id 7\n")
    for place in (tmp_path, tmp_path / "gold"):
        (place / "schemata").write_text(SCHEMATA)
        (place / "tasks").write_text("")
    return str(tmp_path)


def context() -> Context:
    """One that these steps do not use."""
    return Context(Trace(), "keeper", Layout("v2", ()))


@pytest.mark.parametrize(
    ("given", "directory", "made", "owned"),
    [
        ({}, "c1", True, ["c1"]),
        ({"closID": "gold"}, "gold", False, []),
        ({"closID": "gold", "enableMonitoring": True}, "gold", False, ["gold/mon_groups/c1"]),
        ({"closID": "new", "l3CacheSchema": "L3:0=f"}, "new", True, []),
        ({"closID": "/", "enableMonitoring": True}, "", False, ["mon_groups/c1"]),
        ({"enableMonitoring": True}, "c1", True, ["c1"]),
    ],
)
def test_whose_class_it_is(top: str, given: dict[str, Any], directory: str, made: bool, owned: list[str]) -> None:
    """config-linux.md: a class without an id is the container's, and goes with it; of another only its monitoring group."""
    service = rdt.of_config(given, "c1", top)
    assert (service.directory, service.made) == (f"{top}/{directory}".rstrip("/"), made)
    assert rdt.kept(given, service)["owned"] == [f"{top}/{name}" for name in owned]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"closID": ".."}, Invalid, "invalid intelRdt.ClosID"),
        ({"closID": "a/b"}, Invalid, "invalid intelRdt.ClosID"),
        ({"closID": "silver"}, NotFound, "silver"),
        ({"schemata": ["L3:0=f\nMB:0=10"]}, Invalid, "one line"),
        ({"memBwSchema": "L3:0=f"}, Invalid, "begins with MB:"),
        ({"memBwSchema": "MB:0=5"}, Unavailable, "RDT/MBA is not enabled"),
    ],
)
def test_what_cannot_be_had(top: str, given: dict[str, Any], error: type[OnggiError], words: str) -> None:
    """By name, before anything is made."""
    (Path(top) / "info/MB").rmdir()
    with pytest.raises(error, match=words):
        rdt.of_config(given, "c1", top)


def test_without_resctrl_it_is_refused() -> None:
    """In runc's words, with what to do."""
    with pytest.raises(Unavailable, match="Intel RDT is not enabled") as failure:
        rdt.of_config({}, "c1", "")
    assert "mount" in failure.value.hint


def test_lines_are_written_in_their_order(top: str) -> None:
    """The cache's schema, the bandwidth's, then the others."""
    given = {"schemata": ["L2:0=f"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=7f0"}
    assert rdt.of_config(given, "c1", top).schemata == "L3:0=7f0\nMB:0=20\nL2:0=f\n"


@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        ("L3:0=fffff", True), ("L3:1=FFFFF;0=0fffff\n", True), ("MB:1=50\nL3:0=fffff\n", True), ("MB: 0 = 100", True),
        ("L3:0=ffff", False), ("MB:1=51", False), ("L3:2=fffff", False), ("L2:0=f", False),
    ],
)  # fmt: skip
def test_a_class_that_is_there_must_agree(top: str, wanted: str, same: bool) -> None:
    """By what the lines say, not by how they are written; and nothing of it is changed."""
    step = MakeClass(rdt.of_config({"closID": "gold", "schemata": wanted.splitlines()}, "c1", top), "")
    if same:
        step.apply(context())
    else:
        with pytest.raises(StartFailed, match="other schemata"):
            step.apply(context())
    assert (Path(top) / "gold/schemata").read_text() == SCHEMATA


def test_a_monitoring_group_is_made_and_joined_after_its_class(top: str) -> None:
    """The kernel takes a task into such a group only when it is in the class."""
    service = rdt.of_config({"closID": "gold", "enableMonitoring": True}, "c1", top)
    MakeClass(service, "").apply(context())
    (Path(service.monitor) / "tasks").write_text("")
    join = JoinClass(service, "")
    join.apply(context())
    assert join.describe() == f"echo $$ > {top}/gold/tasks; echo $$ > {top}/gold/mon_groups/c1/tasks"
    assert [Path(d, "tasks").read_text() for d in (service.directory, service.monitor)] == ["0", "0"]


def test_what_the_kernel_says_is_in_the_error(top: str) -> None:
    """errno alone tells nobody which domain is wrong."""
    service = ServiceClass(top, f"{top}/c1", True, "L3:7=f\n", "")
    with pytest.raises(KernelError, match="last_cmd_status: no domain with id 7"):
        MakeClass(service, "").apply(context())
    rdt.remove(rdt.kept({}, service)["owned"])
    rdt.remove(rdt.kept({}, service)["owned"])  # what is gone is gone
    assert not Path(service.directory).exists()


def test_the_class_is_made_before_the_clone_and_joined_before_all_else() -> None:
    """Like the cgroup: no instruction of the container runs outside it."""
    service = ServiceClass("/r", "/r/c1", True, "L3:0=f\n", "/r/c1/mon_groups/c1")
    plan = build(replace(from_json(plans.request_document()), service_class=service), plans.V2)
    assert "mkdir -p /r/c1; echo 'L3:0=f' > /r/c1/schemata; mkdir /r/c1/mon_groups/c1" in [
        s.describe() for s in plan.before
    ]
    assert isinstance(plan.inside[0], JoinClass)


def test_a_schema_can_be_changed(top: str) -> None:
    """`update --mem-bw-schema`: for the container's class."""
    kept = rdt.kept({}, rdt.of_config({"closID": "gold"}, "c1", top))
    rdt.update(kept["class"], "", "MB:0=30")
    assert (Path(top) / "gold/schemata").read_text().startswith("MB:0=30\n")


def test_where_resctrl_is_mounted_is_asked_of_the_kernel() -> None:
    """Here nowhere, or where the kernel says."""
    top = resctrl.root()
    assert top == "" or Path(top, "schemata").exists()
