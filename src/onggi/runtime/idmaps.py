"""The step that makes the id maps of mounts that have some of their own. Loaded with such a plan only.

You come from `plan_mounts`; read next: `mounts`, `sources`, which show a mount through them.
"""

from __future__ import annotations

from onggi.kernel import userns
from onggi.oci.runtime import IdMap
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class MakeIdMap:
    """In the keeper: a user namespace that has one mount's id maps, and nobody in it."""

    uids: tuple[IdMap, ...]
    gids: tuple[IdMap, ...]
    why: str

    def describe(self) -> str:
        uids, gids = (
            ",".join(f"{m.container_id}:{m.host_id}:{m.size}" for m in maps) for maps in (self.uids, self.gids)
        )
        return f"unshare --user --map-users {uids} --map-groups {gids}"

    def apply(self, context: Context) -> None:
        context.id_maps[self.uids, self.gids] = userns.with_maps(lines(self.uids), lines(self.gids))


def lines(maps: tuple[IdMap, ...]) -> str:
    """Maps as /proc/PID/uid_map takes them."""
    return "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in maps)
