"""`exec`: one more process in a container that runs.

The process is that of the container's configuration with what the flags change, or all of it comes from a file
(`--process`). You come from `main`; the next doors are `runtime/entry` and `runtime/enter`.
"""

from __future__ import annotations

import os
import posixpath

from onggi import documents
from onggi.errors import Conflict, Invalid, NotFound, OnggiError
from onggi.kernel import capability, process, signals
from onggi.kernel.cgroup.limits import Write
from onggi.oci.runtime import Process, parse_process
from onggi.runc import outlets, state
from onggi.runtime import enter
from onggi.runtime.becoming import keeps_groups
from onggi.runtime.entry import Entry
from onggi.runtime.init import rows
from onggi.trace import Trace
from onggi.unwinding import ExitStack
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.words import Options
    from onggi.runtime.request import Listener

    Json: TypeAlias = dict[str, Any]

_FROM_CONTAINER = (
    "capabilities", "apparmorProfile", "selinuxLabel", "rlimits", "ioPriority", "scheduler", "execCPUAffinity",
)  # fmt: skip
"""What a process that does not say has from the container's own."""
_SETS = ("bounding", "effective", "permitted")
_NOT_RUNNING = {
    "stopped": "cannot exec in a stopped container",
    "paused": "cannot exec in a paused container (use --ignore-paused to override)",
}


def exec(options: Options, given: Options, container_id: str, *words: str) -> int:
    """`onggi-oci exec ID COMMAND…`; in the foreground the exit status is the program's."""
    root, detach = state.root(options), given.has("detach")
    kept = state.read(root, container_id)
    layout = state.layout_of(kept)
    now = state.status(kept, layout)
    if now == "stopped" or (now == "paused" and not given.has("ignore-paused")):
        raise Conflict("exec in container", container_id, _NOT_RUNNING[now])
    with ExitStack() as undo:
        container = state.open_process(kept)
        if container < 0:
            raise Conflict("exec in container", container_id, _NOT_RUNNING["stopped"])
        undo.callback(os.close, container)
        entry = _entry(kept, _process(kept["config"], given, words), layout, root, given)
        terminal = entry.process.terminal
        outlets.check_terminal(given, terminal=terminal, detach=detach)
        if not detach:
            from onggi.runc.foreground import passed_on, with_size

            undo.callback(signals.mask, signals.SET, signals.mask(signals.BLOCK, passed_on()))
            entry = replace(entry, process=with_size(entry.process), terminal_relayed=True)
        sockets = outlets.connect(given, undo)
        started = _start(entry, layout, container, options)
        with ExitStack() as unstart:
            unstart.callback(process.kill, started.pid, started.pidfd, for_parent=False)
            for warning in started.warnings:
                from onggi.runc.logging import warn

                warn(warning, options)
            outlets.hand_out(given, sockets, started, b"setns")
            unstart.pop_all()
        if detach:
            return 0
        from onggi.runc.foreground import attend

        return attend(started)


def _start(entry: Entry, layout: Layout, container: int, options: Options) -> enter.Entered:
    trace = Trace()
    stdio = None if entry.process.terminal else (0, 1, 2)
    try:
        started = enter.start(entry, layout, container, stdio, trace)
    except OnggiError:
        _tell_debug(entry, rows(trace.events), options)
        raise
    _tell_debug(entry, started.rows(), options)
    return started


def _tell_debug(entry: Entry, done: list[list[Any]], options: Options) -> None:
    """With `--debug`: what was done, step by step, and on which processors until the group was joined."""
    if not options.has("debug"):
        return
    from onggi.runc.logging import debug, tell

    processors = entry.affinity("initial") or os.sched_getaffinity(0)
    debug(f"nsexec: affinity: {sum(1 << number for number in processors):#x}", options)
    tell(done, options)


def _process(config: Json, given: Options, words: tuple[str, ...]) -> Json:
    """The process as a document, complete and checked."""
    own = config.get("process") or {}
    process = _from_file(given.get("process")) if given.get("process") else _from_flags(own, given, words)
    cwd = process.get("cwd") or ""
    if not cwd.startswith("/"):
        raise Invalid("exec", "cwd", "Cwd must be an absolute path" if cwd else "Cwd property must not be empty")
    if not process.get("args"):
        raise Invalid("exec", "args", "exec args cannot be empty")
    for name in _FROM_CONTAINER:
        process[name] = process.get(name) or own.get(name)
    process["oomScoreAdj"] = own.get("oomScoreAdj")
    user = process["user"] = dict(process.get("user") or {})
    if user.get("umask") is None:
        user["umask"] = (own.get("user") or {}).get("umask")
    return process


def _from_file(path: str) -> Json:
    try:
        with open(path, "rb") as file:
            document = documents.loads(file.read())
    except FileNotFoundError as error:
        raise NotFound("open", path, "no such file or directory") from error
    except ValueError as error:
        raise Invalid("read", path, str(error)) from error
    if not isinstance(document, dict):
        raise Invalid("read", path, "it is not a JSON object")
    return document


