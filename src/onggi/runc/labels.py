"""Labels and profiles that a bundle asks for, and that this kernel may not know. Loaded with a bundle that has one only.

Who asks to be confined and is not must be told: a process's profile or label is refused where the kernel cannot apply it.
A label of mounts is told of and left out, since without SELinux nothing ever looks at it. Callers: `bundle`, `exec`. Read
next: `runtime/labels`.
"""

from __future__ import annotations

from onggi.errors import Unavailable
from onggi.kernel import lsm
from onggi.oci.runtime import Process
from onggi.values import replace

_UNCONFINED = "unconfined"
"""AppArmor's word for no profile: what everybody is where there is no AppArmor."""


def of_process(process: Process) -> Process:
    """The process with what is to be applied; Unavailable names the label that this kernel cannot apply."""
    profile, label = process.apparmor_profile, process.selinux_label
    if label and not lsm.has_selinux():
        cause = "selinux label is specified in config, but selinux is disabled or not supported"
        raise Unavailable("run process with", f"process.selinuxLabel: {label}", cause)
    if not profile or lsm.has_apparmor():
        return process
    if profile != _UNCONFINED:
        cause = "apparmor profile is specified in config, but apparmor is disabled or not supported"
        raise Unavailable("run process with", f"process.apparmorProfile: {profile}", cause)
    return replace(process, apparmor_profile="")


def of_mounts(label: str) -> tuple[str, tuple[str, ...]]:
    """The label that mounts get, and what the caller should know."""
    if lsm.has_selinux():
        return label, ()
    return "", (f"linux.mountLabel {label} is left out: selinux is disabled or not supported",)
