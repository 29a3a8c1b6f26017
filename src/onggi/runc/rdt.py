"""`linux.intelRdt` of a bundle: which class of service it means, and what of it is the container's to remove.

Loaded with a bundle that has one only. Callers: `bundle`, `exec`, `kill`. Read next: `runtime/resctrl`, and the runtime
specification's config-linux.md ("IntelRdt").
"""

from __future__ import annotations

import os

from onggi.errors import Invalid, NotFound, Unavailable
from onggi.kernel import resctrl
from onggi.runtime.request import ServiceClass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    Json: TypeAlias = Mapping[str, Any]

_DEFAULT = "/"
"""The class of all who are in no other: the root of the file system."""
_SCHEMAS = (("l3CacheSchema", "L3", "CAT"), ("memBwSchema", "MB", "MBA"))


def of_config(given: Json, container_id: str, top: str) -> ServiceClass:
    """The class that a container is to be in; Invalid, NotFound or Unavailable name the member that does not fit.

    `top` is where resctrl is mounted.
    """
    name, schemata = given.get("closID") or "", _schemata(given)
    if name in (".", "..") or (len(name) > 1 and "/" in name):
        raise Invalid("read", "linux.intelRdt", f'invalid intelRdt.ClosID "{name}"')
    if not top:
        cause = "intelRdt is specified in config, but Intel RDT is not enabled"
        raise Unavailable(
            "use", "linux.intelRdt", cause, hint="is resctrl mounted? mount -t resctrl resctrl /sys/fs/resctrl"
        )
    for member, resource, words in _SCHEMAS:
        if given.get(member) and not resctrl.can(top, resource):
            cause = f"intelRdt.{member} is specified in config, but Intel RDT/{words} is not enabled"
            raise Unavailable("use", "linux.intelRdt", cause)
    directory = top if name == _DEFAULT else os.path.join(top, name or container_id)
    exists = os.path.isdir(directory)
    if name and not schemata and not exists:
        raise NotFound("use class of service", directory, "it must be there already when intelRdt has no schema for it")
    monitor = os.path.join(directory, "mon_groups", container_id) if given.get("enableMonitoring") else ""
    return ServiceClass(top, directory, not exists, schemata, monitor)


def kept(given: Json, service: ServiceClass) -> dict[str, Any]:
    """What is kept of it in the container's state: the class, for those who enter; and what goes when the container goes,
    that is a class that it alone had, else its monitoring group.
    """
    owned = [service.directory] if service.made and not given.get("closID") else [service.monitor]
    return {
        "class": {"top": service.top, "directory": service.directory, "monitor": service.monitor},
        "owned": [directory for directory in owned if directory],
    }


def update(service: dict[str, Any], l3_cache: str, memory: str) -> None:
    """Write the schemas of `update`'s flags for a container's class."""
    of_config({"l3CacheSchema": l3_cache, "memBwSchema": memory}, "", service["top"])
    text = _schemata({"l3CacheSchema": l3_cache, "memBwSchema": memory})
    resctrl.write(service["top"], service["directory"], "schemata", text)


def remove(directories: Iterable[str]) -> None:
    """Remove what was the container's."""
    for directory in directories:
        resctrl.remove(directory)


def _schemata(given: Json) -> str:
    """All lines in the order in which they are written."""
    lines = [given.get("l3CacheSchema") or "", given.get("memBwSchema") or "", *(given.get("schemata") or ())]
    lines = [line for line in lines if line]
    for line in lines:
        if "\n" in line:
            raise Invalid("read", "linux.intelRdt", f"a schema is one line, and {line!r} is not")
    if (given.get("memBwSchema") or "MB:")[:3] != "MB:":
        raise Invalid("read", "linux.intelRdt", f"memBwSchema begins with MB:, and {given['memBwSchema']!r} does not")
    return "".join(f"{line}\n" for line in lines)
