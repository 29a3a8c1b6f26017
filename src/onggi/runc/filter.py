"""`linux.seccomp` of a bundle: its filter compiled and kept, its flags, its listener. Loaded with a bundle that has one only.

Callers: `bundle`, `exec`. Read next: `kernel/seccomp_compiler`.
"""

from __future__ import annotations

import os

from onggi.errors import Invalid
from onggi.kernel import seccomp, seccomp_compiler
from onggi.runtime.request import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Json: TypeAlias = dict[str, Any]
    Filter: TypeAlias = tuple[str, int, Listener | None]

STRICT = "run.oci.seccomp_fail_unknown_syscall"
"""crun's annotation: a profile that names a call that nobody knows is an error."""


def of_config(config: Json, bundle: str, cache: str) -> Filter:
    """The file of the filter, compiled into the directory `cache` unless it is there already; its flags; who answers the
    calls that wait for an answer. Empty and None for a profile that says nothing.
    """
    profile, annotations = config["linux"]["seccomp"], config.get("annotations") or {}
    try:
        return _of_profile(profile, annotations, bundle, cache)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid("read seccomp profile", "linux.seccomp", f"{type(error).__name__}: {error}") from error


def _of_profile(profile: Json, annotations: Json, bundle: str, cache: str) -> Filter:
    if not (profile.get("defaultAction") or profile.get("syscalls")):
        return "", 0, None
    unknown = seccomp_compiler.unknown_calls(profile) if annotations.get(STRICT) == "1" else ()
    if unknown:
        raise Invalid("read seccomp profile", unknown[0], f"unknown system call, and the annotation {STRICT} is 1")
    named = seccomp.listener(profile)
    listener = Listener(_absolute(named[0], bundle), named[1]) if named else None
    flags = seccomp.filter_flags(profile)
    path = os.path.join(cache, f"{seccomp_compiler.digest(profile)}.bpf")
    if not os.path.exists(path):
        _compile(profile, path)
    return path, flags, listener


def _compile(profile: Json, path: str) -> None:
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    new = f"{path}.{os.getpid()}"
    with open(new, "wb") as file:
        file.write(seccomp_compiler.compile_filter(profile))
    os.rename(new, path)


def _absolute(socket: str, bundle: str) -> str:
    """A socket's path; a relative one is the bundle's, and one that begins with `@` is none of a file."""
    return socket if socket[:1] == "@" else os.path.join(bundle, socket)
