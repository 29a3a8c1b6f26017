"""The plan for one more process in a container that runs: from an entry to the ordered steps. Pure, as `plan` is.

    joiner   join       hidden from tracers; the groups; what is read from the host; limits; namespaces, all at once;
                        user, terminal; who to become, as far as that can be done ahead; birth
    process  own        session, seccomp, the rest of its rights, exec

The joiner is in none of the container's pid namespaces (setns(2) chooses only where children are born), so that the
container cannot see, stop, kill or trace it while it still has our rights, and its own descriptors have no name in the
container's /proc. With `no_new_privs`, or without a filter, even the capabilities are gone before the process is born.
Else the filter needs CAP_SYS_ADMIN, and a filter might refuse the birth; or a scheduler's policy, which needs CAP_SYS_NICE,
would be lost by it: then the process itself drops them, after it.

Why this order: groups first, so that limits hold; hard rlimits before a user namespace, in which none can be raised; the
host's files before the mount namespace, after which the host's names lead to the container's files. You come from
`runc/exec`; the steps are in `joins` and `rights`; the next door is `enter`.
"""

from __future__ import annotations

from onggi.kernel.cgroup.limits import Write
from onggi.kernel.flags import Clone
from onggi.oci.runtime import Process
from onggi.runtime import becoming, joins, rights
from onggi.runtime.steps import Step
from onggi.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.oci.runtime import Json
    from onggi.runtime.request import Listener

