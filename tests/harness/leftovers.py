"""Count what belongs to one engine on this machine: mounts, cgroups, links, nft tables, processes, directories.

Nothing is asked of the engine: the kernel and the disk tell. Callers: `engine`, the tests of `rm`.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.namespace import NetworkNamespace


class Leftovers(NamedTuple):
    """Everything that exists, by name, so that a difference tells what was left."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    tables: frozenset[str]
    processes: frozenset[str]
    directories: frozenset[str]

    def since(self, before: Leftovers) -> dict[str, list[str]]:
        """What is here now and was not then; empty when all is clean."""
        new = {name: sorted(getattr(self, name) - getattr(before, name)) for name in self._fields}
        return {name: things for name, things in new.items() if things}


def count(root: str, instance: str, network: NetworkNamespace) -> Leftovers:
    """What the engine with its directories below `root` and this instance name has on the machine now."""
    return Leftovers(
        mounts=frozenset(_mounts(root)),
        cgroups=frozenset(_cgroups(instance)),
        links=frozenset(link["ifname"] for link in json.loads(network.run("ip", "-json", "link") or "[]")),
        tables=frozenset(network.run("nft", "list", "tables").split("\n")) - {""},
        processes=frozenset(_processes(root, instance)),
        directories=frozenset(_directories(root)),
    )


def _mounts(root: str) -> Iterator[str]:
    """Mount points below `root`, and overlays whose directories are, in every mount namespace that a process holds."""
    seen = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            namespace = os.readlink(process / "ns/mnt")
            if namespace in seen:
                continue
            text = (process / "mountinfo").read_text(errors="replace")
            seen.add(namespace)
            yield from (f"{namespace} {line.split()[4]}" for line in text.splitlines() if root in line)


def _cgroups(instance: str) -> Iterator[str]:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield from (str(path) for path in (Path(place) / instance).glob("**/"))


def remove_group(instance: str) -> None:
    """Remove the instance's own group, which outlives its containers; a group that is not empty stays, to be found."""
    for group in list(_cgroups(instance)):
        with contextlib.suppress(OSError):
            os.rmdir(group)


def _processes(root: str, instance: str) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            member = f"/{instance}/" in (process / "cgroup").read_text()
            if member or root in words:
                yield f"{process.name} {words.strip()}"


def _directories(root: str) -> Iterator[str]:
    for place in ("data/containers", "run/containers", "run"):
        with contextlib.suppress(FileNotFoundError):
            yield from (f"{place}/{name}" for name in os.listdir(Path(root, place)))
