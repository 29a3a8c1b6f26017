"""The plan: whole plans of a dozen configurations, and the rules of order that the module's docstring gives."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import plans
from onggi.kernel.cgroup.layout import Layout
from onggi.runtime import covers, devices, filters, mapped, mounts, rights, sources, surroundings, sysctls
from onggi.runtime.plan import Plan, build
from onggi.runtime.request import from_json
from onggi.runtime.steps import Step

DEFAULT = """\
keeper mkdir -p /sys/fs/cgroup/onggi/c1
keeper echo 67108864 > /sys/fs/cgroup/onggi/c1/memory.max
keeper echo 50 > /sys/fs/cgroup/onggi/c1/pids.max
keeper unshare --mount --uts --ipc --net --pid --fork
init echo $$ > /sys/fs/cgroup/onggi/c1/cgroup.procs
init taskset -pc 0- $$
init mount --make-rslave /
init mount -t overlay -o lowerdir=/l/2:/l/1,upperdir=/c/upper,workdir=/c/work overlay /var/lib/onggi/rootfs
init mount -t proc -o nosuid,noexec,nodev proc /proc
init mount -t tmpfs -o nosuid,strictatime,mode=755,size=65536k tmpfs /dev
init mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts
init mount -t sysfs -o nosuid,noexec,nodev,ro sysfs /sys
init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/onggi/c1 /sys/fs/cgroup
init mount -t mqueue -o nosuid,noexec,nodev mqueue /dev/mqueue
init mknod -m 666 /dev/null c 1 3
init mknod -m 666 /dev/zero c 1 5
init mknod -m 666 /dev/full c 1 7
init mknod -m 666 /dev/random c 1 8
init mknod -m 666 /dev/urandom c 1 9
init mknod -m 666 /dev/tty c 5 0
init ln -sf pts/ptmx /dev/ptmx
init ln -s /proc/self/fd /dev/fd
init ln -s /proc/self/fd/0 /dev/stdin
init ln -s /proc/self/fd/1 /dev/stdout
init ln -s /proc/self/fd/2 /dev/stderr
init grep '^root:' /etc/passwd /etc/group
init mkdir -p /
init cat /run/onggi/filter.bpf
init hostname jar
init sysctl -w kernel.shmmax=65536
init ip link set lo up
init sysctl -w net.ipv4.ip_forward=1
init unshare --cgroup
init mount --bind -o ro,rec /proc/sys /proc/sys
init mount --bind -o ro /dev/null /proc/kcore
init mount --bind -o ro /dev/null /sys/firmware
init pivot_root . . && umount -l .
init exec 0</dev/null 1>/dev/null 2>/dev/null, as far as they are one
init setsid; keyctl session _ses.c1
init close_range 3- at exec
init setpriv --seccomp-filter filter.bpf
init cd /
init setpriv --reuid UID --regid GID --groups GROUPS
init setpriv --bounding-set -all,+chown,+kill,+setuid,+setgid,+net_bind_service
init setpriv --pdeathsig KILL
init command -v /bin/true
init exec /bin/true
"""


def planned(changes: Mapping[str, Any] | None = None, layout: Layout = plans.V2) -> Plan:
    """The plan of the plain request with these changes."""
    return build(from_json(plans.changed(plans.request_document(), dict(changes or {}))), layout)


def lines(plan: Plan) -> list[str]:
    """The plan as text, one step a line."""
    return [f"{who} {step.describe()}" for who, step in plan.in_order()]


def difference(plan: Plan) -> list[str]:
    """What the plan has more (`+`) and less (`-`) than the default one, in order: together with it, the whole plan."""
    compared = difflib.ndiff(DEFAULT.splitlines(), lines(plan))
    return [line for line in compared if line[0] in "+-"]


def test_the_default_container() -> None:
    """The whole plan of a plain container on cgroup v2."""
    assert lines(planned()) == DEFAULT.splitlines()


def test_a_terminal_comes_from_the_containers_own_devpts() -> None:
    """With a terminal the console is opened after the devices, before the user is looked up."""
    assert difference(planned({"config.process.terminal": True})) == [
        "+ init open /dev/pts/ptmx",
        "+ init mount --bind /dev/pts/0 /dev/console",
        "+ init setsid --ctty",
    ]


def test_privileged_has_no_masks_no_filter_and_its_devices() -> None:
    """Privileged: nothing masked or read-only, no seccomp, the devices that were listed."""
    plan = planned(
        {
            "config.linux.maskedPaths": [],
            "config.linux.readonlyPaths": [],
            "seccomp": "",
            "config.linux.devices": [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600}],
        }
    )
    assert difference(plan) == [
        "+ init mknod -m 600 /dev/kmsg c 1 11",
        "- init cat /run/onggi/filter.bpf",
        "- init mount --bind -o ro,rec /proc/sys /proc/sys",
        "- init mount --bind -o ro /dev/null /proc/kcore",
        "- init mount --bind -o ro /dev/null /sys/firmware",
        "- init setpriv --seccomp-filter filter.bpf",
    ]


def test_network_none_has_a_loopback_and_no_link() -> None:
    """Without links a new network namespace still gets its loopback: that is the default here."""
    plan = planned()
    assert plan.beside == ()
    assert "init ip link set lo up" in lines(plan)


def test_network_host_touches_no_link() -> None:
    """With the host's network namespace nothing is configured, not even the loopback."""
    plan = planned({"config.linux.namespaces": plans.namespaces("mount", "pid", "ipc", "uts", "cgroup")})
    assert [line for line in difference(plan) if not line.startswith(("?", "- keeper", "+ keeper"))] == [
        "- init ip link set lo up"
    ]
    assert plan.clone.describe() == "unshare --mount --uts --ipc --pid --fork"


