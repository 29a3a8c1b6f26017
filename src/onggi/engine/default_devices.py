"""The device rules of a container that asked for nothing: Docker's, as the runtime spec's list.

Pure. Callers: `engine/spec`. Read next: `kernel/cgroup/devices`.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

DENY_ALL: Rule = {"allow": False, "access": "rwm"}
ALLOW_ALL: Rule = {"allow": True, "access": "rwm"}
"""For privileged containers."""

_ANY_NODE: tuple[Rule, ...] = tuple({"allow": True, "type": kind, "access": "m"} for kind in ("c", "b"))
_NODES: tuple[tuple[int, int | None, str], ...] = (
    (1, 3, "/dev/null"),
    (1, 5, "/dev/zero"),
    (1, 7, "/dev/full"),
    (1, 8, "/dev/random"),
    (1, 9, "/dev/urandom"),
    (5, 0, "/dev/tty"),
    (5, 1, "/dev/console"),
    (5, 2, "/dev/ptmx"),
    (136, None, "/dev/pts/*"),
    (10, 200, "/dev/net/tun"),
)


def default_rules() -> list[Rule]:
    """Deny all; then let nodes be made (not opened), and the devices without which no program is at home be used.

    The list is what a container of Docker 26 with runc ends up with in its `devices.list`.
    """
    return [
        dict(DENY_ALL),
        *(dict(rule) for rule in _ANY_NODE),
        *(_allowed(major, minor) for major, minor, _ in _NODES),
    ]


def privileged_rules() -> list[Rule]:
    """Everything may be used."""
    return [dict(ALLOW_ALL)]


def device_rule(kind: str, major: int, minor: int, access: str = "rwm") -> Rule:
    """One device more, as `--device` asks for it."""
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


def _allowed(major: int, minor: int | None) -> Rule:
    numbers = {"major": major} if minor is None else {"major": major, "minor": minor}
    return {"allow": True, "type": "c", **numbers, "access": "rwm"}
