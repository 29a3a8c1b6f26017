"""Mount options: the words of mount(8) and of the runtime specification as flags, propagation and data. Pure.

What a word does to a mount depends on what is mounted: a new file system begins without flags; a bind mount keeps those of
its source if no word asks for anything else, and has exactly those that are asked for if one does, as runc does it. The
atime words are one field in which the last of strictatime, noatime, relatime counts, and which no word clears.
Callers: `plan_mounts`. Read next: `attributes`.
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.kernel.flags import ATIME_MASK, MountAttr, Ms
from onggi.oci.runtime import IdMap
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SET: dict[str, Ms] = {
    "ro": Ms.RDONLY,
    "nosuid": Ms.NOSUID,
    "nodev": Ms.NODEV,
    "noexec": Ms.NOEXEC,
    "nosymfollow": Ms.NOSYMFOLLOW,
    "noatime": Ms.NOATIME,
    "nodiratime": Ms.NODIRATIME,
    "relatime": Ms.RELATIME,
    "strictatime": Ms.STRICTATIME,
    "sync": Ms.SYNCHRONOUS,
    "dirsync": Ms.DIRSYNC,
    "lazytime": Ms.LAZYTIME,
    "mand": Ms.MANDLOCK,
    "silent": Ms.SILENT,
    "iversion": Ms.I_VERSION,
    "bind": Ms.BIND,
    "rbind": Ms.BIND | Ms.REC,
    "remount": Ms.REMOUNT,
}
_CLEAR: dict[str, Ms] = {
    "rw": Ms.RDONLY,
    "suid": Ms.NOSUID,
    "dev": Ms.NODEV,
    "exec": Ms.NOEXEC,
    "symfollow": Ms.NOSYMFOLLOW,
    "atime": Ms.NOATIME,
    "diratime": Ms.NODIRATIME,
    "norelatime": Ms.RELATIME,
    "nostrictatime": Ms.STRICTATIME,
    "async": Ms.SYNCHRONOUS,
    "nolazytime": Ms.LAZYTIME,
    "nomand": Ms.MANDLOCK,
    "loud": Ms.SILENT,
    "noiversion": Ms.I_VERSION,
}
_ATTRIBUTE: tuple[tuple[Ms, MountAttr], ...] = (
    (Ms.RDONLY, MountAttr.RDONLY),
    (Ms.NOSUID, MountAttr.NOSUID),
    (Ms.NODEV, MountAttr.NODEV),
    (Ms.NOEXEC, MountAttr.NOEXEC),
    (Ms.NOSYMFOLLOW, MountAttr.NOSYMFOLLOW),
    (Ms.NODIRATIME, MountAttr.NODIRATIME),
)
"""Flags that are a mount's own. Of the rest the file system is told by its name."""
_SUPERBLOCK = ("sync", "dirsync", "lazytime", "mand", "async", "nolazytime", "nomand")
NO_WORD = frozenset(("silent", "iversion", "noiversion"))
"""No word of fsconfig(2) stands for these: how much the kernel writes to its log, and whether a file system counts changes,
which those that can have done unasked since Linux 5.19."""
_RECURSIVE: dict[str, tuple[int, int]] = {
    # word: (attributes set, attributes cleared)
    "rro": (MountAttr.RDONLY, 0),
    "rrw": (0, MountAttr.RDONLY),
    "rnosuid": (MountAttr.NOSUID, 0),
    "rsuid": (0, MountAttr.NOSUID),
    "rnodev": (MountAttr.NODEV, 0),
    "rdev": (0, MountAttr.NODEV),
    "rnoexec": (MountAttr.NOEXEC, 0),
    "rexec": (0, MountAttr.NOEXEC),
    "rnodiratime": (MountAttr.NODIRATIME, 0),
    "rdiratime": (0, MountAttr.NODIRATIME),
    "rnosymfollow": (MountAttr.NOSYMFOLLOW, 0),
    "rsymfollow": (0, MountAttr.NOSYMFOLLOW),
    "rnoatime": (MountAttr.NOATIME, ATIME_MASK),
    "rstrictatime": (MountAttr.STRICTATIME, ATIME_MASK),
    "rrelatime": (0, ATIME_MASK),
    # clearing one of the three leaves what is nobody's flag: relatime
    "ratime": (0, ATIME_MASK),
    "rnostrictatime": (0, ATIME_MASK),
    "rnorelatime": (0, ATIME_MASK),
}
_PROPAGATION = {
    "private": Ms.PRIVATE,
    "shared": Ms.SHARED,
    "slave": Ms.SLAVE,
    "unbindable": Ms.UNBINDABLE,
}
_IGNORED = frozenset({"", "defaults", "z", "Z"})
_LINKS = ("copy-symlink", "src-nofollow", "dest-nofollow")

