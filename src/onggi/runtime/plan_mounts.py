"""The plan's part below the container's root: mounts, devices, covers, and the way in. Pure.

    mounts     what the specification lists, in its order; a tmpfs and /dev become read-only when all is in them
    devices    the promised nodes and links, unless /dev is somebody else's
    covers     read-only paths, masks, a read-only root: after every mount, or one could uncover them
    way in     pivot_root(2), or what was asked for in its place

You come from `plan`; the steps are in `mounts`, `devices`, `covers`, and in modules of their own for what few plans have.
"""

from __future__ import annotations

from onggi.errors import Invalid, Unsupported
from onggi.kernel.cgroup.layout import Layout
from onggi.kernel.flags import MountAttr, Ms
from onggi.oci.runtime import Device, Mount, Spec
from onggi.runtime import covers, devices, mounts
from onggi.runtime.options import NO_WORD, MountOptions, parse_id_maps, parse_options
from onggi.runtime.places import PROC_FILES, clean
from onggi.runtime.request import Request
from onggi.runtime.steps import Step
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = "onggi-shared"
"""A mount's type: of another container, whose mount namespace is the mount's source."""
# The nodes that the runtime specification promises (config-linux.md, "Default Devices").
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
_DEFAULT_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
_PROPAGATION = {
    "private": Ms.PRIVATE,
    "slave": Ms.SLAVE,
    "shared": Ms.SHARED,
    "unbindable": Ms.UNBINDABLE,
}
_TREE = MountOptions(
    int(MountAttr.NOSUID | MountAttr.NODEV | MountAttr.NOEXEC),
    data=(("mode", "755"),),
    words=("nosuid", "mode=755"),
)


def has_ids(spec: Spec) -> bool:
    """It has a user namespace other than the caller's, be it new or joined."""
    return spec.namespace("user") is not None


def has_mounts(spec: Spec) -> bool:
    """It has a mount namespace other than the caller's."""
    return spec.namespace("mount") is not None


# ---- the root --------------------------------------------------------------------------------------------------------


def root(request: Request) -> Iterator[Step]:
    """The root as a mount of its own."""
    spec, overlay = request.spec, request.overlay
    if has_mounts(spec):
        yield mounts.Propagation(_at_first(spec.propagation), "no mount made here may reach the host")
    if overlay and has_ids(spec):
        from onggi.runtime import mapped

        yield mapped.AttachRoot(request.rootfs, 0, "root: the image's layers")
        return
    if overlay:
        yield mounts.MountOverlay(
            overlay.lowers, overlay.upper, overlay.work, request.rootfs, overlay.in_memory, "root: the image's layers"
        )
        return
    private = not has_mounts(spec) or _of(spec.propagation)[0] & (Ms.SHARED | Ms.UNBINDABLE)
    if private and has_mounts(spec):
        from onggi.runtime import jail

        yield jail.PrivateParent(spec.root, "linux.rootfsPropagation: the root's own mount stays in here")
    yield mounts.BindRoot(spec.root, bool(private), "root.path: pivot_root needs a mount")


def _of(word: str) -> tuple[Ms, bool]:
    """A propagation word: the kind, and whether it is for the whole tree."""
    recursive = word[:1] == "r" and word[1:] in _PROPAGATION
    return _PROPAGATION.get(word[1:] if recursive else word, Ms.SLAVE), recursive


def _at_first(word: str) -> Ms:
    """What all mounts are until the root has changed."""
    kind, recursive = _of(word)
    if kind & Ms.SHARED:
        return Ms.SHARED | Ms.REC if recursive else Ms.SHARED
    return Ms.REC | (Ms.SLAVE if kind & Ms.SLAVE else Ms.PRIVATE)


def way_in(request: Request) -> Iterator[Step]:
    """The container's root becomes the process's."""
    spec = request.spec
    kind, recursive = _of(spec.propagation)
    if not has_mounts(spec) or not request.pivot or kind & (Ms.SHARED | Ms.UNBINDABLE):
        from onggi.runtime import jail
    if not has_mounts(spec):
        yield jail.ChangeRoot("linux.namespaces: without a mount namespace of its own there is nothing to leave")
    elif not request.pivot:
        yield jail.MoveRoot(request.rootfs if request.overlay else spec.root, "--no-pivot")
    else:
        yield mounts.PivotRoot("from here on the host's files have no name")
    if kind & (Ms.SHARED | Ms.UNBINDABLE):
        yield jail.RootPropagation(kind | Ms.REC if recursive else kind, "linux.rootfsPropagation")
    if not _is_bound(spec, "/dev"):
        yield devices.ReopenNull("a /dev/null of the host's among the streams could be given another mode from inside")


# ---- mounts ----------------------------------------------------------------------------------------------------------


