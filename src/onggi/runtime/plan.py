"""The plan: from a configuration to the ordered steps that make the container. Pure; the heart of Onggi.

`build` decides the order and nothing else decides it. The list that runs is the list that `--dry-run` and `explain`
print. Nobody's kernel is touched here: what the plan needs to know of the machine comes in as the cgroup layout.

    keeper   before     cgroup, limits, a pid namespace to join (nothing of the container exists yet)
    stage               cgroup, namespaces to join (with a user namespace, between keeper and init)
    keeper   clone      the init is born in new namespaces
                      mapping    id maps, and what the init could not open  ── "mapped"
                      beside     links                                      (while the init mounts)
                      hooks      prestart, createRuntime                    (after "mounted")
    init     inside     cgroup, join namespaces, root, mounts, devices, names, masks      (after "mapped")
             after      createContainer hooks, network, cgroup namespace, covers, pivot, rights    (after "ready")
             last       seccomp, where no_new_privs lets it wait until now
             at_start   startContainer hooks, exec      (at once; or, when it was only created, after `start`)

Why this order: limits hold before the container's first instruction; the id maps come before anything that needs root
inside; masks come after every mount, or a mount could uncover them; sysctls before /proc/sys becomes read-only; the
cgroup namespace after the join, because it takes the group of that moment as its root; capabilities after the user is
set, because to set it needs them; seccomp as late as the kernel allows. You come from `container` or `engine/containers`
(`--dry-run`); what is mounted is `plan_mounts`'s; the steps are in `mounts`, `rights`, `surroundings`; the next door is
`container`.
"""

from __future__ import annotations

from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import Clone
from onggi.oci.runtime import Spec
from onggi.runtime import becoming, devices, plan_mounts, rights, surroundings
from onggi.runtime.request import Request
from onggi.runtime.steps import Step
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.kernel.cgroup.limits import Limits