_FLAGS = {
    "user": Clone.NEWUSER,
    "mount": Clone.NEWNS,
    "pid": Clone.NEWPID,
    "network": Clone.NEWNET,
    "ipc": Clone.NEWIPC,
    "uts": Clone.NEWUTS,
    "time": Clone.NEWTIME,
    "cgroup": Clone.NEWCGROUP,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One process to start in a container that runs."""

    id: str
    """The container's."""
    container: int
    """The pid of its first process."""
    process: Process
    namespaces: tuple[str, ...]
    """The kinds that the container does not have in common with us, new or shared, in the specification's words."""
    groups: tuple[Write, ...] = ()
    """The writes that join the groups."""
    unified: str = ""
    """The top of the v2 tree."""
    groups_named: bool = False
    """The groups were asked for: no others will do."""
    may_set_groups: bool = True
    keeps_groups: bool = False
    """The supplementary groups are the caller's own (crun's annotation)."""
    terminal_relayed: bool = False
    """Its terminal is copied to another one."""
    user: str | None = None
    """A name to look up inside (`docker exec --user`); None when the process's numbers count."""
    extra_groups: tuple[str, ...] = ()
    seccomp: str = ""
    """The file of the compiled filter; empty for none."""
    seccomp_flags: int = 0
    listener: Listener | None = None
    """With a filter that has calls to be answered by somebody else."""
    state: Json = field(default_factory=dict)
    """The container's, which that somebody is told (runtime.md, "State")."""
    new_keyring: bool = True
    kept_fds: int = 0
    """Descriptors from 3 on that are the program's."""
    personality: Json | None = None
    memory_policy: Json | None = None
    cpus: str = ""
    """The processors that the container is bound to, if it is."""
    best_effort: bool = True
    """As in `Request`: a limit that we have not the right to set is a warning."""

    def affinity(self, moment: str) -> tuple[int, ...]:
        """`process.execCPUAffinity`'s processors, `initial` or `final`; empty when it says nothing."""
        text = (self.process.exec_cpu_affinity or {}).get(moment)
        if not text:
            return ()
        from onggi.runtime import affinity

        return affinity.processors(text)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, by who does them."""

    join: tuple[Step, ...]
    own: tuple[Step, ...]

    def in_order(self) -> Iterator[tuple[str, Step]]:
        """Every step with the process that does it."""
        for who, steps in (("joiner", self.join), ("process", self.own)):
            for step in steps:
                yield who, step


def build(entry: Entry) -> Plan:
    """The plan of this entry."""
    needs_rights = not (entry.process.scheduler is entry.process.io_priority is None)
    ahead = (entry.process.no_new_privileges or not entry.seccomp) and not needs_rights
    return Plan(tuple(_join(entry, ahead=ahead)), tuple(_own(entry, ahead=ahead)))


def _join(entry: Entry, *, ahead: bool) -> Iterator[Step]:
    process = entry.process
    yield joins.Hide("our memory and descriptors are not the container's")
    yield from _groups(entry)
    yield from becoming.read_filter(entry.seccomp)
    if process.oom_score_adj is not None:
        yield rights.SetOomScore(process.oom_score_adj, entry.best_effort, "process.oomScoreAdj")
    if process.rlimits:
        from onggi.runtime import limits

        why = "process.rlimits: a user namespace could raise none"
        yield limits.RaiseRlimits(limits.checked(process.rlimits), entry.best_effort, why)
    yield from becoming.labels(process, key=entry.new_keyring)
    flags = Clone(0)
    for kind in entry.namespaces:
        flags |= _FLAGS[kind]
    yield joins.EnterNamespaces(flags, "linux.namespaces: from here on names lead to the container's files")
    if "user" in entry.namespaces:
        yield rights.BecomeRoot(
            entry.keeps_groups, "linux.namespaces: everything below needs root of the user namespace"
        )
    yield joins.FindRoot("what lies below is the container's, and looked up as such")
    yield _user(entry)
    yield from becoming.open_terminal(process, relayed=entry.terminal_relayed)
    if entry.new_keyring:
        yield rights.NewKeyring(f"_ses.{entry.id}", "a keyring of its own")
    if ahead:
        yield from becoming.user(process, may_set_groups=entry.may_set_groups and not entry.keeps_groups)
        yield becoming.program(process)
    yield joins.Bear("linux.namespaces: one is born into a pid namespace")


def _groups(entry: Entry) -> Iterator[Step]:
    initial, final = entry.affinity("initial"), entry.affinity("final")
    if initial:
        yield _bind(initial, "process.execCPUAffinity.initial: until it is in the group")
    if entry.groups:
        container = 0 if entry.groups_named else entry.container
        why = "linux.cgroupsPath: limits hold from the first instruction on"
        yield joins.JoinGroups(entry.groups, entry.unified, container, why)
    if final:
        yield _bind(final, "process.execCPUAffinity.final")
    elif not initial:
        yield rights.ResetAffinity("its processors are the group's, not the caller's")


def _bind(processors: tuple[int, ...], why: str) -> Step:
    from onggi.runtime import affinity

    return affinity.SetAffinity(processors, why)


def _user(entry: Entry) -> Step:
    if entry.user is not None:
        why = "the user's name, read without NSS (CVE-2019-14271)"
        return rights.FindUser(entry.user, entry.extra_groups, why)
    process = entry.process
    return rights.TakeUser(process.uid, process.gid, process.additional_gids, "process.user")


def _own(entry: Entry, *, ahead: bool) -> Iterator[Step]:
    process = entry.process
    yield rights.NewSession("", "its own session")
    yield from becoming.take_terminal(process)
    yield from becoming.limits(process, best_effort=entry.best_effort)
    yield from becoming.attributes(process, entry.personality, entry.memory_policy, entry.cpus)
    yield rights.CloseRest(entry.kept_fds, "what is open by mistake is not the program's")
    if not process.no_new_privileges:  # without no_new_privs it takes CAP_SYS_ADMIN
        yield from becoming.load_filter(entry.seccomp, entry.seccomp_flags)
    if not ahead:
        yield from becoming.user(process, may_set_groups=entry.may_set_groups and not entry.keeps_groups)
        yield becoming.program(process)
    if process.no_new_privileges:
        yield from becoming.load_filter(entry.seccomp, entry.seccomp_flags)
    yield rights.Execute(process.args, "process.args")