def listed(request: Request, layout: Layout) -> Iterator[Step]:
    """The steps of `mounts`, in their order."""
    for entry in request.spec.mounts:
        destination = _destination(entry.destination, request.spec.root)
        yield from _mount(replace(entry, destination=destination), parse_options(entry.options), request, layout)


def _destination(given: str, root: str) -> str:
    """Below the container's root; runc's callers may also give it with the root's own path."""
    if root != "/" and given.startswith(root.rstrip("/") + "/"):
        given = given[len(root.rstrip("/")) :]
    path = clean(given)
    if path == "/":
        raise Invalid("mount", given, "the destination is on the top of the root")
    if path.startswith("/proc/") and path not in PROC_FILES:
        raise Invalid("mount", given, "the destination is inside the container's /proc")
    return path


def _mount(entry: Mount, options: MountOptions, request: Request, layout: Layout) -> Iterator[Step]:
    why, place = f"mounts: {entry.destination}", entry.destination
    if entry.type == SHARED:
        from onggi.runtime import borrowed

        yield borrowed.MountOfContainer(entry.source, place, options, why)
    elif options.remount:
        from onggi.runtime import remount

        yield remount.Remount(place, options, why)
    elif entry.type == "bind" or options.bind:
        yield _bind(entry, options, request, why)
    elif place == "/proc" and entry.type != "proc":
        raise Invalid("mount", place, f"{entry.source or entry.type} is not of type proc")
    elif options.idmap or entry.uid_mappings or entry.gid_mappings:
        raise Unsupported("mount", place, "id-mapped mounts are only supported for bind-mounts")
    elif entry.type == "cgroup" or (entry.type == "cgroup2" and layout.mode != "v1"):
        yield from _cgroup_mounts(entry, options, request, layout)
    elif not entry.type:
        raise Invalid("mount", place, "it has no type and is no bind mount")
    else:
        yield _filesystem(entry, _labelled(options, entry, request.spec.mount_label), why)


def _labelled(options: MountOptions, entry: Mount, label: str) -> MountOptions:
    """With the SELinux label of a container's own file systems, but for those whose files have labels of their own."""
    if not label or entry.type in _OWN_LABELS or any(key == "context" for key, _ in options.data):
        return options
    return replace(options, data=(*options.data, ("context", label)), words=(*options.words, f"context={label}"))


_OWN_LABELS = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")


def _filesystem(entry: Mount, options: MountOptions, why: str) -> Step:
    kept = _closes_later(entry, options)
    if kept:
        options = replace(options, attributes=options.attributes & ~MountAttr.RDONLY)
    elif options.attributes & MountAttr.RDONLY and entry.type not in _OURS:
        options = replace(options, superblock=("ro", *options.superblock))
    made = mounts.MountFilesystem(entry.type, entry.source, entry.destination, options, why, kept)
    if not options.copy_up:
        return made
    if entry.type != "tmpfs":
        raise Unsupported("mount", "tmpcopyup", f"it is for a tmpfs, not for {entry.type}")
    from onggi.runtime import copyup

    return copyup.MountCopy(made, why)


_OURS = ("proc", "sysfs", "mqueue", "devpts", "tmpfs")
"""Types of which every mount is writable underneath: no medium, and no caller who could not reach it otherwise."""


def _closes_later(entry: Mount, options: MountOptions) -> bool:
    """Others are still to be put into it, before it is read-only."""
    return bool(options.attributes & MountAttr.RDONLY) and (entry.type == "tmpfs" or entry.destination == "/dev")


def _bind(entry: Mount, options: MountOptions, request: Request, why: str) -> Step:
    place = entry.destination
    if options.data:
        words = ",".join(key for key, _ in options.data)
        cause = f"bind mounts cannot have any filesystem-specific options applied: {words}"
        raise Invalid("mount", place, cause)
    base = request.spec.root.rstrip("/") + "/"
    inside = entry.source.startswith(base) and not request.overlay
    source = entry.source[len(base) - 1 :] if inside else entry.source
    made = mounts.MountBind(source, place, options, why, inside, _id_map(entry, options, request.spec))
    if not options.links and place != "/proc":
        return made
    from onggi.runtime import remount

    return remount.BindProc(made, why) if place == "/proc" else remount.BindLink(made, why)


def _id_map(entry: Mount, options: MountOptions, spec: Spec) -> mounts.IdMaps | None:
    uids, gids = entry.uid_mappings, entry.gid_mappings
    if options.idmap_value:
        uids, gids = parse_id_maps(options.idmap_value, spec.uid_mappings, spec.gid_mappings)
    if not options.idmap and not uids and not gids:
        return None
    if bool(uids) != bool(gids) or not (uids or has_ids(spec)):
        raise Invalid("mount", entry.destination, "id-mapped mounts must have both uid and gid mappings specified")
    return uids, gids


