"""The runtime spec's limits as cgroup writes, on v1, hybrid and v2."""

from __future__ import annotations

import pytest

from onggi.errors import Invalid, Unavailable
from onggi.kernel.cgroup.layout import DeviceProgram, Layout, Mount, Write
from onggi.kernel.cgroup.v2 import weight_of_shares

V1 = Layout(
    "v1",
    (
        Mount("/c/cpu,cpuacct", ("cpu", "cpuacct"), 1),
        Mount("/c/cpuset", ("cpuset",), 1),
        Mount("/c/memory", ("memory",), 1),
        Mount("/c/devices", ("devices",), 1),
        Mount("/c/pids", ("pids",), 1),
        Mount("/c/blkio", ("blkio",), 1),
        Mount("/c/systemd", (), 1, "systemd"),
    ),
)
HYBRID = Layout("hybrid", (*V1.mounts, Mount("/c/unified", ("hugetlb",), 2)))
V2 = Layout(
    "v2",
    (Mount("/c", ("cpu", "cpuset", "io", "memory", "pids", "hugetlb", "devices", "freezer", "cpuacct"), 2),),
)
GIB = 1 << 30
HUGE = {"pageSize": "2MB", "limit": 7}
Spec = dict[str, object]


def _files(layout: Layout, resources: Spec) -> list[tuple[str, str]]:
    return [(f"{w.directory}/{w.file}", w.value) for w in layout.writes("/o/x", resources)]


def test_directories() -> None:
    """One directory a hierarchy on v1, one at all on v2."""
    assert V1.directories("/o/x")[0] == "/c/cpu,cpuacct/o/x"
    assert len(V1.directories("/o/x")) == 7
    assert V2.directories("/o/x") == ("/c/o/x",)


@pytest.mark.parametrize("path", ["", "x", "/o/../../etc", "/o/./x", "//x", "/o/", "/o//x", "/o/\0"])
def test_a_path_that_leaves_the_tree_is_refused(path: str) -> None:
    """No path names anything but a group below the top."""
    with pytest.raises(Invalid):
        V2.directories(path)


@pytest.mark.parametrize("act", ["kill", "remove", "freeze"])
def test_nobody_kills_the_machine(act: str) -> None:
    """The top of the hierarchy can be named, but not killed, removed or frozen."""
    with pytest.raises(Invalid):
        getattr(V2, act)("/")


def test_memory_on_v1_sets_the_limit_before_limit_with_swap() -> None:
    """The kernel keeps limit ≤ limit with swap, and both start unlimited: the limit comes first."""
    got = _files(V1, {"memory": {"limit": GIB, "swap": 2 * GIB, "reservation": 5}})
    assert got == [
        ("/c/memory/o/x/memory.limit_in_bytes", str(GIB)),
        ("/c/memory/o/x/memory.memsw.limit_in_bytes", str(2 * GIB)),
        ("/c/memory/o/x/memory.soft_limit_in_bytes", "5"),
    ]


def test_memory_on_v2_limits_swap_alone() -> None:
    """v2's swap limit is the difference between limit with swap and limit."""
    got = _files(V2, {"memory": {"limit": GIB, "swap": 3 * GIB, "reservation": 5}})
    assert got == [
        ("/c/o/x/memory.max", str(GIB)),
        ("/c/o/x/memory.swap.max", str(2 * GIB)),
        ("/c/o/x/memory.low", "5"),
    ]


@pytest.mark.parametrize(
    ("limit", "swap", "expected"),
    [(GIB, GIB, "0"), (GIB, -1, "max"), (-1, -1, "max"), (-1, None, "max")],
)
def test_swap_on_v2(limit: int, swap: int | None, expected: str) -> None:
    """No swap at all, unlimited swap, and everything unlimited."""
    given = {"limit": limit} | ({} if swap is None else {"swap": swap})
    assert dict(_files(V2, {"memory": given}))["/c/o/x/memory.swap.max"] == expected


@pytest.mark.parametrize(
    ("given", "cause"),
    [({"swap": GIB}, "without memory limit"), ({"limit": GIB, "swap": GIB - 1}, "should be >= memory limit")],
)
def test_swap_that_v2_cannot_have(given: Spec, cause: str) -> None:
    """What the difference is of must be known, and not below zero."""
    with pytest.raises(Invalid, match=cause):
        V2.writes("/o/x", {"memory": given})


def test_a_zero_says_nothing_but_for_swap_alone() -> None:
    """Docker sends zeros for what nobody asked for; crun's `{"swap": 0}` is no swap."""
    zeros: Spec = {"memory": {"limit": 0, "swap": 0, "reservation": 0}}
    assert _files(V1, zeros) == _files(V2, zeros) == []
    assert _files(V2, {"memory": {"swap": 0}}) == [("/c/o/x/memory.swap.max", "0")]


@pytest.mark.parametrize(("shares", "words"), [(1, "minimum allowed cpu-shares is 2"), (262145, "maximum allowed")])
def test_shares_that_the_kernel_would_bend_are_refused(shares: int, words: str) -> None:
    """On v1, in the words that Docker's tests know from runc."""
    with pytest.raises(Invalid, match=words):
        V1.writes("/o/x", {"cpu": {"shares": shares}})


