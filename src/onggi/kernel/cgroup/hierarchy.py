"""One cgroup hierarchy of a host, and which directory a group has in it.

Pure. Callers: `layout`, `resources`. Read next: `layout`.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class Mount:
    """One hierarchy: where it is mounted, which controllers it has, v1 or v2; `name` for one without controllers."""

    directory: str
    controllers: tuple[str, ...]
    version: int
    name: str = ""
    root: str = "/"
    """The group that is seen at `directory`: another than the top in a container without a cgroup namespace."""
    below: str = ""
    """The group, as a path below `directory`, that paths of this layout start from; empty for the top."""

    @property
    def key(self) -> str:
        """The hierarchy's name in `/proc/PID/cgroup` and in runc's `cgroup_paths`: one of its controllers, or `name=…`."""
        if self.version == 2:
            return ""
        return self.controllers[0] if self.controllers else f"name={self.name}"

    def at(self, path: str) -> str:
        """The group's directory in this hierarchy."""
        return self.directory + self.below + checked(path)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one controller of a group has its files, and of which version they are."""

    directory: str
    version: int


def checked(path: str) -> str:
    """The path, if it names a group; empty for `/`, so that it can follow a directory."""
    if path == "/":
        return ""
    parts = path.split("/")
    if not path.startswith("/") or any(part in ("", ".", "..") for part in parts[1:]) or "\0" in path:
        raise Invalid("read cgroup path", path, "must be absolute, without empty, `.` or `..` parts")
    return path
