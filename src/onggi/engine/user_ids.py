"""Which ids a container's own user namespace maps to: 65,536 of the host's that no other container has.

Podman's words in Docker's field: `UsernsMode` `auto` or `private`. The ids come from the line of `onggi` or `containers`
in /etc/subuid and /etc/subgid, else from those that systemd keeps for containers (524288 to 1879048191). On disk a
container's files have the image's own ids, so its range may change from one boot to the next. It is written down in the
run directory and is free again when the container is removed. Callers: `engine/spec`. Read next: user_namespaces(7),
`runtime/mapped`.
"""

from __future__ import annotations

import os
from pathlib import Path

from onggi.engine.instance import Instance
from onggi.errors import Invalid, LimitExceeded, Unsupported
from onggi.wire.host_config import HostConfig

SIZE = 1 << 16
FILE = "ids"
_OWNERS = ("onggi", "containers")
_DEFAULT = (0x80000, 0x70000000 - 0x80000)
_FIELD = "HostConfig.UsernsMode"


def has_own(host: HostConfig) -> bool:
    """Whether the container gets ids of its own; Unsupported or Invalid for what is no mode or does not go with it."""
    mode = host.userns_mode
    if mode in ("", "host"):
        return False
    if mode not in ("auto", "private"):
        hint = "use `auto`, or leave the option out"
        raise Unsupported("create container with", _FIELD, f"{mode!r} is not supported", hint=hint)
    if host.privileged:
        cause = (
            "privileged mode is incompatible with user namespaces.  "
            "You must run the container in the host namespace when running privileged mode"
        )
        raise Invalid("create", "container", cause, code="text")
    if host.network_mode == "host":
        cause = "cannot share the host's network namespace when user namespaces are enabled"
        raise Invalid("create", "container", cause, code="text")
    if host.pid_mode == "host":
        cause = "cannot share the host PID namespace when user namespaces are enabled"
        raise Invalid("create", "container", cause, code="text")
    return True


def first_id(instance: Instance, container_id: str, subuid: str = "/etc/subuid", subgid: str = "/etc/subgid") -> int:
    """The host's id for the container's 0: the one it had before, else a free one, kept if the container is starting.

    The search begins at a place that the container's id determines, so two engines on one machine rarely meet.
    """
    file = instance.run_dir(container_id) / FILE
    kept = _read(file)
    if kept is not None:
        return kept
    start, count = _range(Path(subuid), Path(subgid))
    slots = count // SIZE
    taken = {_read(Path(entry.path, FILE)) for entry in os.scandir(instance.exec_root / "containers")}
    offset = int(container_id[:12], 16)
    for number in range(slots):
        found = start + (offset + number) % slots * SIZE
        if found not in taken:
            if file.parent.is_dir():
                file.write_text(str(found))
            return found
    raise LimitExceeded("give ids to", container_id[:12], f"all {slots} ranges of {SIZE} ids are taken")


def mappings(first: int) -> list[dict[str, int]]:
    """`linux.uidMappings`, and `gidMappings` as well."""
    return [{"containerID": 0, "hostID": first, "size": SIZE}]


def _read(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _range(subuid: Path, subgid: Path) -> tuple[int, int]:
    users, groups = _lines(subuid), _lines(subgid)
    for owner in _OWNERS:
        if owner in users:
            start, count = users[owner]
            if groups.get(owner) != (start, count) or count < SIZE:
                cause = f"the line of {owner} must name the same ids as in {subgid}, at least {SIZE} of them"
                raise Invalid("read", str(subuid), cause, hint=f"{owner}:{start}:{max(count, SIZE)} in both files")
            return start, count
    return _DEFAULT


def _lines(file: Path) -> dict[str, tuple[int, int]]:
    """Owner to first id and number of ids; the first line of an owner counts."""
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        return {}
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            found.setdefault(fields[0], (int(fields[1]), int(fields[2])))
    return found
