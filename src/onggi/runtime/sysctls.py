"""Kernel parameters of the container's namespaces: which it may set, and the step that does. Loaded with some only.

/proc/sys is one tree for the whole machine, of which the namespaces have a few leaves of their own. Anything else would
change the host, so it is refused. You come from `plan` and `runc/validate`; read next: `kernel/procfs`. See
namespaces(7), sysctl(8), sysctl.d(5).
"""

from __future__ import annotations

from onggi.errors import Invalid
from onggi.kernel import procfs
from onggi.runtime.steps import Context
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_IPC = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """A kernel parameter of one of the container's namespaces, written through a procfs of its own."""

    key: str
    value: str
    why: str

    def describe(self) -> str:
        return f"sysctl -w {self.key}={self.value}"

    def apply(self, context: Context) -> None:
        procfs.write(context.proc, path(self.key), self.value.encode())


def path(key: str) -> str:
    """The parameter's file below /proc; Invalid for what is no name of one.

    As sysctl(8) has it the first of `.` and `/` in a key is what separates the names, so `net/ipv4/conf/eth0.1/forwarding`
    has a dot in a name; with dots for separators that is written as a slash.
    """
    dot, slash = key.find("."), key.find("/")
    parts = key.split("/") if slash >= 0 and (dot < 0 or slash < dot) else _swapped(key).split("/")
    if not all(part not in ("", ".", "..") for part in parts):
        raise Invalid("set", key, f'sysctl "{key}" is not the name of a parameter')
    return "/".join(("sys", *parts))


def is_of_network(key: str) -> bool:
    """Whether the network namespace has it."""
    return key.startswith(("net.", "net/"))


def check(wanted: Mapping[str, object], namespaces: Mapping[str, str], is_host_network: Callable[[str], bool]) -> None:
    """Invalid names the first parameter that is the host's.

    `namespaces`: kind to path, empty for a new one; `is_host_network` tells whether a path's network is the caller's own.
    """
    for key in wanted:
        name = _swapped(path(key).removeprefix("sys/"))
        cause = _why_not(name, namespaces, is_host_network)
        if cause:
            raise Invalid("set", key, cause)


def _swapped(text: str) -> str:
    return text.translate({ord("."): "/", ord("/"): "."})


def _why_not(name: str, namespaces: Mapping[str, str], is_host_network: Callable[[str], bool]) -> str:
    if name in _IPC or name.startswith("fs.mqueue."):
        return "" if "ipc" in namespaces else f'sysctl "{name}" is not allowed in the hosts ipc namespace'
    if name.startswith("net."):
        joined = namespaces.get("network")
        host = joined is None or (joined != "" and is_host_network(joined))
        return f'sysctl "{name}" not allowed in host network namespace' if host else ""
    if name.startswith("user."):
        return "" if "user" in namespaces else f"setting ucounts without a user namespace not allowed: {name}"
    if "uts" in namespaces and name == "kernel.hostname":
        return f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field'
    if "uts" in namespaces and name == "kernel.domainname":
        return ""
    return f'sysctl "{name}" is not in a separate kernel namespace'
