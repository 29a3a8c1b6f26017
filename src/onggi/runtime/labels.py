"""Steps that say under which profile or label of a security module the program runs. Loaded with a plan that has one only.

Both modules are told by a file of the process's own in /proc, and from the execve on it holds. The file must be the
kernel's: whoever could put another in its place would have a container without its profile, or make us write elsewhere
(CVE-2019-16884, CVE-2023-28642, CVE-2025-52881). You come from `becoming`; read next: `kernel/procfs`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError, StartFailed
from onggi.kernel import procfs
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class SetProfile:
    """AppArmor: the program runs under this profile (aa_change_onexec(2))."""

    profile: str
    why: str

    def describe(self) -> str:
        return f"aa-exec -p {self.profile}"

    def apply(self, context: Context) -> None:
        try:
            _write(context, ("attr/apparmor/exec", "attr/exec"), f"exec {self.profile}")
        except OSError as error:
            known = {errno.ENOENT: "no such profile is loaded", errno.EACCES: "it may not be changed to from ours"}
            cause = known.get(error.errno or 0, error.strerror or str(error))
            raise StartFailed(
                "apply apparmor profile",
                self.profile,
                f"unable to apply apparmor profile: {cause}",
                hint="apparmor_parser -r FILE loads one; aa-status lists them",
                facts={"errno": error.errno or 0},
            ) from error


@dataclass(frozen=True, slots=True)
class SetLabel:
    """SELinux: the label of the program, or of the keys that are made until then (setexeccon(3), setkeycreatecon(3)).

    Both are the kernel's to forget when the program is executed.
    """

    label: str
    file: str
    """`exec` or `keycreate`."""
    why: str

    def describe(self) -> str:
        return f"echo {self.label} > /proc/self/attr/{self.file}"

    def apply(self, context: Context) -> None:
        try:
            _write(context, (f"attr/{self.file}",), self.label)
        except OSError as error:
            cause = f"can't set process label: {error.strerror or error}"
            raise StartFailed("set selinux label", self.label, cause, facts={"errno": error.errno or 0}) from error


def _write(context: Context, paths: tuple[str, ...], text: str) -> None:
    """Into the first of the process's own files that this kernel has."""
    for path in paths:
        try:
            procfs.write(context.proc, f"{os.getpid()}/{path}", text.encode())
        except KernelError as error:  # before Linux 5.8 the modules share the one file
            if error.errno == errno.ENOENT and path != paths[-1]:
                continue
            raise
        return
