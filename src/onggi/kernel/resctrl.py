"""resctrl: classes of service for cache and memory bandwidth (Intel RDT, AMD QoS), and monitoring groups below them.

    /sys/fs/resctrl/            the default class
        info/L3 MB L3_MON …     what the processor can do; last_cmd_status says why the last write or mkdir failed
        schemata tasks          lines `L3:0=ff;1=f0`; the tasks of the class
        mon_groups/NAME/        monitored by itself, within the class
        CLASS/                  another class: the same files

A task that is forked belongs where its parent does. Loaded by who has a class only. Callers: `runtime/resctrl`, `runc/rdt`.
Read next: `cgroup/tree`, which is alike. See Documentation/filesystems/resctrl.rst in the kernel's tree.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import Invalid, KernelError

PLACE = "/sys/fs/resctrl"
_HEXADECIMAL = ("L2", "L3")
"""Resources whose values are masks; the others' are decimal numbers."""


def root() -> str:
    """Where resctrl is mounted; empty where it is not, or the kernel has none."""
    places = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("resctrl "):
                places.append(before.split(" ")[4].encode().decode("unicode_escape"))
    return PLACE if PLACE in places else next(iter(places), "")


def can(top: str, resource: str) -> bool:
    """Whether the processor can share out a resource: `L3`, `MB`; or watch it: `L3_MON`."""
    return os.path.isdir(f"{top}/info/{resource}")


def make(top: str, directory: str) -> None:
    """A new class or monitoring group; one that is there is taken as it is."""
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return
    except OSError as error:
        raise _failure(top, "mkdir", directory, error) from error


def remove(directory: str) -> None:
    """Remove a class or monitoring group; its tasks go back to the default class. None is there: fine."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return


def write(top: str, directory: str, file: str, text: str) -> None:
    """One file of a class or group; the error has what the kernel says of it."""
    path = f"{directory}/{file}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _failure(top, "write", path, error, detail=repr(text)) from error


def schemata(directory: str) -> str:
    """The lines that hold for a class now."""
    with open(f"{directory}/schemata", encoding="utf-8") as file:
        return file.read()


def agree(wanted: str, present: str) -> bool:
    """Whether all that `wanted` says holds already: the same values, whatever their zeros, order and other domains."""
    found = dict(map(_parse, _lines(present)))
    return all(_within(values, found.get(resource, {})) for resource, values in map(_parse, _lines(wanted)))


def _within(values: dict[str, int | str], present: dict[str, int | str]) -> bool:
    return all(present.get(domain) == value for domain, value in values.items())


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _parse(line: str) -> tuple[str, dict[str, int | str]]:
    """`L3:0=ff;1=c0` → ("L3", {"0": 255, "1": 192}); Invalid for what is no such line."""
    resource, colon, rest = line.strip().partition(":")
    if not colon:
        raise Invalid("read schemata", line, "it is not of the form RESOURCE:DOMAIN=VALUE;…")
    base = 16 if resource.strip().startswith(_HEXADECIMAL) else 10
    pairs = (part.partition("=") for part in rest.split(";") if part.strip())
    return resource.strip(), {domain.strip(): _value(value, base) for domain, _, value in pairs}


def _value(text: str, base: int) -> int | str:
    try:
        return int(text, base)
    except ValueError:  # a word of a kernel that is younger than this
        return text.strip()


def _failure(top: str, call: str, path: str, error: OSError, detail: str = "") -> KernelError:
    try:
        with open(f"{top}/info/last_cmd_status", encoding="utf-8") as file:
            said = file.read().strip()
    except OSError:
        said = ""
    told = ", ".join(part for part in (detail, f"last_cmd_status: {said}" if said else "") if part)
    return KernelError(call, path, error.errno or errno.EIO, detail=told)
