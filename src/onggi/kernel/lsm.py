"""Which of the kernel's security modules that go by labels are at work here.

Loaded by who asks for a label only. Callers: `runc/labels`, `runc/documents`. Read next: `procfs`. See
Documentation/admin-guide/LSM in the kernel's tree.
"""

from __future__ import annotations

import os

_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_SELINUX = "/sys/fs/selinux/enforce"


def has_apparmor() -> bool:
    """Whether profiles can be applied: the module is compiled in, and was not left out when the machine was booted."""
    try:
        with open(_APPARMOR, "rb") as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether labels mean something: SELinux is on, enforcing or not, and its file system is where it belongs."""
    return os.path.exists(_SELINUX)
