"""The part of a plan that the container's first process and every later one have in common: from our rights to theirs.

Pure, as `plan` is, and as much a matter of order: the working directory while we may still walk to it, capabilities after
the user is set, because to set it needs them. You come from `plan` or `entry`; the steps are in `rights`, `terminal`,
`limits`, `attributes`.
"""

from __future__ import annotations

from onggi.oci.runtime import Capabilities, Process
from onggi.runtime import rights
from onggi.runtime.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onggi.oci.runtime import Json

_UMASK = 0o022


def open_terminal(process: Process, *, relayed: bool) -> Iterator[Step]:
    """A terminal, while we may still open what we like; `relayed` to another terminal, or somebody's own."""
    if process.terminal:
        from onggi.runtime import terminal

        yield terminal.OpenTerminal(process.console_size, relayed, "process.terminal: from the container's own devpts")


def take_terminal(process: Process) -> Iterator[Step]:
    """The terminal is the new session's."""
    if process.terminal:
        from onggi.runtime import terminal

        yield terminal.TakeTerminal("process.terminal")


def limits(process: Process, *, best_effort: bool) -> Iterator[Step]:
    """Its limits, once no more files have to be opened."""
    if process.rlimits:
        from onggi.runtime import limits

        yield limits.SetRlimits(limits.checked(process.rlimits), best_effort, "process.rlimits")


def attributes(process: Process, personality: Json | None, memory_policy: Json | None, cpus: str) -> Iterator[Step]:
    """How it is scheduled, while it has every right, and before a filter could forbid the calls.

    `cpus`: the processors that its group is bound to, if it is.
    """
    if not (process.scheduler is process.io_priority is personality is memory_policy is None):
        from onggi.runtime import attributes

        yield from attributes.steps(process, personality, memory_policy, cpus)


def labels(process: Process, *, key: bool) -> Iterator[Step]:
    """Its AppArmor profile or SELinux label, in force from the execve on; with `key` that of its keyring as well."""
    if not (process.apparmor_profile or process.selinux_label):
        return
    from onggi.runtime import labels

    if process.selinux_label:
        why = "process.selinuxLabel"
        if key:
            yield labels.SetLabel(process.selinux_label, "keycreate", f"{why}: of its keyring")
        yield labels.SetLabel(process.selinux_label, "exec", why)
    if process.apparmor_profile:
        yield labels.SetProfile(process.apparmor_profile, "process.apparmorProfile")


def user(process: Process, *, may_set_groups: bool) -> Iterator[Step]:
    """Working directory, ids, capabilities, no_new_privs."""
    yield rights.ChangeDirectory(process.cwd, "process.cwd: must lie inside (CVE-2024-21626)")
    yield rights.SetUser(may_set_groups, process.umask if process.umask is not None else _UMASK, "process.user")
    yield rights.SetCapabilities(process.capabilities or Capabilities(), "process.capabilities: none is none")
    if process.no_new_privileges:
        yield rights.NoNewPrivileges("process.noNewPrivileges")


def keeps_groups(annotations: Mapping[str, object]) -> bool:
    """crun's annotation: the supplementary groups are the caller's own."""
    return annotations.get("run.oci.keep_original_groups", "0") != "0"


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