def warnings(spec: Spec) -> Iterator[str]:
    """What is asked for and has no effect."""
    for entry in spec.mounts:
        for word in NO_WORD & set(entry.options):
            yield f"mount option `{word}` of {entry.destination} changes nothing: the mount API has no word for it"


def id_maps(request: Request) -> Iterator[Step]:
    """The maps that mounts have of their own, each once."""
    parsed = ((entry, parse_options(entry.options)) for entry in request.spec.mounts)
    found = dict.fromkeys(_id_map(entry, options, request.spec) for entry, options in parsed)
    for maps in found:
        if maps and maps[0]:
            from onggi.runtime import idmaps

            yield idmaps.MakeIdMap(*maps, "mounts: owners are shown through a map of the mount's own")


def _cgroup_mounts(entry: Mount, options: MountOptions, request: Request, layout: Layout) -> Iterator[Step]:
    """The container's own groups where it expects the hierarchies; the whole v2 tree without a cgroup namespace."""
    path = request.spec.cgroups_path
    private = path != "" and (request.private_cgroup or layout.mode != "v2")
    seen = layout.directories(path) if private else tuple(hierarchy.directory for hierarchy in layout.mounts)
    why = "mounts: the container sees its own groups only" if private else "mounts: cgroupns=host"
    options = replace(options, data=())
    if layout.mode == "v2" or entry.type == "cgroup2":
        yield mounts.MountBind(seen[-1], entry.destination, options, why)
        return
    yield mounts.MountFilesystem("tmpfs", "cgroup", entry.destination, _TREE, why, kept=True)
    for hierarchy, directory in zip(layout.mounts, seen, strict=True):
        name = hierarchy.directory.rpartition("/")[2]
        yield mounts.MountBind(directory, f"{entry.destination}/{name}", options, why)
        for word in name.split(",") if "," in name else ():
            yield devices.MakeLink(f"{entry.destination}/{word}", name, "mounts: controllers that share a hierarchy")
    if options.attributes & MountAttr.RDONLY:
        yield covers.ReadonlyMount(entry.destination, "mounts: no new entry beside the hierarchies")


def working_directory(path: str) -> Step:
    """The place of the process, below the root."""
    return mounts.MakeDirectory(path, "process.cwd: made when the image lacks it")


# ---- devices ---------------------------------------------------------------------------------------------------------


def all_devices(spec: Spec) -> tuple[Device, ...]:
    """The promised nodes and the configuration's, which may have one of those otherwise; none where /dev is the host's."""
    if _is_bound(spec, "/dev"):
        return ()
    found = {path: Device(path, "c", major, minor, 0o666, 0, 0) for path, major, minor in DEFAULT_DEVICES}
    for device in spec.devices:
        path = clean(device.path)
        if path != "/dev/ptmx":  # of the container's own devpts
            found[path] = replace(device, path=path)
    return tuple(found.values())


def nodes(spec: Spec) -> Iterator[Step]:
    """The steps for the nodes and links of /dev."""
    handed = has_ids(spec)
    if _is_bound(spec, "/dev"):
        return
    for number, device in enumerate(all_devices(spec)):
        why = "linux.devices" if number >= len(DEFAULT_DEVICES) else "default device of the runtime specification"
        yield devices.MakeDevice(device, number if handed else -1, why)
    why = "default link of the runtime specification"
    yield devices.MakeLink("/dev/ptmx", "pts/ptmx", why, replaces=True)
    for path, to in _DEFAULT_LINKS:
        yield devices.MakeLink(path, to, why)


def _is_bound(spec: Spec, path: str) -> bool:
    return any(
        clean(m.destination) == path and (m.type == "bind" or "bind" in m.options or "rbind" in m.options)
        for m in spec.mounts
    )


# ---- covers ----------------------------------------------------------------------------------------------------------


def covered(spec: Spec) -> Iterator[Step]:
    """What closes and hides what was mounted."""
    for entry in spec.mounts:
        options = parse_options(entry.options)
        bound = entry.type in ("bind", "cgroup", "cgroup2", SHARED) or options.bind or options.remount
        place = replace(entry, destination=_destination(entry.destination, spec.root))
        if not bound and _closes_later(place, options):
            yield covers.ReadonlyMount(place.destination, f"mounts: {place.destination}, now that all is in it")
    for path in dict.fromkeys(map(clean, spec.readonly_paths)):
        yield covers.ReadonlyPath(path, "linux.readonlyPaths: the kernel's switches belong to the host")
    for path in dict.fromkeys(map(clean, spec.masked_paths)):
        yield covers.MaskPath(path, "linux.maskedPaths: tells about the host or harms it", spec.mount_label)
    if spec.root_readonly:
        yield covers.ReadonlyRoot("root.readonly")
