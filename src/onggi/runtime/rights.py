"""Steps that say who the process is and what it may do, and the exec that ends the plan.

The order matters more than the steps: see `plan`. You come from `steps`; the process that applies these is `init`.
"""

from __future__ import annotations

import errno
import os
import stat

from onggi.errors import KernelError, StartFailed
from onggi.kernel import capability, process
from onggi.kernel.path import open_in_root
from onggi.oci.runtime import Capabilities
from onggi.runtime.passwd import User, resolve
from onggi.runtime.steps import Context
from onggi.values import dataclass

_PROCESSORS = range(1024)
"""More than nearly any machine has; the kernel takes those that are there."""
_FILE_LIMIT = 4 << 20
_SHOWN = 4000
"""Characters of a command line that are told: it may have a megabyte, and a message between processes may not."""
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class BecomeRoot:
    """Take the ids that are root inside the new user namespace."""

    keeps_groups: bool
    """Those that the caller has."""
    why: str

    def describe(self) -> str:
        return f"setpriv --reuid 0 --regid 0 --{'keep' if self.keeps_groups else 'clear'}-groups"

    def apply(self, context: Context) -> None:
        if not self.keeps_groups:
            os.setgroups(())
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


@dataclass(frozen=True, slots=True)
class ResetAffinity:
    """Run on any processor that the group has: sched_setaffinity(2).

    The processors that a runtime was bound to are not the container's, and a group's cpuset bounds it anyway.
    """

    why: str

    def describe(self) -> str:
        return "taskset -pc 0- $$"

    def apply(self, context: Context) -> None:
        try:
            os.sched_setaffinity(0, _PROCESSORS)
        except OSError as error:  # some sandboxes do not let anybody choose
            context.warnings.append(f"the processors are those of the runtime: {(error.strerror or '').lower()}")


@dataclass(frozen=True, slots=True)
class FindUser:
    """Look the user up in the image's own /etc/passwd and /etc/group."""

    user: str
    extra_groups: tuple[str, ...]
    why: str

    def describe(self) -> str:
        return f"grep '^{self.user or 'root'}:' /etc/passwd /etc/group"

    def apply(self, context: Context) -> None:
        files = (_read(context.root, "/etc/passwd"), _read(context.root, "/etc/group"))
        take_user(context, resolve(self.user, *files, self.extra_groups))


@dataclass(frozen=True, slots=True)
class TakeUser:
    """The ids that the specification gives; the home directory from the image's /etc/passwd."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    why: str

    def describe(self) -> str:
        return f"id={self.uid}:{self.gid}"

    def apply(self, context: Context) -> None:
        home = resolve(str(self.uid), _read(context.root, "/etc/passwd"), b"").home
        take_user(context, User(self.uid, self.gid, self.groups, home))


def take_user(context: Context, user: User) -> None:
    """Remember who to become; HOME is set unless the configuration sets it to something."""
    context.uid, context.gid, context.groups = user.uid, user.gid, user.groups
    if not context.environment.get("HOME"):
        context.environment["HOME"] = user.home


def _read(root: int, path: str) -> bytes:
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return b""
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""  # a fifo or device with this name would block us
        return os.pread(descriptor, _FILE_LIMIT, 0)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class SetOomScore:
    """How readily the kernel kills this process when memory runs out: /proc/self/oom_score_adj."""

    score: int
    best_effort: bool
    why: str

    def describe(self) -> str:
        return f"choom -n {self.score} -p $$"

    def apply(self, context: Context) -> None:
        try:
            _write("/proc/self/oom_score_adj", str(self.score))
        except PermissionError:  # to lower it takes CAP_SYS_RESOURCE
            if _read_host("/proc/self/oom_score_adj") == self.score:
                return
            if not self.best_effort:
                raise
            context.warnings.append(f"oom_score_adj {self.score} needs CAP_SYS_RESOURCE, which the engine lacks")


def _read_host(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 32))
    finally:
        os.close(descriptor)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session of its own, and a keyring."""

    keyring: str
    why: str

    def describe(self) -> str:
        return f"setsid; keyctl session {self.keyring}" if self.keyring else "setsid"

    def apply(self, context: Context) -> None:
        os.setsid()
        if self.keyring:
            NewKeyring(self.keyring, self.why).apply(context)


@dataclass(frozen=True, slots=True)
class NewKeyring:
    """A session keyring of its own: the host's keys are out of reach."""

    name: str
    why: str

    def describe(self) -> str:
        return f"keyctl session {self.name}"

    def apply(self, context: Context) -> None:
        try:
            process.join_session_keyring(self.name)
        except KernelError as error:
            if error.errno not in (errno.ENOSYS, errno.EDQUOT, errno.EPERM):
                raise
            context.warnings.append(f"no session keyring of its own: {error.cause}")


@dataclass(frozen=True, slots=True)
class ChangeDirectory:
    """The working directory, which must lie inside the container."""

    path: str
    why: str

    def describe(self) -> str:
        return f"cd {self.path}"

    def apply(self, context: Context) -> None:
        try:
            os.chdir(self.path)
            inside = os.getcwd()
        except OSError as error:
            raise StartFailed(
                "chdir to cwd",
                self.path,
                (error.strerror or "").lower(),
                code="workdir",
                facts={"directory": self.path, "reason": (error.strerror or "").lower(), "errno": error.errno},
            ) from error
        if not inside.startswith("/"):  # CVE-2024-21626: a directory of the host, reached by a leaked descriptor
            raise StartFailed(
                "chdir to cwd", self.path, "the directory is outside of the container", code="workdir.outside"
            )