_CLONE = {
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
class Plan:
    """The steps of one start, by who does them and when."""

    before: tuple[Step, ...]
    stage: tuple[Step, ...]
    clone: surroundings.NewNamespaces
    mapping: tuple[Step, ...]
    beside: tuple[Step, ...]
    inside: tuple[Step, ...]
    after: tuple[Step, ...]
    at_start: tuple[Step, ...]
    last: tuple[Step, ...] = ()
    hooks: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()

    def in_order(self) -> Iterator[tuple[str, Step]]:
        """Every step with the process that does it, as a reader follows them."""
        for who, steps in (
            ("keeper", self.before),
            ("stage", self.stage),
            ("keeper", (self.clone, *self.mapping)),
            ("init", self.inside),
            ("keeper", (*self.beside, *self.hooks)),
            ("init", (*self.after, *self.last, *self.at_start)),
        ):
            for step in steps:
                yield who, step


def build(request: Request, layout: Layout, *, network_ahead: bool = False) -> Plan:
    """The plan of this request on a machine with this cgroup layout.

    `network_ahead`: an empty network namespace was made before the request came (the dearest of the eight), so the init
    enters that one. Not with a user namespace of its own, which would have to own it.
    """
    spec = request.spec
    network_ahead = network_ahead and _new(spec, "network") and not _new(spec, "user")
    limits = layout.limits(spec.cgroups_path or "/", spec.resources)
    return Plan(
        before=(
            *_hold(request),
            *_limits(request, layout, limits),
            *_class(request),
            *plan_mounts.id_maps(request),
            *_birthplace(spec),
        ),
        stage=tuple(_stage(request, layout)),
        clone=_namespaces(spec, network_ahead=network_ahead),
        mapping=tuple(_mapping(request)),
        beside=tuple(_beside(request)),
        inside=tuple(_inside(request, layout, network_ahead=network_ahead)),
        after=tuple(_after(request, network_ahead=network_ahead)),
        at_start=tuple(_at_start(request)),
        last=tuple(_last(request)),
        hooks=tuple(_hooks(request, "creating", "prestart", "createRuntime")),
        warnings=(*request.warnings, *(missing.text() for missing in limits.missing), *plan_mounts.warnings(spec)),
    )


def _before(request: Request, layout: Layout, limits: Limits) -> Iterator[Step]:
    yield from _hold(request)
    yield from _limits(request, layout, limits)
    yield from _class(request)
    yield from plan_mounts.id_maps(request)
    yield from _birthplace(request.spec)


def _hold(request: Request) -> Iterator[Step]:
    if request.fifo:
        yield surroundings.MakeFifo(request.fifo, "create and start are two commands")


def _hooks(request: Request, status: str, *kinds: str) -> Iterator[Step]:
    if not request.spec.hooks:
        return
    from onggi.runtime import hooks

    annotations = hooks.texts(request.spec.annotations)
    if hooks.wants_streams(request.spec.annotations) and kinds[0] in ("prestart", "createContainer"):
        yield hooks.OpenStreams(annotations, "annotations: run.oci.hooks.stdout and run.oci.hooks.stderr")
    state = hooks.State(request.spec.version, request.id, request.bundle, annotations)
    for kind in kinds:
        yield from hooks.steps(kind, request.spec.hooks.get(kind, ()), state, status)


def _limits(request: Request, layout: Layout, limits: Limits) -> Iterator[Step]:
    path = request.spec.cgroups_path
    if not path:
        return
    why = "linux.cgroupsPath: limits belong to a group"
    yield surroundings.CreateCgroup(path, layout.directories(path), request.take_empty_cgroup, why)
    if not request.best_effort:
        limits.insist()
    for write in limits.writes:
        yield surroundings.LimitCgroup(write, "linux.resources: in force before the first instruction")


def _class(request: Request) -> Iterator[Step]:
    if request.service_class:
        from onggi.runtime import resctrl

        yield resctrl.MakeClass(request.service_class, "linux.intelRdt")


def _birthplace(spec: Spec) -> Iterator[Step]:
    pid = spec.namespace("pid")
    if pid and pid.path and not _is_staged(spec):
        yield surroundings.BearInPidNamespace(pid.path, "linux.namespaces: shared on request; one is born into it")


def _namespaces(spec: Spec, *, network_ahead: bool) -> surroundings.NewNamespaces:
    flags = Clone(0)
    for namespace in spec.namespaces:
        later = namespace.type == "cgroup" or (network_ahead and namespace.type == "network")
        later = later or (namespace.type == "time" and bool(spec.time_offsets))
        if not namespace.path and not later:
            flags |= _CLONE[namespace.type]
    return surroundings.NewNamespaces(flags, "linux.namespaces: its own view of the machine")


def _new(spec: Spec, kind: str) -> bool:
    namespace = spec.namespace(kind)
    return namespace is not None and not namespace.path


def _is_staged(spec: Spec) -> bool:
    """Namespaces are joined, and a user namespace is among those of the container."""
    return plan_mounts.has_ids(spec) and any(namespace.path for namespace in spec.namespaces)


def _stage(request: Request, layout: Layout) -> Iterator[Step]:
    spec = request.spec
    if not _is_staged(spec):
        return
    from onggi.runtime import stage

    yield from _join_cgroup(request, layout)
    joined = tuple((n.type, n.path, _CLONE[n.type]) for n in spec.namespaces if n.path)
    yield stage.JoinNamespaces(joined, "linux.namespaces: shared on request, with the host's rights to enter")


def _mapping(request: Request) -> Iterator[Step]:
    """Id maps, and what an init that is nobody on the host cannot open itself."""
    spec = request.spec
    if not plan_mounts.has_ids(spec):
        return
    from onggi.runtime import sources

    if _new(spec, "user"):
        yield surroundings.MapIds("uid_map", spec.uid_mappings, "linux.uidMappings: root inside is nobody outside")
        yield surroundings.MapIds("gid_map", spec.gid_mappings, "linux.gidMappings: root inside is nobody outside")
    if spec.process.rlimits:
        from onggi.runtime import limits

        why = "process.rlimits: root inside may lower them only"
        yield limits.RaiseRlimits(limits.checked(spec.process.rlimits), request.best_effort, why)
    if request.overlay:
        yield _mapped_overlay(request)
    yield sources.OpenForInit(plan_mounts.all_devices(spec), "mounts: where root inside may not even look")


def _mapped_overlay(request: Request) -> Step:
    from onggi.runtime import mapped

    overlay, spec = request.overlay, request.spec
    assert overlay is not None
    return mapped.OpenOverlay(
        overlay.lowers, overlay.upper, overlay.work, overlay.in_memory, request.rootfs,
        mapped.host_root(spec.uid_mappings), mapped.host_root(spec.gid_mappings),
        "root: shown through the id map, so root inside owns what root's is",
    )  # fmt: skip


def _beside(request: Request) -> Iterator[Step]:
    if request.spec.net_devices:
        from onggi.runtime import netdevices

        yield from netdevices.steps(request.spec)
    if not request.links:
        return
    from onggi.runtime import links

    for link in request.links:
        yield links.MakeVeth(
            link.host_name,
            link.name,
            link.bridge,
            link.mac,
            link.mtu,
            link.hairpin,
            "network: a cable between bridge and container",
        )


def _inside(request: Request, layout: Layout, *, network_ahead: bool) -> Iterator[Step]:
    spec = request.spec
    if request.inherited:
        yield surroundings.CloseInherited(request.inherited, "no file of the runtime's caller stays open in who waits")
    if not _is_staged(spec):
        yield from _join_cgroup(request, layout)
    yield rights.ResetAffinity("its processors are the group's, not the caller's")
    if network_ahead:
        yield surroundings.EnterNetwork(
            "linux.namespaces: a network of its own, 127.0.0.1 up, made ahead of the request"
        )
    for namespace in spec.namespaces if not _is_staged(spec) else ():
        if namespace.path and namespace.type != "pid":
            flag = _CLONE[namespace.type]
            yield surroundings.JoinNamespace(
                namespace.type, namespace.path, flag, "linux.namespaces: shared on request"
            )
    if spec.time_offsets and _new(spec, "time"):
        yield surroundings.SetTimeOffsets(_time_offsets(spec), "linux.timeOffsets: before anybody is inside")
    if plan_mounts.has_ids(spec):
        yield from _as_nobody(request)
    else:
        yield from plan_mounts.root(request)
    yield from plan_mounts.listed(request, layout)
    yield from plan_mounts.nodes(spec)
    if spec.process.terminal:
        yield from becoming.open_terminal(spec.process, relayed=request.terminal_relayed)
        yield devices.ShowConsole("process.terminal: where programs look for it")
    yield from _identity(request)
    yield from _sysctls(spec, of_network=False)


def _join_cgroup(request: Request, layout: Layout) -> Iterator[Step]:
    spec = request.spec
    if request.service_class:
        from onggi.runtime import resctrl

        yield resctrl.JoinClass(request.service_class, "linux.intelRdt: with all that it will ever fork")
    if spec.cgroups_path:
        joined = tuple(write.directory for write in layout.joins(spec.cgroups_path, born_inside=False))
        why = "linux.cgroupsPath: in the group before anything else, with all that it will ever fork"
        yield surroundings.JoinCgroup(spec.cgroups_path, joined, why)


def _as_nobody(request: Request) -> Iterator[Step]:
    """The root, and the way to the ids that are root inside, of an init that was handed what it needs of the host."""
    from onggi.runtime import sources

    yield sources.TakeSources(int(bool(request.overlay)), "mounts: where root inside may not even look")
    yield from plan_mounts.root(request)
    yield from _host_files(request)
    kept = becoming.keeps_groups(request.spec.annotations)
    yield rights.BecomeRoot(kept, "linux.namespaces: everything below needs root of the new user namespace")


def _time_offsets(spec: Spec) -> tuple[tuple[str, int, int], ...]:
    return tuple((clock, o.get("secs", 0), o.get("nanosecs", 0)) for clock, o in spec.time_offsets.items())


def _host_files(request: Request) -> Iterator[Step]:
    """What is read from the host or written there: as long as the init is root outside, and before the root changes."""
    yield from becoming.read_filter(request.seccomp)
    if request.spec.process.oom_score_adj is not None:
        score = request.spec.process.oom_score_adj
        yield rights.SetOomScore(score, request.best_effort, "process.oomScoreAdj")


def _identity(request: Request) -> Iterator[Step]:
    process = request.spec.process
    if request.user is not None:
        yield rights.FindUser(request.user, request.extra_groups, "the image's USER, read without NSS (CVE-2019-14271)")
    else:
        yield rights.TakeUser(process.uid, process.gid, process.additional_gids, "process.user")
    yield plan_mounts.working_directory(process.cwd)
    if not plan_mounts.has_ids(request.spec):
        yield from _host_files(request)
    if request.spec.hostname or request.spec.domainname:
        yield surroundings.SetHostname(request.spec.hostname, request.spec.domainname, "hostname")


def _after(request: Request, *, network_ahead: bool) -> Iterator[Step]:
    spec = request.spec
    yield from _hooks(request, "creating", "createContainer")
    if _new(spec, "network") and not network_ahead:
        yield surroundings.LoopbackUp("linux.namespaces: 127.0.0.1 of its own")
    yield from _links(request)
    yield from _sysctls(spec, of_network=True)
    if _new(spec, "cgroup"):
        yield surroundings.UnshareCgroup("linux.namespaces: its own group is the root it sees")
    yield from plan_mounts.covered(spec)
    yield from plan_mounts.way_in(request)
    yield from _rights(request)


def _sysctls(spec: Spec, *, of_network: bool) -> Iterator[Step]:
    if not spec.sysctl:
        return
    from onggi.runtime import sysctls

    for key, value in spec.sysctl.items():
        if sysctls.is_of_network(key) == of_network:
            yield sysctls.SetSysctl(key, str(value), "linux.sysctl")


def _at_start(request: Request) -> Iterator[Step]:
    if request.fifo:
        yield surroundings.WaitForStart("create and start are two commands")
    yield from _hooks(request, "created", "startContainer")
    yield rights.Execute(request.spec.process.args, "process.args")


def _links(request: Request) -> Iterator[Step]:
    if not request.links:
        return
    from onggi.runtime import links, sysctls

    for link in request.links:
        for path, value in link.sysctls:
            yield sysctls.SetSysctl(path.replace("/", "."), value, "network: before the link goes up")
        yield links.ConfigureLink(link.name, link.addresses, link.gateways, "network: address and default route")


def _rights(request: Request) -> Iterator[Step]:
    process = request.spec.process
    yield from becoming.limits(process, best_effort=request.best_effort)
    keyring = f"_ses.{request.id}" if request.new_keyring else ""
    yield from becoming.labels(process, key=bool(keyring))
    yield rights.NewSession(keyring, "its own session and keyring")
    yield from becoming.take_terminal(process)
    cpus = (request.spec.resources.get("cpu") or {}).get("cpus") or ""
    yield from becoming.attributes(process, request.spec.personality, request.spec.memory_policy, cpus)
    yield rights.CloseRest(request.kept_fds, "what is open by mistake is not the program's")
    if not process.no_new_privileges:  # without no_new_privs it takes CAP_SYS_ADMIN, so before the capabilities go
        yield from becoming.load_filter(request.seccomp, request.seccomp_flags)
    may_set_groups = not _new(request.spec, "user") or bool(request.spec.gid_mappings)
    may_set_groups = may_set_groups and not becoming.keeps_groups(request.spec.annotations)
    yield from becoming.user(process, may_set_groups=may_set_groups)
    if request.dies_with_keeper:
        yield rights.DieWithKeeper("no container without its keeper")
    yield becoming.program(process)


def _last(request: Request) -> Iterator[Step]:
    """As few of our own calls as can be come after a filter, and need its leave."""
    if request.spec.process.no_new_privileges:
        yield from becoming.load_filter(request.seccomp, request.seccomp_flags)