def test_network_of_another_container_is_joined_and_not_changed() -> None:
    """With another container's network the init joins it after its cgroup and configures nothing."""
    found = plans.namespaces("mount", "pid", "ipc", "uts", "cgroup", network="/proc/7/ns/net")
    plan = planned({"config.linux.namespaces": found})
    assert "init nsenter --network=/proc/7/ns/net" in lines(plan)
    assert "init ip link set lo up" not in lines(plan)
    assert lines(plan).index("init nsenter --network=/proc/7/ns/net") == 6


def test_pid_host_unshares_no_pid_namespace() -> None:
    """With the host's pids only the clone differs."""
    found = plans.namespaces("mount", "ipc", "uts", "network", "cgroup")
    assert difference(planned({"config.linux.namespaces": found})) == [
        "- keeper unshare --mount --uts --ipc --net --pid --fork",
        "+ keeper unshare --mount --uts --ipc --net",
    ]


def test_a_read_only_root_is_the_last_change_before_the_pivot() -> None:
    """Everything that has to be made in the root is made before it becomes read-only."""
    plan = planned({"config.root.readonly": True})
    assert difference(plan) == ["+ init mount -o remount,ro,bind /"]
    assert lines(plan)[lines(plan).index("init mount -o remount,ro,bind /") + 1].startswith("init pivot_root")


def test_with_no_new_privs_the_filter_is_loaded_last() -> None:
    """With no_new_privs the filter needs no capability, so it comes after them."""
    plan = planned({"config.process.noNewPrivileges": True})
    assert lines(plan)[-6:] == [
        "init setpriv --bounding-set -all,+chown,+kill,+setuid,+setgid,+net_bind_service",
        "init setpriv --no-new-privs",
        "init setpriv --pdeathsig KILL",
        "init command -v /bin/true",
        "init setpriv --seccomp-filter filter.bpf",
        "init exec /bin/true",
    ]


def test_the_specifications_user_is_taken_as_it_is() -> None:
    """`process.user` is numbers: nobody is looked up, ulimits and the score come with it."""
    plan = planned(
        {
            "user": None,
            "config.process.user": {"uid": 5, "gid": 6, "additionalGids": [7]},
            "config.process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
            "config.process.oomScoreAdj": 100,
        }
    )
    assert difference(plan) == [
        "- init grep '^root:' /etc/passwd /etc/group",
        "+ init id=5:6",
        "+ init choom -n 100 -p $$",
        "+ init prlimit --nofile=10:20",
    ]
    (step,) = [s for _, s in plan.in_order() if isinstance(s, rights.TakeUser)]
    assert step.groups == (7,)