KNOWN = (
    *_SET,
    *_CLEAR,
    *_RECURSIVE,
    *_PROPAGATION,
    *("r" + word for word in _PROPAGATION),
    *("defaults", "idmap", "ridmap", "tmpcopyup", *_LINKS),
)
"""Every word that is no file system's own."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of one mount, sorted by what they are."""

    attributes: int = 0
    """To be set, the atime field among them."""
    cleared: int = 0
    """Asked for by the word of their absence."""
    atime: bool = False
    """A word chooses the atime field, be it relatime, which is no bit."""
    exact: bool = False
    """Some word asks for flags: a bind mount gets these and no others."""
    recursive: tuple[int, int] = (0, 0)
    """For the whole tree: set, cleared."""
    superblock: tuple[str, ...] = ()
    """Flags of the file system, by their name in fsconfig(2)."""
    propagation: tuple[tuple[int, bool], ...] = ()
    """Which, and whether for the whole tree; in their order."""
    bind: bool = False
    recursive_bind: bool = False
    remount: bool = False
    copy_up: bool = False
    links: tuple[str, ...] = ()
    """crun's words for a source or a destination that is a symbolic link."""
    data: tuple[tuple[str, str | None], ...] = ()
    words: tuple[str, ...] = ()
    idmap: str = ""
    """`idmap` or `ridmap`: owners are shown through an id map."""
    idmap_value: str = ""
    """The map that follows the word itself."""

    def text(self) -> str:
        """The options as mount(8) takes them."""
        return ",".join(self.words) or "defaults"


def parse_options(words: Iterable[str]) -> MountOptions:
    """Sort the words; what is neither flag nor propagation is the file system's own data."""
    words = tuple(words)
    on = off = Ms(0)
    recursive_on = recursive_off = 0
    propagation: list[tuple[int, bool]] = []
    data: list[tuple[str, str | None]] = []
    idmap = value = ""
    for word in words:
        if word in _SET:
            on, off = on | _SET[word], off & ~_SET[word]
        elif word in _CLEAR:
            on, off = on & ~_CLEAR[word], off | _CLEAR[word]
        elif word in _RECURSIVE:
            more, less = _RECURSIVE[word]
            recursive_on = recursive_on & ~less | more
            recursive_off = recursive_off & ~more | less
        elif word in _PROPAGATION or (word[:1] == "r" and word[1:] in _PROPAGATION):
            propagation.append((_PROPAGATION.get(word) or _PROPAGATION[word[1:]], word not in _PROPAGATION))
        elif word.partition("=")[0] in ("idmap", "ridmap"):
            idmap, _, value = word.partition("=")
        elif word not in _IGNORED and word not in _LINKS and word != "tmpcopyup":
            key, _, text = word.partition("=")
            data.append((key, text if "=" in word else None))
    return MountOptions(
        attributes=_attributes(on),
        cleared=_bits(off) | (MountAttr.NOATIME if off & Ms.NOATIME else 0),
        atime=bool(on & (Ms.NOATIME | Ms.STRICTATIME | Ms.RELATIME | Ms.NODIRATIME)),
        exact=bool(int(on | off) & ~int(Ms.BIND | Ms.REC | Ms.REMOUNT)),
        recursive=(recursive_on, recursive_off),
        superblock=tuple(word for word in words if word in _SUPERBLOCK),
        propagation=tuple(propagation),
        bind=bool(on & Ms.BIND),
        recursive_bind=bool(on & Ms.REC),
        remount=bool(on & Ms.REMOUNT),
        copy_up="tmpcopyup" in words,
        links=tuple(word for word in words if word in _LINKS),
        data=tuple(data),
        words=words,
        idmap=idmap,
        idmap_value=value,
    )


def _attributes(flags: Ms) -> int:
    """What the flags of mount(2) come to: it takes strictatime before noatime, and any other atime word for relatime."""
    atime = MountAttr.STRICTATIME if flags & Ms.STRICTATIME else MountAttr.NOATIME if flags & Ms.NOATIME else 0
    return _bits(flags) | int(atime)


def _bits(flags: Ms) -> int:
    found = 0
    for flag, attribute in _ATTRIBUTE:
        found |= int(attribute) if flags & flag else 0
    return found


def parse_id_maps(
    text: str, own_uids: tuple[IdMap, ...], own_gids: tuple[IdMap, ...]
) -> tuple[tuple[IdMap, ...], tuple[IdMap, ...]]:
    """crun's maps after the word idmap: `uids=0-1-10#@10-11-10;gids=0-100-10`, each inside-outside-size.

    With an @ what is outside is an id of the container's, whose own maps tell which one that is on the host.
    """
    own = {"uids": own_uids, "gids": own_gids}
    maps: dict[str, tuple[IdMap, ...]] = {"uids": (), "gids": ()}
    for part in filter(None, text.split(";")):
        kind, _, ranges = part.partition("=")
        if kind not in maps:
            raise Invalid("read mount option", f"idmap={text}", f"`{kind}` is neither uids nor gids")
        maps[kind] = tuple(_id_map(item, text, own[kind]) for item in ranges.split("#"))
    return maps["uids"], maps["gids"]


def _id_map(item: str, text: str, own: tuple[IdMap, ...]) -> IdMap:
    numbers = item.removeprefix("@").split("-")
    if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        raise Invalid("read mount option", f"idmap={text}", f"`{item}` is not INSIDE-OUTSIDE-SIZE")
    inside, outside, size = map(int, numbers)
    if not item.startswith("@"):
        return IdMap(inside, outside, size)
    for entry in own:
        if entry.container_id <= outside and outside + size <= entry.container_id + entry.size:
            return IdMap(inside, outside - entry.container_id + entry.host_id, size)
    raise Invalid("read mount option", f"idmap={text}", f"`{item}` has ids that the container has not")
