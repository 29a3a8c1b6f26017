"""What a restore needs for a container with ids of its own, whose processes are nobody on the host while CRIU makes them.

They read their images themselves, which are root's alone: they are shown an id-mapped mount of the directory, where root is
whom the container calls root. And they may make no device nodes: those are made for them. All of it is in CRIU's mount
namespace and goes with it. Loaded with such a container only. Caller: `restore`. Read next: `sources`.
"""

from __future__ import annotations

import os

from onggi.kernel import mount as kernel_mount
from onggi.kernel import userns
from onggi.runtime import sources
from onggi.runtime.idmaps import lines
from onggi.runtime.mounts import place_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.oci.runtime import Device, IdMap


def furnish(
    place: str, ids: tuple[tuple[IdMap, ...], tuple[IdMap, ...]], devices: tuple[Device, ...], images: str
) -> None:
    """`place`/nodes/NUMBER and `place`/images; a file system without id maps (KernelError) says so."""
    nodes, shown = (os.path.join(place, name) for name in ("nodes", "images"))
    os.mkdir(nodes)
    os.mkdir(shown)
    directory = os.open(nodes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    umask = os.umask(0)
    try:
        for number, device in enumerate(devices):
            sources.make_node(directory, str(number), device, *ids)
    finally:
        os.umask(umask)
        os.close(directory)
    tree = kernel_mount.clone_tree(images, recursive=False)
    try:
        maps = userns.with_maps(*map(lines, ids))
        try:
            kernel_mount.map_ids(tree, maps)
        finally:
            os.close(maps)
        place_root(tree, shown)
    finally:
        os.close(tree)