def test_cgroup_v1_shows_each_hierarchy_by_itself() -> None:
    """On v1 every hierarchy is joined and shown at its own place in a read-only directory."""
    assert [line for line in difference(planned(layout=plans.V1)) if "/sys/fs/cgroup" in line and line[0] == "+"] == [
        "+ keeper mkdir -p /sys/fs/cgroup/memory/onggi/c1 /sys/fs/cgroup/cpu,cpuacct/onggi/c1"
        " /sys/fs/cgroup/pids/onggi/c1 /sys/fs/cgroup/devices/onggi/c1",
        "+ keeper echo 67108864 > /sys/fs/cgroup/memory/onggi/c1/memory.limit_in_bytes",
        "+ keeper echo 50 > /sys/fs/cgroup/pids/onggi/c1/pids.max",
        "+ init echo $$ > /sys/fs/cgroup/memory/onggi/c1/cgroup.procs; echo $$ >"
        " /sys/fs/cgroup/cpu,cpuacct/onggi/c1/cgroup.procs; echo $$ > /sys/fs/cgroup/pids/onggi/c1/cgroup.procs;"
        " echo $$ > /sys/fs/cgroup/devices/onggi/c1/cgroup.procs",
        "+ init mount -t tmpfs -o nosuid,mode=755 cgroup /sys/fs/cgroup",
        "+ init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/memory/onggi/c1 /sys/fs/cgroup/memory",
        "+ init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/cpu,cpuacct/onggi/c1 /sys/fs/cgroup/cpu,cpuacct",
        "+ init ln -s cpu,cpuacct /sys/fs/cgroup/cpu",
        "+ init ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct",
        "+ init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/pids/onggi/c1 /sys/fs/cgroup/pids",
        "+ init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/devices/onggi/c1 /sys/fs/cgroup/devices",
        "+ init mount -o remount,ro,bind /sys/fs/cgroup",
    ]


def test_hybrid_is_v1_and_the_unified_tree_beside_it() -> None:
    """On a hybrid host the plan is v1's with one more hierarchy."""
    v1, hybrid = set(lines(planned(layout=plans.V1))), set(lines(planned(layout=plans.HYBRID)))
    more = "init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/unified/onggi/c1 /sys/fs/cgroup/unified"
    assert more in hybrid - v1
    assert len(hybrid - v1) == 3  # that mount, one more directory made, one more joined


def test_a_shared_cgroup_namespace_shows_the_whole_tree() -> None:
    """`--cgroupns host`: no namespace, and the top of the hierarchy is shown."""
    found = plans.namespaces("mount", "pid", "ipc", "uts", "network")
    plan = planned({"config.linux.namespaces": found, "private_cgroup": False})
    assert difference(plan) == [
        "- init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup/onggi/c1 /sys/fs/cgroup",
        "+ init mount --bind -o nosuid,noexec,nodev,ro /sys/fs/cgroup /sys/fs/cgroup",
        "- init unshare --cgroup",
    ]


def test_links_are_made_by_the_keeper_and_configured_by_the_init() -> None:
    """The cable is laid from outside; parameters before the link goes up, which brings its addresses up."""
    link = {
        "host_name": "v1",
        "name": "eth0",
        "bridge": "onggi0",
        "mac": "02:42:ac:11:00:02",
        "mtu": 1500,
        "addresses": ["172.17.0.2/16"],
        "routes": [{"gateway": "172.17.0.1"}],
        "sysctls": {"net/ipv6/conf/eth0/accept_dad": "0"},
    }
    assert difference(planned({"links": [link]})) == [
        "+ keeper ip link add v1 master onggi0 mtu 1500 type veth peer eth0 netns $INIT address 02:42:ac:11:00:02",
        "+ init sysctl -w net.ipv6.conf.eth0.accept_dad=0",
        "+ init ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; ip route add default via 172.17.0.1",
    ]


