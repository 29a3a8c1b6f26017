"""What an exec asks of the launcher: the container's own rights and surroundings, and what the exec changes of them.

Callers: `execs`. Read next: `spec`, which decides the same for a container; `runtime/entrance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onggi.engine import security, spec, user_ids
from onggi.engine.container import Container
from onggi.engine.merge import overlaid, process_environment
from onggi.engine.parts import Parts
from onggi.engine.resources import ulimits
from onggi.errors import Invalid
from onggi.wire.exec import ExecCreate

_MOST_CELLS = 2**16


def check(body: ExecCreate) -> None:
    """Invalid for what no process can get."""
    for word in (*(body.cmd or ()), *(body.env or ()), body.working_dir, body.user):
        if "\0" in word:
            raise Invalid("create exec with", repr(word), "no word that a program gets can have a NUL byte")
    if body.working_dir and not body.working_dir.startswith("/"):
        cause = f"the working directory '{body.working_dir}' is invalid, it needs to be an absolute path"
        raise Invalid("create", "exec", cause, code="text")
    size(body.console_size)


def size(console_size: Sequence[int] | None) -> tuple[int, int] | None:
    """Rows and columns, as ioctl_tty(2) takes them."""
    if not console_size:
        return None
    if len(console_size) != 2 or not all(0 <= cells < _MOST_CELLS for cells in console_size):
        raise Invalid("read", "ConsoleSize", f"{list(console_size)} is no height and width")
    return (console_size[0], console_size[1]) if all(console_size) else None


def document(parts: Parts, container: Container, body: ExecCreate, console: tuple[int, int] | None) -> dict[str, Any]:
    """The launcher's request; streams are the caller's."""
    config, host = container.body.config, container.body.host_config
    rights = security.decide(host, parts.instance.exec_root / "seccomp")
    maps = user_ids.mappings(user_ids.first_id(parts.instance, container.id)) if user_ids.has_own(host) else []
    kinds = [namespace["type"] for namespace in spec.namespaces(container.body, lambda *_: container.record.state.pid)]
    return {
        "id": container.id,
        "entry": container.record.state.pid,
        "numbers": container.namespaces,
        "kinds": kinds,
        "process": _process(container, body, console, rights),
        "cgroup": parts.cgroup(container),
        "user": body.user or config.user,
        "extra_groups": host.group_add or [],
        "seccomp": rights.filter,
        "seccomp_flags": rights.filter_flags,
        "id_maps": [[entry["containerID"], entry["hostID"], entry["size"]] for entry in maps],
        "open_stdin": body.attach_stdin,
        "run_dir": str(parts.instance.run_dir(container.id)),
    }


def _process(
    container: Container, body: ExecCreate, console: tuple[int, int] | None, rights: security.Security
) -> dict[str, Any]:
    config = container.body.config
    names = list(security.held() if body.privileged else rights.capabilities)
    base = process_environment(config, config.hostname or container.id[:12], terminal=body.tty)
    return {
        "args": list(body.cmd or ()),
        "env": overlaid(base, body.env or ()),
        "cwd": body.working_dir or config.working_dir or "/",
        "terminal": body.tty,
        "consoleSize": {"height": console[0], "width": console[1]} if body.tty and console else None,
        "capabilities": {"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []},
        "noNewPrivileges": rights.no_new_privileges,
        "rlimits": ulimits(container.body.host_config),
        "oomScoreAdj": spec.oom_score(container.body),
    }
