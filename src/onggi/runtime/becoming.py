"""The part of a plan that the container's first process and every later one have in common: from our rights to theirs.

Pure, as `plan` is, and as much a matter of order: the working directory while we may still walk to it, capabilities after
the user is set, because to set it needs them. You come from `plan` or `entry`; the steps are in `rights`.
"""

from __future__ import annotations

from onggi.oci.runtime import Capabilities, Process
from onggi.runtime import rights
from onggi.runtime.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_UMASK = 0o022


def user(process: Process, *, may_set_groups: bool) -> Iterator[Step]:
    """Working directory, ids, capabilities, no_new_privs."""
    yield rights.ChangeDirectory(process.cwd, "process.cwd: must lie inside (CVE-2024-21626)")
    yield rights.SetUser(may_set_groups, process.umask if process.umask is not None else _UMASK, "process.user")
    yield rights.SetCapabilities(process.capabilities or Capabilities(), "process.capabilities: none is none")
    if process.no_new_privileges:
        yield rights.NoNewPrivileges("process.noNewPrivileges")


def program(process: Process) -> rights.FindProgram:
    """Its file is looked up as the user that will run it."""
    return rights.FindProgram(process.args[0], "process.args: what is not there is told before the start")


def read_filter(file: str) -> Iterator[Step]:
    """While the host's files can still be seen."""
    if file:
        from onggi.runtime import filters

        yield filters.ReadFilter(file, "linux.seccomp: compiled once, kept")


def load_filter(file: str, flags: int) -> Iterator[Step]:
    """The filter, if there is one."""
    if file:
        from onggi.runtime import filters

        yield filters.LoadFilter(flags, "linux.seccomp: system calls that a container has no need of")