def test_an_overlay_in_memory_keeps_its_layers() -> None:
    """Changes in memory: the same plan, the step knows."""
    plan = planned({"overlay.in_memory": True})
    assert lines(plan) == DEFAULT.splitlines()
    (step,) = [s for s in plan.inside if isinstance(s, mounts.MountOverlay)]
    assert step.in_memory


def test_a_bundle_has_no_overlay() -> None:
    """Without an overlay the root directory is bound onto itself."""
    plan = planned({"overlay": None})
    assert [line for line in difference(plan) if line[0] == "+"] == [
        "+ init mount --rbind /var/lib/onggi/rootfs /var/lib/onggi/rootfs"
    ]


def test_without_a_cgroup_no_group_is_touched() -> None:
    """No cgroupsPath, no group."""
    assert not any(
        "cgroup.procs" in line or "mkdir -p /sys" in line for line in lines(planned({"config.linux.cgroupsPath": ""}))
    )


def test_the_limit_that_a_host_lacks_is_a_warning_of_the_plan() -> None:
    """What the layout cannot do is said by name."""
    (warning,) = planned({"config.linux.resources": {"rdma": {"mlx5": {"hcaHandles": 3}}}}).warnings
    assert "rdma" in warning


MAP = [{"containerID": 0, "hostID": 1_000_000, "size": 65536}]
USERS = {
    "config.linux.namespaces": plans.namespaces("user", "mount", "pid", "ipc", "uts", "network", "cgroup"),
    "config.linux.uidMappings": MAP,
    "config.linux.gidMappings": MAP,
}


def test_ids_of_its_own_let_the_keeper_open_and_the_init_take() -> None:
    """The keeper maps ids, mounts the root and starts who opens; the init is root outside until it has its root."""
    layers = "lowerdir=/l/2:/l/1,upperdir=/c/upper,workdir=/c/work"
    assert difference(planned(USERS)) == [
        "- keeper unshare --mount --uts --ipc --net --pid --fork",
        "+ keeper unshare --mount --uts --ipc --net --pid --fork --user",
        "+ keeper echo '0 1000000 65536' > /proc/$INIT/uid_map",
        "+ keeper echo '0 1000000 65536' > /proc/$INIT/gid_map",
        f"+ keeper mount -t overlay -o X-mount.idmap=/proc/$INIT/ns/user,{layers} overlay",
        "+ keeper nsenter --mount --target $INIT sh -c 'while read path; do exec {fd}<$path; done' &",
        "+ init exec 4<>helper",
        f"- init mount -t overlay -o {layers} overlay /var/lib/onggi/rootfs",
        "+ init mount --move /proc/self/fd/$FD /var/lib/onggi/rootfs",
        "+ init cat /run/onggi/filter.bpf",
        "+ init setpriv --reuid 0 --regid 0 --clear-groups",
        *(f"- init mknod -m 666 /dev/{name}" for name in ("null c 1 3", "zero c 1 5", "full c 1 7", "random c 1 8")),
        "- init mknod -m 666 /dev/urandom c 1 9",
        "- init mknod -m 666 /dev/tty c 5 0",
        *(
            f"+ init mount --bind /dev/{name} /dev/{name}"
            for name in ("null", "zero", "full", "random", "urandom", "tty")
        ),
        "- init cat /run/onggi/filter.bpf",
    ]


def test_what_is_handed_over_is_numbered_in_order() -> None:
    """The n-th descriptor that the keeper hands over is the one that the init's step expects."""
    plan = planned(USERS, plans.V1)
    assert [type(step) for step in plan.mapping[2:]] == [mapped.OpenOverlay, sources.OpenForInit]
    taken = [step for step in plan.inside if isinstance(step, mapped.AttachRoot | sources.TakeSources)]
    assert {type(step): step.handed for step in taken} == {mapped.AttachRoot: 0, sources.TakeSources: 1}


def test_ids_of_its_own_need_a_network_of_its_own_making() -> None:
    """A network namespace that was made ahead belongs to the host: it is left alone."""
    request = from_json(plans.changed(plans.request_document(), dict(USERS)))
    assert build(request, plans.V2, network_ahead=True) == build(request, plans.V2)


