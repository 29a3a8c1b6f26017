"""Steps by which one of our processes gets into a container that runs. Loaded when one is entered only.

Until the last of them the container can neither see nor trace the process: it is in none of the container's pid
namespaces, and its memory cannot be read. You come from `entry`, whose plan has the order; read next: `enter`.
"""

from __future__ import annotations

import errno
import os

from onggi import documents
from onggi.errors import KernelError, StartFailed
from onggi.kernel import process, sockets
from onggi.kernel.cgroup.detect import here
from onggi.kernel.cgroup.limits import Write, write
from onggi.kernel.flags import Clone
from onggi.runtime import sync
from onggi.runtime.steps import Context
from onggi.values import dataclass

_WORDS = {
    Clone.NEWUSER: "--user",
    Clone.NEWNS: "--mount",
    Clone.NEWUTS: "--uts",
    Clone.NEWIPC: "--ipc",
    Clone.NEWNET: "--net",
    Clone.NEWCGROUP: "--cgroup",
    Clone.NEWTIME: "--time",
    Clone.NEWPID: "--pid",
}


@dataclass(frozen=True, slots=True)
class Hide:
    """No process with fewer rights may trace us or look at our descriptors, from here to the execve."""

    why: str

    def describe(self) -> str:
        return "prctl PR_SET_DUMPABLE 0"

    def apply(self, context: Context) -> None:
        process.set_not_dumpable()


@dataclass(frozen=True, slots=True)
class JoinGroups:
    """Enter the container's groups, or groups below them; v2's only if we were not born there (CLONE_INTO_CGROUP).

    In v2 nobody can enter a group that hands controllers to groups below it, and the container's first process may have
    moved away from one that is gone since: then it is the group that this process is in now.
    """

    writes: tuple[Write, ...]
    unified: str
    """The top of the v2 tree."""
    container: int
    """The container's first process; 0 when the groups were named and no others will do."""
    why: str

    def describe(self) -> str:
        return "; ".join(f"echo $$ > {item.directory}/cgroup.procs" for item in self.writes)

    def apply(self, context: Context) -> None:
        for item in self.writes:
            in_tree = bool(self.unified) and item.directory.startswith(self.unified)
            if in_tree and context.born_inside:
                continue
            try:
                write(item.directory, item.file, item.value)
            except KernelError as error:
                if not (in_tree and self.container and error.errno in (errno.ENOENT, errno.EBUSY)):
                    raise _not_added(item.directory, error) from error
                self._follow(item.file)

    def _follow(self, file: str) -> None:
        directory = self.unified + here(self.container).get("", "/")
        try:
            write(directory, file, "0")
        except KernelError as error:
            raise _not_added(directory, error) from error


def _not_added(directory: str, error: KernelError) -> StartFailed:
    cause = f"error adding pid {os.getpid()} to cgroups: {(error.strerror or '').lower()}"
    return StartFailed("join cgroup", directory, cause, facts={"errno": error.errno or 0})


@dataclass(frozen=True, slots=True)
class EnterNamespaces:
    """setns(2) by a pidfd: all of the container's namespaces at once, its user namespace first.

    They are those of the very process that the pidfd stands for, whoever has its number by now. A pid namespace takes
    nobody in: it is where our next child will be born.
    """

    flags: Clone
    why: str

    def describe(self) -> str:
        return f"nsenter --target $CONTAINER {' '.join(word for flag, word in _WORDS.items() if self.flags & flag)}"

    def apply(self, context: Context) -> None:
        try:
            process.setns(context.container, self.flags)
        except KernelError as error:
            if error.errno == errno.ESRCH:
                raise StartFailed("enter", "container", "its first process has just ended") from error
            raise
        os.close(context.container)


@dataclass(frozen=True, slots=True)
class FindRoot:
    """The root of the mount namespace that we are in now, by descriptor."""

    why: str

    def describe(self) -> str:
        return "exec 3< /"

    def apply(self, context: Context) -> None:
        context.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


@dataclass(frozen=True, slots=True)
class Bear:
    """The process itself: born in the container's pid namespace, as the child of whoever asked for it.

    From here on the container can see it. It waits until its parent knows of it; who came this far with it goes.
    """

    why: str

    def describe(self) -> str:
        return "fork"

    def apply(self, context: Context) -> None:
        assert context.keeper is not None
        pid, pidfd = process.clone(Clone(0), for_parent=True)
        if pid:
            sockets.send_descriptors(context.keeper, documents.dumps({"born": pid}), [pidfd])
            os._exit(0)
        sync.wait_go(context.keeper, "born")
