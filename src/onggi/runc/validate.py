"""What a config.json cannot mean, said before anything is made. Pure, but for the two questions it is given as functions.

Here is what depends on several members at once, and what every container has; a single rare member is checked by the
step that is made of it (`runtime/attributes`, `runtime/limits`, `kernel/seccomp`), in the plan. The words are runc's where
a container manager may look for them. Callers: `bundle`, `exec`. Read next: `runtime/sysctls`, and the specification's config.md.
"""

from __future__ import annotations

from onggi.errors import Invalid, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Json: TypeAlias = dict[str, Any]

NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts")
_PROPAGATIONS = frozenset(
    ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")
)  # fmt: skip
_CLOCKS = ("monotonic", "boottime")
_BILLION = 10**9


def check(document: Json, is_host_network: Callable[[str], bool], *, rootless: bool = False) -> None:
    """Invalid names the first member that cannot be meant; a member that has to be an object and is none, too.

    `is_host_network` says whether the network namespace at a path is the caller's own; `rootless`, that the caller is
    not root in its user namespace.
    """
    try:
        _check(document, is_host_network)
        if rootless:
            _rootless(document.get("linux") or {})
    except (AttributeError, TypeError, KeyError) as error:
        raise Invalid("read", "config.json", f"a member is of the wrong type: {error}") from error


def _check(document: Json, is_host_network: Callable[[str], bool]) -> None:
    process(document.get("process"))
    linux = document.get("linux") or {}
    namespaces = _namespaces(linux.get("namespaces") or ())
    if document.get("root") is None:
        raise _invalid("root", "it must be specified")
    for name in ("hostname", "domainname"):
        if document.get(name) and "uts" not in namespaces:
            raise _invalid(name, f"unable to set {name} without a private UTS namespace")
    _user(linux, namespaces)
    if "time" in namespaces or linux.get("timeOffsets") is not None:
        _time(linux.get("timeOffsets"), namespaces)
    if (linux.get("maskedPaths") or linux.get("readonlyPaths")) and "mount" not in namespaces:
        raise _invalid("linux", "unable to restrict sys entries without a private MNT namespace")
    propagation = linux.get("rootfsPropagation")
    if propagation and propagation not in _PROPAGATIONS:
        raise _invalid("linux.rootfsPropagation", f"rootfsPropagation={propagation} is not supported")
    if linux.get("sysctl"):
        from onggi.runtime import sysctls

        sysctls.check(linux["sysctl"], namespaces, is_host_network)


def process(given: Json | None) -> None:
    """`process`, of a config.json or by itself as `exec` is given one."""
    if not given:
        raise _invalid("process", "process property must not be empty")
    if not given.get("cwd"):
        raise _invalid("process.cwd", "Cwd property must not be empty")
    if given["cwd"][0] != "/":
        raise _invalid("process.cwd", "Cwd must be an absolute path")
    if not given.get("args"):
        raise _invalid("process.args", "args must not be empty")
    affinity = given.get("execCPUAffinity")
    if affinity:
        _affinity(affinity)


def _affinity(given: Json) -> None:
    from onggi.oci.ranges import parse_ranges

    for name in ("initial", "final"):
        try:
            parse_ranges(given.get(name) or "")
        except Invalid as error:
            raise _invalid("process.execCPUAffinity", f"bad CPUAffinity.{name}: {error.cause}") from error


def _namespaces(given: Any) -> dict[str, str]:
    """Kind to path, empty for a new one."""
    found: dict[str, str] = {}
    for entry in given:
        kind = entry.get("type")
        if kind not in NAMESPACES:
            raise Unsupported("read", "linux.namespaces", f'namespace "{kind}" does not exist')
        if kind in found:
            raise _invalid("linux.namespaces", f'malformed spec file: duplicated ns "{kind}"')
        path = entry.get("path") or ""
        if path and path[0] != "/":
            raise _invalid("linux.namespaces", f"the path of the {kind} namespace is not absolute: {path}")
        found[kind] = path
    return found


def _user(linux: Json, namespaces: dict[str, str]) -> None:
    mapped = linux.get("uidMappings") or linux.get("gidMappings")
    if "user" not in namespaces:
        if mapped:
            cause = "user namespace mappings specified, but user namespace isn't enabled in the config"
            raise _invalid("linux.uidMappings", cause)
    elif not namespaces["user"] and not mapped:
        cause = "user namespaces enabled, but no namespace path to join nor mappings to apply specified"
        raise _invalid("linux.uidMappings", cause)


def _rootless(linux: Json) -> None:
    """Who is not root can make a container in a user namespace only."""
    user = next((entry for entry in linux.get("namespaces") or () if entry["type"] == "user"), None)
    if user is None:
        raise _invalid("linux.namespaces", "rootless container requires user namespaces")
    for name in ("uid", "gid"):
        if not user.get("path") and not linux.get(f"{name}Mappings"):
            raise _invalid(f"linux.{name}Mappings", f"rootless containers requires at least one {name.upper()} mapping")


def _time(offsets: Json | None, namespaces: dict[str, str]) -> None:
    if offsets is None:
        return
    if "time" not in namespaces:
        cause = "time namespace offsets specified, but time namespace isn't enabled in the config"
        raise _invalid("linux.timeOffsets", cause)
    if namespaces["time"]:
        cause = "both namespace path and time offsets specified -- you may only provide one"
        raise _invalid("linux.timeOffsets", f"time namespace enabled, but {cause}")
    for clock, offset in offsets.items():
        if clock not in _CLOCKS:
            raise _invalid("linux.timeOffsets", f"there is no offset of the clock `{clock}`, only of {_CLOCKS}")
        seconds, nanoseconds = offset.get("secs") or 0, offset.get("nanosecs") or 0
        if type(seconds) is not int or type(nanoseconds) is not int or not 0 <= nanoseconds < _BILLION:
            cause = f"secs is a whole number, nanosecs one from 0 to {_BILLION - 1}"
            raise _invalid("linux.timeOffsets", f"{clock}: {cause}")


def _invalid(member: str, cause: str) -> Invalid:
    return Invalid("read", member, cause)
