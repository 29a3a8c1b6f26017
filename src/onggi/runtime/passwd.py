"""The image's own /etc/passwd and /etc/group, read by us as text.

Never through NSS: that would load libraries from the container into a process that is still ours (CVE-2019-14271).
Pure functions over the files' bytes. Callers: `rights`. Read next: passwd(5), group(5).
"""

from __future__ import annotations

from onggi.errors import StartFailed
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class User:
    """Who a process runs as: ids, supplementary groups (the primary one first), home directory."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def resolve(user: str, passwd: bytes, group: bytes, extra_groups: tuple[str, ...] = ()) -> User:
    """Docker's `USER`: `name`, `uid`, `name:group`, `uid:gid`; empty is root. StartFailed when a name is not there."""
    wanted, _, wanted_group = user.partition(":")
    name, uid, gid, home = _user(wanted or "0", passwd)
    if wanted_group:
        gid = _group(wanted_group, group)
    groups = [gid]
    if not wanted_group and name:
        groups += [g for g, members in _members(group) if name in members]
    groups += [_group(g, group) for g in extra_groups]
    return User(uid, gid, tuple(dict.fromkeys(groups)), home or "/")


def _user(wanted: str, passwd: bytes) -> tuple[str, int, int, str]:
    number = _number(wanted)
    for fields in _lines(passwd, 6):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and (fields[0] == wanted or uid == number):
            return fields[0], uid, gid, fields[5]
    if number is None:
        raise _missing("user", wanted, "passwd")
    return "", number, 0, ""


def _group(wanted: str, group: bytes) -> int:
    number = _number(wanted)
    for fields in _lines(group, 3):
        gid = _number(fields[2])
        if gid is not None and (fields[0] == wanted or gid == number):
            return gid
    if number is None:
        raise _missing("group", wanted, "group")
    return number


def _missing(what: str, name: str, file: str) -> StartFailed:
    return StartFailed(
        "find",
        f"{what} {name}",
        f"no matching entries in {file} file",
        code=f"{what}.not-found",
        facts={what: name},
    )


def _members(group: bytes) -> Iterator[tuple[int, list[str]]]:
    for fields in _lines(group, 4):
        gid = _number(fields[2])
        if gid is not None:
            yield gid, fields[3].split(",")


def _lines(text: bytes, least: int) -> Iterator[list[str]]:
    for line in text.decode(errors="surrogateescape").splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and int(text) <= _LARGEST_ID:
        return int(text)
    return None