def _from_flags(own: Json, given: Options, words: tuple[str, ...]) -> Json:
    process = {
        **own,
        "args": list(words),
        "cwd": given.get("cwd") or own.get("cwd"),
        "env": [*(own.get("env") or ()), *given.every("env")],
        "terminal": given.has("tty"),
        "user": _user(own.get("user") or {}, given),
    }
    for flag, name in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        process[name] = given.get(flag) or process.get(name)
    if given.every("no-new-privs"):
        process["noNewPrivileges"] = given.has("no-new-privs")
    if given.every("cap"):
        process["capabilities"] = _with_capabilities(own.get("capabilities") or {}, given.every("cap"))
    return process


def _user(own: Json, given: Options) -> Json:
    """`--user UID[:GID]` and `--additional-gids`."""
    user = dict(own)
    if given.get("user"):
        uid, colon, gid = given.get("user").partition(":")
        user["uid"] = _id("uid", uid)
        if colon:
            user["gid"] = _id("gid", gid)
    more = [_id("additional-gids", word) for word in given.every("additional-gids")]
    return {**user, "additionalGids": [*(user.get("additionalGids") or ()), *more]}


def _id(what: str, word: str) -> int:
    if not (word.isascii() and word.isdigit() and int(word) < 2**32 - 1):
        raise Invalid("exec", f"bad {what}", f"{word!r} is no number of a user or group")
    return int(word)


def _with_capabilities(own: Json, more: list[str]) -> Json:
    """`--cap`: in ambient, too, where it can be, that is where the container has inheritable ones."""
    names = [capability.parse(name) for name in more]
    kinds = (*_SETS, "ambient") if own.get("inheritable") is not None else _SETS
    return {**own, **{kind: [*(own.get(kind) or ()), *names] for kind in kinds}}


def _entry(kept: Json, process: Json, layout: Layout, root: str, given: Options) -> Entry:
    linux = kept["config"].get("linux") or {}
    kinds = {namespace["type"] for namespace in linux.get("namespaces") or ()}
    own_user = "user" in kinds
    if own_user and _is_ours("user", kept["pid"]):
        kinds.remove("user")
    file, flags, listener = _filter(kept, root)
    return Entry(
        id=kept["id"],
        container=kept["pid"],
        process=_labelled(parse_process(process)),
        namespaces=tuple(kinds),
        groups=_groups(layout, kept["cgroup"], given.every("cgroup")),
        unified=next((mount.directory for mount in layout.mounts if mount.version == 2), ""),
        groups_named=given.has("cgroup"),
        may_set_groups=not own_user or bool(linux.get("gidMappings")),
        keeps_groups=keeps_groups(kept["config"].get("annotations") or {}),
        seccomp=file,
        seccomp_flags=flags,
        new_keyring=kept.get("new_keyring", True),
        kept_fds=given.number("preserve-fds"),
        personality=linux.get("personality"),
        memory_policy=linux.get("memoryPolicy"),
        cpus=((linux.get("resources") or {}).get("cpu") or {}).get("cpus") or "",
        best_effort=False,
        listener=listener,
        state=state.told(kept, "running", kept["pid"]) if listener else {},
    )


def _labelled(process: Process) -> Process:
    if not (process.apparmor_profile or process.selinux_label):
        return process
    from onggi.runc import labels

    return labels.of_process(process)


def _filter(kept: Json, root: str) -> tuple[str, int, Listener | None]:
    if not (kept["config"].get("linux") or {}).get("seccomp"):
        return "", 0, None
    from onggi.runc import filter

    return filter.of_config(kept["config"], kept["bundle"], os.path.join(root, ".seccomp"))


def _is_ours(kind: str, pid: int) -> bool:
    """Whether a process has this namespace in common with us."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino == os.stat(f"/proc/self/ns/{kind}").st_ino


def _groups(layout: Layout, path: str, words: list[str]) -> tuple[Write, ...]:
    """The writes that join the container's groups, or those below them that `--cgroup` names."""
    wanted = _sub_groups(words)
    found = []
    for write, mount in zip(layout.joins(path), layout.mounts, strict=True):
        names = [name for name in (*mount.controllers, f"name={mount.name}", "") if name in wanted]
        base = write.directory
        directory = posixpath.normpath(f"{base}/{wanted[names[0]]}") if names else base
        if directory != base and not directory.startswith(base + "/"):
            raise Invalid("exec", "--cgroup", f"bad sub cgroup path: {wanted[names[0]]}")
        found.append(replace(write, directory=directory))
    known = {name for mount in layout.mounts for name in (*mount.controllers, f"name={mount.name}", "")}
    for name in wanted.keys() - known:
        raise Invalid("exec", "--cgroup", f"unknown controller {name} in --cgroup")
    return tuple(found)


def _sub_groups(words: list[str]) -> dict[str, str]:
    """`PATH`, or `CONTROLLER[,CONTROLLER…]:PATH` as often as one likes: the path by controller, empty for all."""
    found: dict[str, str] = {}
    for word in words:
        controllers, colon, path = word.partition(":")
        if not colon:
            if len(words) != 1:
                raise Invalid("exec", "--cgroup", f"invalid --cgroup argument: {word} (missing <controller>: prefix)")
            return {"": word}
        for name in controllers.split(","):
            if not name:
                raise Invalid("exec", "--cgroup", f"invalid --cgroup argument: {word} (empty <controller> prefix)")
            if name in found:
                cause = f"invalid --cgroup argument(s): controller {name} specified multiple times"
                raise Invalid("exec", "--cgroup", cause)
            found[name] = path
    return found