@dataclass(frozen=True, slots=True)
class SetUser:
    """Become the user: setgroups(2), setgid(2), setuid(2), keeping capabilities until the next step sets them."""

    may_set_groups: bool
    umask: int
    why: str

    def describe(self) -> str:
        return "setpriv --reuid UID --regid GID --groups GROUPS"

    def apply(self, context: Context) -> None:
        if context.console >= 0:
            os.fchown(context.console, context.uid, -1)
        _give_streams(context)
        capability.keep_over_setuid(keep=True)
        if self.may_set_groups:
            os.setgroups(context.groups)
        os.setresgid(context.gid, context.gid, context.gid)
        os.setresuid(context.uid, context.uid, context.uid)
        os.umask(self.umask)


def _give_streams(context: Context) -> None:
    """The streams become the user's own, so that it may open /dev/stdout again; devices stay whose they are."""
    for number in (0, 1, 2):
        try:
            found = os.fstat(number)
            if stat.S_ISCHR(found.st_mode) or (found.st_uid, found.st_gid) == (context.uid, context.gid):
                continue
            os.fchown(number, context.uid, context.gid)
        except OSError as error:
            if error.errno not in _NOT_OURS_TO_GIVE:
                raise


_NOT_OURS_TO_GIVE = (errno.EBADF, errno.EPERM, errno.EROFS, errno.EINVAL)
"""Closed; of an owner that the user namespace has no id for; on a read-only file system; to an id that it has not."""


@dataclass(frozen=True, slots=True)
class SetCapabilities:
    """The five capability sets: capset(2), PR_CAPBSET_DROP, PR_CAP_AMBIENT."""

    sets: Capabilities
    why: str

    def describe(self) -> str:
        names = ",".join("+" + name.removeprefix("CAP_").lower() for name in self.sets.bounding)
        return f"setpriv --bounding-set -all,{names}" if names else "setpriv --bounding-set -all"

    def apply(self, context: Context) -> None:
        sets = self.sets
        context.warnings += capability.apply(
            sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient
        )


@dataclass(frozen=True, slots=True)
class NoNewPrivileges:
    """No set-user-ID program raises rights from here on: PR_SET_NO_NEW_PRIVS."""

    why: str

    def describe(self) -> str:
        return "setpriv --no-new-privs"

    def apply(self, context: Context) -> None:
        process.set_no_new_privileges()


@dataclass(frozen=True, slots=True)
class DieWithKeeper:
    """When the keeper is killed, the container goes too: nobody would be left to keep its log and exit status."""

    why: str

    def describe(self) -> str:
        return "setpriv --pdeathsig KILL"

    def apply(self, context: Context) -> None:
        process.set_death_signal(9)


@dataclass(frozen=True, slots=True)
class FindProgram:
    """Look the program up as the user who will run it."""

    name: str
    why: str

    def describe(self) -> str:
        return f"command -v {self.name[:_SHOWN]}"

    def apply(self, context: Context) -> None:
        context.program = find_program(self.name, context.environment.get("PATH", _DEFAULT_PATH))


@dataclass(frozen=True, slots=True)
class CloseRest:
    """No descriptor but the program's own outlives an execve: close_range(2).

    Ours never do; what our caller forgot to close would be a door out of the container (CVE-2024-21626). It comes before
    a filter that may forbid the call.
    """

    kept_fds: int
    """How many from 3 on are the program's."""
    why: str

    def describe(self) -> str:
        return f"close_range {3 + self.kept_fds}- at exec"

    def apply(self, context: Context) -> None:
        process.close_on_exec_from(3 + self.kept_fds)


@dataclass(frozen=True, slots=True)
class Execute:
    """Become the program: execve(2). What follows is the container's own."""

    args: tuple[str, ...]
    why: str

    def describe(self) -> str:
        text = "exec " + " ".join(self.args)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"

    def apply(self, context: Context) -> None:
        try:
            os.execve(context.program, self.args, context.environment)
        except OSError as error:
            code = _EXEC_CODES.get(error.errno or 0, "exec.failed")
            failure = cannot_execute(self.args[0], code, (error.strerror or "").lower(), error.errno or 0)
            failure.facts["call"] = "execve"
            raise failure from error


def find_program(name: str, path: str) -> str:
    """The file to execute, as a shell finds it; StartFailed in Docker's words when there is none."""
    if "/" in name:
        _check_program(name, name)
        return name
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK, effective_ids=True):
            return candidate
    raise cannot_execute(name, "exec.not-in-path", "executable file not found in $PATH", errno.ENOENT)


def _check_program(name: str, path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        code = "exec.permission" if error.errno == errno.EACCES else "exec.no-such-file"
        raise cannot_execute(name, code, f"stat {path}: {(error.strerror or '').lower()}", error.errno or 0) from error
    if stat.S_ISDIR(mode):
        raise cannot_execute(name, "exec.directory", "is a directory", errno.EISDIR)
    if not os.access(path, os.X_OK, effective_ids=True):
        raise cannot_execute(name, "exec.permission", "permission denied", errno.EACCES)


_EXEC_CODES = {
    errno.ENOENT: "exec.interpreter",  # the file is there: its interpreter or loader is not
    errno.EACCES: "exec.permission",
    errno.EPERM: "exec.permission",
    errno.ENOEXEC: "exec.format",
}


def cannot_execute(name: str, code: str, reason: str, number: int) -> StartFailed:
    """The failure that the docker CLI turns into exit code 126 or 127."""
    return StartFailed("execute", name, reason, code=code, facts={"command": name, "reason": reason, "errno": number})