def test_unlimited_memory_on_v1_frees_the_swap_too() -> None:
    """A limit of -1 alone also lifts the one on memory with swap."""
    assert dict(_files(V1, {"memory": {"limit": -1}}))["/c/memory/o/x/memory.memsw.limit_in_bytes"] == "-1"


def test_a_period_before_its_quota() -> None:
    """On v1 the period is set before the quota; on v2 both are one write."""
    given: Spec = {"cpu": {"quota": 50000, "period": 100000, "shares": 512}}
    assert [file.rpartition("/")[2] for file, _ in _files(V1, given)] == [
        "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us",
    ]  # fmt: skip
    assert _files(V2, given) == [("/c/o/x/cpu.weight", "59"), ("/c/o/x/cpu.max", "50000 100000")]


@pytest.mark.parametrize(("given", "expected"), [({"quota": -1}, "max 100000"), ({"period": 50000}, "max 50000")])
def test_cpu_max_without_a_quota(given: Spec, expected: str) -> None:
    """Without a quota there is no limit, whatever the period."""
    assert _files(V2, {"cpu": given}) == [("/c/o/x/cpu.max", expected)]


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (1024, 100), (262144, 10000), (500000, 10000), (512, 59), (2048, 174)]
)
def test_shares_as_weight(shares: int, weight: int) -> None:
    """Least, default and most of v1 are least, default and most of v2; between them the curve of runc and crun."""
    assert weight_of_shares(shares) == weight


def test_weights_grow() -> None:
    """More shares never weigh less."""
    weights = [weight_of_shares(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights)
    assert weights[0] >= 1
    assert weights[-1] <= 10000


def test_sets_go_to_their_own_controller() -> None:
    """Processors and memory nodes are the cpuset controller's."""
    assert _files(V1, {"cpu": {"cpus": "0-1", "mems": "0"}}) == [
        ("/c/cpuset/o/x/cpuset.cpus", "0-1"), ("/c/cpuset/o/x/cpuset.mems", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "expected"), [(33, "33"), (-1, "max"), (0, "1")])
def test_pids(limit: int, expected: str) -> None:
    """A number of processes, or no limit; none at all is one, as runc has it."""
    assert _files(V2, {"pids": {"limit": limit}}) == [("/c/o/x/pids.max", expected)]


def test_no_limit_is_no_write() -> None:
    """Empty sections, zeros that mean nothing and absent values write nothing."""
    given: Spec = {"memory": {"disableOOMKiller": False}, "cpu": {"shares": 0}, "pids": {}, "blockIO": {}}
    assert _files(V1, given) == _files(V2, given) == []


def test_block_weight_knows_both_schedulers() -> None:
    """v1's and BFQ's files take the weight as it is, v2's io.weight stretched."""
    (old,) = V1.writes("/o/x", {"blockIO": {"weight": 1000}})
    (new,) = V2.writes("/o/x", {"blockIO": {"weight": 1000}})
    assert isinstance(old, Write)
    assert isinstance(new, Write)
    assert (old.file, old.otherwise) == ("blkio.weight", ("blkio.bfq.weight", "1000"))
    assert (new.file, new.otherwise) == ("io.bfq.weight", ("io.weight", "default 10000"))


def test_throttles() -> None:
    """Rates by device, in each version's own words."""
    given: Spec = {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 1024}]}}
    assert _files(V1, given) == [("/c/blkio/o/x/blkio.throttle.read_bps_device", "8:16 1024")]
    assert _files(V2, given) == [("/c/o/x/io.max", "8:16 rbps=1024")]


def test_a_hybrid_host_uses_each_controller_where_it_is() -> None:
    """Memory is v1's, huge pages are v2's, on one host."""
    got = _files(HYBRID, {"memory": {"limit": 5}, "hugepageLimits": [{"pageSize": "2MB", "limit": 7}]})
    assert got == [
        ("/c/memory/o/x/memory.limit_in_bytes", "5"),
        ("/c/unified/o/x/hugetlb.2MB.max", "7"),
        ("/c/unified/o/x/hugetlb.2MB.rsvd.max", "7"),
    ]


def test_v2_files_by_name() -> None:
    """`unified` is written as it is, a line at a time, where the v2 tree has the controller."""
    assert _files(V2, {"unified": {"memory.high": "7", "io.max": "8:0 rbps=1\n8:16 rbps=2\n"}}) == [
        ("/c/o/x/memory.high", "7"), ("/c/o/x/io.max", "8:0 rbps=1"), ("/c/o/x/io.max", "8:16 rbps=2"),
    ]  # fmt: skip
    (missing,) = V2.missing({"unified": {"foo.bar": "7"}})
    assert (missing.field, missing.must) == ("unified.foo.bar", True)


@pytest.mark.parametrize("layout", [V1, HYBRID])
def test_v2_files_need_v2(layout: Layout) -> None:
    """In runc's words."""
    with pytest.raises(Invalid, match="invalid configuration: cannot use unified on cgroup v1"):
        layout.writes("/o/x", {"unified": {"memory.high": "7"}})