def test_a_network_that_was_made_ahead_is_entered() -> None:
    """The clone makes no network namespace then; the init enters the one at hand, after its group."""
    plan = build(from_json(plans.request_document()), plans.V2, network_ahead=True)
    assert "--net" not in plan.clone.describe()
    assert positions(plan, surroundings.EnterNetwork) == [2]


JOINED = plans.namespaces("mount", "uts", user="/proc/7/ns/user", network="/proc/7/ns/net", pid="/proc/7/ns/pid")


@pytest.mark.parametrize("found", [JOINED, plans.namespaces("user", "mount", network="/proc/7/ns/net")])
def test_with_a_user_namespace_a_stage_joins_the_others(found: list[dict[str, Any]]) -> None:
    """Between keeper and init: the groups first, then everything that has a path, and nobody else joins anything."""
    plan = planned({**USERS, "config.linux.namespaces": found})
    joined = " ".join(f"--{n['type']}={n['path']}" for n in found if "path" in n)
    assert [step.describe() for step in plan.stage] == [
        "echo $$ > /sys/fs/cgroup/onggi/c1/cgroup.procs",
        f"nsenter {joined}",
    ]
    assert positions(plan, surroundings.JoinNamespace, surroundings.JoinCgroup) == []
    assert not any(isinstance(step, surroundings.BearInPidNamespace) for step in plan.before)
    assert plan.mapping[0].describe().startswith("echo '0 1000000") == ({"type": "user"} in found)


def test_another_containers_pids_are_joined_by_birth() -> None:
    """The keeper chooses the pid namespace before the clone: the init could only send its children there."""
    found = plans.namespaces("mount", "ipc", "uts", "network", "cgroup", pid="/proc/7/ns/pid")
    plan = planned({"config.linux.namespaces": found})
    assert plan.before[-1].describe() == "nsenter --pid=/proc/7/ns/pid"
    assert "--pid" not in plan.clone.describe()
    assert positions(plan, surroundings.JoinNamespace) == []


def test_time_offsets_are_written_before_anybody_is_inside() -> None:
    """With offsets the init unshares the time namespace itself; the clone would put it inside at once."""
    kinds = plans.namespaces("mount", "pid", "ipc", "uts", "network", "cgroup", "time")
    changes = {"config.linux.namespaces": kinds, "config.linux.timeOffsets": {"boottime": {"secs": 60}}}
    assert difference(planned(changes)) == ["+ init unshare --time --boottime 60"]
    assert planned({**changes, "config.linux.timeOffsets": {}}).clone.describe().endswith("--time")


# ---- rules of order, for any configuration -----------------------------------------------------------------------------


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Changes to the plain request, any of them together."""
    kinds = draw(st.sets(st.sampled_from(["pid", "ipc", "uts", "network", "cgroup", "time"])))
    binds = draw(st.lists(st.sampled_from(["/data", "/proc/uptime", "/sys/firmware", "/etc/hosts"]), unique=True))
    return {
        "config.linux.namespaces": plans.namespaces("mount", *sorted(kinds)),
        "config.process.terminal": draw(st.booleans()),
        "config.process.noNewPrivileges": draw(st.booleans()),
        "config.root.readonly": draw(st.booleans()),
        "config.mounts": plans.base_mounts() + [plans.mount(b, "bind", ["rbind"], "/srv") for b in binds],
        "user": draw(st.sampled_from(["", "1000:1000", None])),
        "seccomp": draw(st.sampled_from(["", "/f.bpf"])),
        "overlay": draw(st.sampled_from([None, plans.request_document()["overlay"]])),
        "private_cgroup": draw(st.booleans()),
    }


def positions(plan: Plan, *kinds: type) -> list[int]:
    """Where in the init's steps those of these classes are."""
    steps: list[Step] = [*plan.inside, *plan.after, *plan.last, *plan.at_start]
    return [place for place, step in enumerate(steps) if isinstance(step, kinds)]


def before(first: list[int], second: list[int]) -> bool:
    """All of the first come before all of the second."""
    return not first or not second or max(first) < min(second)


