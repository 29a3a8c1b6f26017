"""`update`: other limits for a container that runs.

What is given, by flags or as `linux.resources` in a file, is written to the container's cgroup and kept in its state; the
rest stays as it is. When the kernel refuses one of several, those before it are set back. Callers: `main`. Read next:
`resources`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from onggi import documents
from onggi.errors import Conflict, Invalid, KernelError, NotFound, OnggiError, Unavailable
from onggi.kernel.cgroup.limits import number, read
from onggi.runc import resources, state
from onggi.runc.words import Options
from onggi.unwinding import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from onggi.kernel.cgroup.layout import Layout

    Json: TypeAlias = dict[str, Any]

_NUMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
_WORDS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
_SIZES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
}
_SIGNED = ("cpu-quota", "cpu-rt-runtime", "cpu-idle", "pids-limit")
_UNITS = {unit: 1024**power for power, unit in enumerate("bkmgtp")}
_LARGEST = 1 << 20


def update(options: Options, given: Options, container_id: str) -> int:
    """`onggi-oci update [flags] ID`, or with `--resources FILE`, `-` for standard input; then the flags do not count."""
    root = state.root(options)
    kept = state.read(root, container_id)
    layout = state.layout_of(kept)
    if state.status(kept, layout) == "stopped":
        raise Conflict("update container", container_id, "container not running")
    _refuse_resctrl(given)
    new = _from_file(given.get("resources")) if given.get("resources") else _from_flags(given)
    with ExitStack() as undo:
        directory = os.open(kept["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        undo.callback(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX)  # of two updates at once the later one builds on the earlier one
        kept = state.read(root, container_id)
        linux = kept["config"].setdefault("linux", {})
        old = resources.read(linux.get("resources") or {})
        for warning in _apply(layout, kept["cgroup"], old, new):
            from onggi.runc.logging import warn

            warn(warning, options)
        linux["resources"] = resources.merged(old, new)
        state.write(kept)
    return 0


def _apply(layout: Layout, path: str, old: Json, new: Json) -> list[str]:
    """Write what is new; the warnings. What the kernel refuses takes nothing with it."""
    wanted = resources.to_write(old, new)
    rules = wanted.pop("devices", None)
    if not layout.exists(path) and (wanted or rules):
        raise Unavailable("update container", path, "it has no cgroup that could have limits")
    limits = layout.limits(path, wanted)
    limits.insist()
    changes = [layout.device_change(path, resources.with_default_devices(rules))] if rules is not None else []
    _check_memory(layout, path, wanted.get("memory") or {})
    try:
        missing = layout.apply(*limits.writes, *changes)
    except KernelError as error:
        _set_back(layout, path, {section: old[section] for section in wanted if section in old})
        raise _worded(layout, path, error) from error
    return [item.text() for item in (*limits.missing, *missing)]


def _set_back(layout: Layout, path: str, old: Json) -> None:
    """The limits that were there, as far as the configuration tells them; the failure that brought us here is told anyway."""
    try:
        layout.apply(*layout.writes(path, old))
    except OnggiError as error:
        sys.stderr.write(f"onggi-oci: set back limits: {error}\n")


def _worded(layout: Layout, path: str, error: KernelError) -> OnggiError:
    """A memory limit below what is used, as runc tells it."""
    memory = layout.place("memory", path)
    if error.errno != errno.EBUSY or memory is None or memory.version != 1:
        return error
    usage, peak = (read(memory.directory, f"memory.{name}_in_bytes") for name in ("usage", "max_usage"))
    cause = f"unable to set memory limit to {error.facts.get('detail')} (current usage: {usage}, peak usage: {peak})"
    return OnggiError("update container", path, cause)


def _check_memory(layout: Layout, path: str, given: Json) -> None:
    """v2 kills for a limit below what is used; with `checkBeforeUpdate` such a limit is refused."""
    memory = layout.place("memory", path)
    if not given.get("checkBeforeUpdate") or memory is None or memory.version != 2:
        return
    usage = number(read(memory.directory, "memory.current"))
    for name, words in (("swap", "memory+swap"), ("limit", "memory")):
        limit = given.get(name) or 0
        if usage is not None and 0 < limit <= usage:
            raise Invalid("update container", path, f"rejecting {words} limit {limit} <= usage {usage}")


def _refuse_resctrl(given: Options) -> None:
    for flag, words in (
        ("l3-cache-schema", "Intel RDT/CAT: l3 cache"),
        ("mem-bw-schema", "Intel RDT/MBA: memory bandwidth"),
    ):
        if given.get(flag):
            raise Unavailable("update", f"--{flag}", f"{words} schema is not enabled")


def _from_file(path: str) -> Json:
    try:
        descriptor = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound("open", path, (error.strerror or "").lower()) from error
    text = b""
    while len(text) < _LARGEST and (more := os.read(descriptor, _LARGEST)):
        text += more
    if path != "-":
        os.close(descriptor)
    try:
        return resources.read(documents.loads(text), "resources")
    except ValueError as error:
        raise Invalid("read resources", path, str(error)) from error


def _from_flags(given: Options) -> Json:
    found: Json = {}
    for flag, (section, name) in (_NUMBERS | _WORDS | _SIZES).items():
        if given.get(flag):
            value = given.get(flag)
            found.setdefault(section, {})[name] = (
                value if flag in _WORDS else _size(flag, value) if flag in _SIZES else _number(flag, value)
            )
    return found


def _number(flag: str, word: str) -> int:
    try:
        found = int(word)
    except ValueError:
        raise Invalid("update", f"--{flag}", f"invalid value for {flag}: {word!r} is no whole number") from None
    if found < 0 and flag not in _SIGNED:
        raise Invalid("update", f"--{flag}", f"invalid value for {flag}: {word} is below zero")
    return found


def _size(flag: str, word: str) -> int:
    """`64m`, `1.5GiB`, or a number of bytes; -1 for no limit."""
    if word == "-1":
        return -1
    digits = word.rstrip("bBiIkKmMgGtTpP").rstrip(" ")
    unit = word[len(digits) :].strip().lower()
    known = not unit or (unit[0] in _UNITS and unit[1:] in ("", "b", "ib") and (unit[0] != "b" or len(unit) == 1))
    try:
        found = float(digits)
    except ValueError:
        found = -1
    if not known or not 0 <= found * _UNITS.get(unit[:1] or "b", 1) < 1 << 63:
        raise Invalid("update", f"--{flag}", f"invalid value for {flag}: {word!r} is no size", hint="for example 64m")
    return int(found * _UNITS[unit[:1] or "b"])