def test_what_must_be_kept_is_an_error() -> None:
    """For `onggi-oci`: a controller that is not there is one; what v2 has no idea of is a warning, as runc passes over it."""
    with pytest.raises(Unavailable, match=r"hugepageLimits\.2MB"):
        V1.limits("/o/x", {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}).insist()
    limits = V2.limits("/o/x", {"memory": {"limit": 5, "swappiness": 10}, "hugepageLimits": [HUGE]})
    limits.insist()
    assert [(w.file, w.must) for w in limits.writes if isinstance(w, Write)] == [
        ("memory.max", True),
        ("hugetlb.2MB.max", True),
        ("hugetlb.2MB.rsvd.max", False),
    ]


OWN = {"memory": "/a/b", "cpu": "/", "name=systemd": "/s", "": "/u/v"}


def test_paths_below_ones_own_groups() -> None:
    """In each hierarchy another one; on v2 alone the group around it, since one with processes has no limited children."""
    mine = HYBRID.below_own(OWN)
    assert mine.directory("memory", "/x") == "/c/memory/a/b/x"
    assert mine.directory("cpu", "/x") == "/c/cpu,cpuacct/x"
    assert mine.directories("/x")[-2:] == ("/c/systemd/s/x", "/c/unified/u/v/x")
    assert V2.below_own(OWN).directories("/x") == ("/c/u/x",)
    assert V2.below_own({"": "/"}).directories("/x") == ("/c/x",)


def test_a_container_s_own_groups_may_be_mounted_at_the_top() -> None:
    """As in a container without a cgroup namespace: /proc tells the host's path, the mount shows what is below its root."""
    inside = Layout("v1", (Mount("/c/memory", ("memory",), 1, root="/docker/1"),))
    assert inside.below_own({"memory": "/docker/1/mine"}).directories("/x") == ("/c/memory/mine/x",)
    assert inside.below_own({"memory": "/docker/1"}).directories("/x") == ("/c/memory/x",)


def test_kept_paths_find_the_group_again() -> None:
    """Whatever groups the reader is in by now; a hierarchy that was not there then is left alone."""
    kept = HYBRID.below_own(OWN).paths("/x")
    assert kept["cpuacct"] == "/c/cpu,cpuacct/x"
    assert kept["name=systemd"] == "/c/systemd/s/x"
    assert kept[""] == "/c/unified/u/v/x"
    assert HYBRID.of_paths("/x", kept).directories("/x") == HYBRID.below_own(OWN).directories("/x")
    del kept["pids"]
    assert HYBRID.of_paths("/x", kept).directory("pids", "/x") is None


@pytest.mark.parametrize("file", ["../../x/memory.max", "memory/max.y", "procs", ""])
def test_a_v2_file_elsewhere_is_refused(file: str) -> None:
    """`unified` names files of the group and nothing outside of it."""
    with pytest.raises(Invalid):
        V2.writes("/o/x", {"unified": {file: "1"}})


def test_what_is_missing_is_named() -> None:
    """What a host cannot do is told by the spec's name of it."""
    given: Spec = {
        "memory": {"swappiness": 10, "disableOOMKiller": True},
        "cpu": {"realtimeRuntime": 5},
        "network": {"classID": 1},
    }
    assert [m.field for m in V2.missing(given)] == [
        "memory.swappiness", "memory.disableOOMKiller", "cpu.realtimeRuntime", "network.classID",
    ]  # fmt: skip
    assert V1.missing({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})[0].text() == (
        "limit `hugepageLimits.2MB` is not kept: the host has no hugetlb controller"
    )
    assert V1.missing({"memory": {"swappiness": 10}}) == ()


def test_device_rules_come_first_and_must_be_kept() -> None:
    """On v1 all is denied before single devices are allowed; a missing file is an error, no warning."""
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    got = V1.writes("/o/x", {"devices": rules, "memory": {"limit": 5}})
    assert [(w.file, w.value) for w in got[:2]] == [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]
    assert all(isinstance(w, Write) and w.must for w in got[:2])


def test_device_rules_on_v2_are_one_program() -> None:
    """On v2 the rules are one value with a description of its own."""
    rules = [{"allow": False}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    (program,) = V2.writes("/o/x", {"devices": rules})
    assert isinstance(program, DeviceProgram)
    assert program.value == "deny all except c 1:3 rw"


def test_joining_moves_a_thread_on_v1_and_nothing_that_is_inside() -> None:
    """v1 groups are joined by `tasks`, which takes no lock; who was born in the v2 group does not join it again."""
    assert {w.file for w in V1.joins("/o/x")} == {"tasks"}
    assert [w.file for w in V2.joins("/o/x")] == ["cgroup.procs"]
    assert V2.joins("/o/x", born_inside=True) == ()
    assert len(HYBRID.joins("/o/x", born_inside=True)) == len(V1.mounts)


def test_the_name_of_a_hierarchy() -> None:
    """A directory's hierarchy has the name of its mount."""
    assert V1.name_of("/c/cpu,cpuacct/o/x") == "cpu,cpuacct"
    assert HYBRID.name_of("/c/unified") == "unified"
