"""Where a container of `onggi-oci` has its cgroup.

    cgroupsPath      absolute: below the top of each hierarchy; relative: below our own group in each; none: our own group
                     and the container's id, as runc has it. On v2 it is the group around our own, since one with processes
                     in it can have no limited children.

Callers: `create`. Read next: `kernel/cgroup/layout`, and the runtime specification's config-linux.md, "Cgroups Path".
"""

from __future__ import annotations

import posixpath

from onggi.errors import Invalid, Unsupported
from onggi.kernel.cgroup.detect import detect, here
from onggi.kernel.cgroup.layout import NONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.kernel.cgroup.layout import Layout
    from onggi.runc.words import Options

    Json = dict[str, Any]


def of_config(config: Json, container_id: str, options: Options) -> tuple[Layout, str]:
    """The path of the new container's group, and the layout in which that is its path; no path for no group at all."""
    if options.get("cgroup-manager") == "disabled":
        _refuse_limits((config.get("linux") or {}).get("resources") or {})
        return NONE, ""
    path, below_own = path_of(config, container_id)
    return detect().below_own(here()) if below_own else detect(), path


def path_of(config: Json, container_id: str) -> tuple[str, bool]:
    """The group's path, and whether it starts at our own group. Pure."""
    wanted = (config.get("linux") or {}).get("cgroupsPath") or ""
    if ":" in wanted:
        raise Unsupported(
            "run bundle with", "linux.cgroupsPath", f"{wanted!r} is systemd's form, which is not supported yet"
        )
    path = "/" + posixpath.normpath("/" + (wanted or container_id)).strip("/")
    if path == "/":
        raise Invalid("run bundle with", "linux.cgroupsPath", f"{wanted!r} is no group of the container's own")
    return path, not wanted.startswith("/")


def _refuse_limits(resources: Json) -> None:
    for section, given in resources.items():
        if given and section != "devices":
            raise Unsupported(
                "run bundle with", f"linux.resources.{section}", "--cgroup-manager=disabled allows no limits"
            )
