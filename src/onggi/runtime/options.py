"""Mount options: the words of mount(8) and of the runtime specification as flags, propagation and data. Pure.

Callers: `plan`. Read next: `mounts`.
"""

from __future__ import annotations

from onggi.errors import Unsupported
from onggi.kernel.flags import ATIME_MASK, MountAttr, Ms
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ATTRIBUTES: dict[str, tuple[int, int]] = {
    # word: (attributes set, attributes cleared)
    "ro": (MountAttr.RDONLY, 0),
    "rw": (0, MountAttr.RDONLY),
    "nosuid": (MountAttr.NOSUID, 0),
    "suid": (0, MountAttr.NOSUID),
    "nodev": (MountAttr.NODEV, 0),
    "dev": (0, MountAttr.NODEV),
    "noexec": (MountAttr.NOEXEC, 0),
    "exec": (0, MountAttr.NOEXEC),
    "noatime": (MountAttr.NOATIME, 0),
    "strictatime": (MountAttr.STRICTATIME, 0),
    "relatime": (0, ATIME_MASK),
    "nodiratime": (MountAttr.NODIRATIME, 0),
    "diratime": (0, MountAttr.NODIRATIME),
    "nosymfollow": (MountAttr.NOSYMFOLLOW, 0),
}
_PROPAGATION = {
    "private": Ms.PRIVATE,
    "shared": Ms.SHARED,
    "slave": Ms.SLAVE,
    "unbindable": Ms.UNBINDABLE,
}
_IGNORED = frozenset({"defaults", "bind", "rbind", "z", "Z"})
_REFUSED = frozenset({"sync", "async", "mand", "nomand", "remount", "tmpcopyup"})


KNOWN = (
    *_ATTRIBUTES,
    *("r" + word for word in _ATTRIBUTES),
    *_PROPAGATION,
    *("r" + word for word in _PROPAGATION),
    *("bind", "rbind", "defaults", "idmap", "ridmap"),
)
"""Every word that is no file system's own."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of one mount, sorted by what they are."""

    attributes: int = 0
    cleared: int = 0
    recursive_attributes: int = 0
    propagation: int = 0
    recursive_propagation: bool = False
    recursive_bind: bool = False
    data: tuple[tuple[str, str | None], ...] = ()
    words: tuple[str, ...] = ()
    idmap: str = ""
    """`idmap` or `ridmap`: owners are shown through the container's id map."""

    @property
    def sets_atime(self) -> bool:
        """One of the atime attributes is asked for."""
        return bool(self.attributes & ATIME_MASK)

    def text(self) -> str:
        """The options as mount(8) takes them."""
        return ",".join(self.words) or "defaults"


def parse_options(words: Iterable[str]) -> MountOptions:
    """Sort the words; what is neither flag nor propagation is the file system's own data."""
    words = tuple(words)
    on = off = recursive = propagation = 0
    recursive_propagation = False
    idmap = ""
    data: list[tuple[str, str | None]] = []
    for word in words:
        if word in _ATTRIBUTES:
            set_bits, cleared = _ATTRIBUTES[word]
            on, off = (on | set_bits) & ~cleared, (off | cleared) & ~set_bits
        elif word.startswith("r") and word[1:] in _ATTRIBUTES:
            recursive |= _ATTRIBUTES[word[1:]][0]
        elif word.removeprefix("r") in _PROPAGATION:
            propagation = _PROPAGATION[word.removeprefix("r")]
            recursive_propagation = word.startswith("r")
        elif word in ("idmap", "ridmap"):
            idmap = word
        elif word in _REFUSED:
            raise Unsupported("mount", word, "this mount option is not supported")
        elif word and word not in _IGNORED:
            key, _, value = word.partition("=")
            data.append((key, value if "=" in word else None))
    return MountOptions(
        on,
        off,
        recursive,
        propagation,
        recursive_propagation,
        "rbind" in words,
        tuple(data),
        words,
        idmap,
    )