_MOUNTS = (
    mounts.MountBind,
    mounts.MountFilesystem,
    mounts.MountOverlay,
    mounts.BindRoot,
    devices.ShowConsole,
    devices.MakeDevice,
)
_COVERS = (covers.MaskPath, covers.ReadonlyPath)
_LAYOUTS = st.sampled_from([plans.V1, plans.HYBRID, plans.V2])


@given(requests(), _LAYOUTS)
def test_covers_come_after_every_mount(changes: dict[str, Any], layout: Layout) -> None:
    """A mount that came later could show again what was masked."""
    plan = planned(changes, layout)
    assert before(positions(plan, *_MOUNTS), positions(plan, *_COVERS))
    assert before(positions(plan, *_COVERS), positions(plan, mounts.PivotRoot))


@given(requests(), _LAYOUTS)
def test_sysctls_come_before_proc_sys_is_read_only(changes: dict[str, Any], layout: Layout) -> None:
    """What is to be written is written before it is closed."""
    plan = planned(changes, layout)
    assert before(positions(plan, sysctls.SetSysctl), positions(plan, covers.ReadonlyPath))


@given(requests(), _LAYOUTS)
def test_the_group_comes_first_of_all(changes: dict[str, Any], layout: Layout) -> None:
    """Limits are written before the clone; the init joins before it does anything else."""
    plan = planned(changes, layout)
    assert isinstance(plan.before[0], surroundings.CreateCgroup)
    assert all(isinstance(step, surroundings.LimitCgroup) for step in plan.before[1:])
    assert positions(plan, surroundings.JoinCgroup) == [0]


@given(requests(), _LAYOUTS)
def test_the_cgroup_namespace_comes_after_the_join(changes: dict[str, Any], layout: Layout) -> None:
    """It takes the group of that moment as its root; the clone would take the keeper's."""
    plan = planned(changes, layout)
    assert before(positions(plan, surroundings.JoinCgroup), positions(plan, surroundings.UnshareCgroup))
    assert "--cgroup" not in plan.clone.describe()


@given(requests(), _LAYOUTS)
def test_propagation_is_cut_before_the_first_mount(changes: dict[str, Any], layout: Layout) -> None:
    """A mount made before would show on the host."""
    plan = planned(changes, layout)
    assert before(positions(plan, mounts.Propagation), positions(plan, *_MOUNTS))


@given(requests(), _LAYOUTS)
def test_rights_go_down_in_the_only_order_that_works(changes: dict[str, Any], layout: Layout) -> None:
    """User, capabilities, no_new_privs; the filter right after when no_new_privs allows it, else before them."""
    plan = planned(changes, layout)
    user, sets = positions(plan, rights.SetUser), positions(plan, rights.SetCapabilities)
    flag, load = positions(plan, rights.NoNewPrivileges), positions(plan, filters.LoadFilter)
    assert before(positions(plan, mounts.PivotRoot), user)
    assert before(user, sets)
    assert before(sets, flag)
    assert before(flag, load) if flag else before(load, user)
    assert len(load) == bool(changes["seccomp"])


@given(requests(), _LAYOUTS)
def test_the_hosts_files_are_read_before_the_pivot(changes: dict[str, Any], layout: Layout) -> None:
    """After the pivot the host's files have no name."""
    plan = planned(changes, layout)
    assert before(positions(plan, filters.ReadFilter), positions(plan, mounts.PivotRoot))
    assert before(positions(plan, surroundings.JoinNamespace), positions(plan, mounts.PivotRoot))


@given(requests(), _LAYOUTS)
def test_every_plan_ends_in_the_exec_and_says_why(changes: dict[str, Any], layout: Layout) -> None:
    """One exec, the last; each step has a reason and a description."""
    plan = planned(changes, layout)
    steps = [step for _, step in plan.in_order()]
    assert [step for step in steps if isinstance(step, rights.Execute)] == [plan.at_start[-1]]
    assert any(isinstance(step, rights.DieWithKeeper) for step in plan.after)
    assert all(step.why and step.describe() for step in steps)
