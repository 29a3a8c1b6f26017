"""What `onggi-oci --help` and `--version` say, from the table of the commands. Pure. Caller: `main`.

The form is runc's. Who calls us `crun` gets crun's line first.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Flags: TypeAlias = Mapping[str, str]
    Entry: TypeAlias = tuple[str, str, str, Flags, Flags]

_FLAGS = {
    "all": "to every process of the container, or to those that are left of one that has ended",
    "bundle": "the bundle's directory (default: the current one)",
    "cgroup-manager": "who makes the groups (crun's flag)",
    "config": "the configuration's name in the bundle, or its whole path (crun's flag)",
    "console-socket": "a unix socket that is sent the terminal's master",
    "criu": "ignored, as runc does: criu is found in $PATH",
    "debug": "log every step that is carried out",
    "detach": "do not wait for the container's end",
    "force": "a container that still runs is killed first; one that is not there is no error",
    "format": "table or json",
    "help": "show help",
    "keep": "do not delete the container when it has ended",
    "log": "where to log (default: standard error)",
    "log-format": "text or json",
    "no-new-keyring": "the container keeps the caller's session keyring",
    "no-pivot": "leave the host's root by a move of the mount and chroot(2), for a root on a ramdisk",
    "no-subreaper": "orphans of the container are not the runtime's children",
    "pid-file": "a file for the first process's pid",
    "pidfd-socket": "a unix socket that is sent a pidfd of the first process",
    "preserve-fds": "so many descriptors, from 3 on, are the container's (default: 0)",
    "quiet": "ids only",
    "regex": "every container whose id matches (crun's flag)",
    "root": "where states of containers are kept (default: /run/onggi-oci)",
    "rootless": "for a user who is not root: `spec` writes such a configuration",
    "systemd-cgroup": "the groups are systemd's, cgroupsPath is slice:prefix:name",
    "version": "show the version",
}


def version(name: str) -> str:
    """The lines that container managers read: *NAME version X*, then the specification's (moby, containerd, podman)."""
    from onggi.oci.runtime import VERSION
    from onggi.wire.versions import ONGGI

    return f"{name} version {ONGGI}\ncommit: v{ONGGI}\nspec: {VERSION}\n" + (
        "" if name == "onggi-oci" else "by: onggi-oci\n"
    )


def of_all(name: str, commands: Mapping[str, Entry], flags: Flags, short: Flags) -> str:
    """The overview: what may come before the command, and the commands."""
    width = max(len(command) for command in commands) + 3
    return (
        f"NAME:\n   {name} - Open Container Initiative runtime\n\n"
        f"USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n"
        "COMMANDS:\n"
        + "".join(f"   {command:{width}}{entry[1]}\n" for command, entry in commands.items())
        + f"   {'help, h':{width}}show help, of one command as well\n"
        + "\nGLOBAL OPTIONS:\n"
        + _lines(flags, short)
    )


def of_command(name: str, command: str, entry: Entry) -> str:
    """One command: what it does, its words and flags."""
    _, what, words, flags, short = entry
    shown = words.replace("ID", "<container-id>").replace("…", "[arguments...]")
    crun = f"Usage: crun [OPTION...] {command} {words.replace('ID', 'CONTAINER')}".rstrip() + "\n\n"
    return (
        (crun if name == "crun" else "")
        + f"NAME:\n   {name} {command} - {what}\n\nUSAGE:\n   {name} {command} [command options] {shown}".rstrip()
        + "\n\nOPTIONS:\n"
        + _lines({**flags, "help": ""}, {**short, "h": "help"})
    )


def _lines(flags: Flags, short: Flags) -> str:
    letters = {long: letter for letter, long in short.items()}
    left = [
        f"--{name}" + (f" {value}" if value else "") + (f", -{letters[name]}" if name in letters else "")
        for name, value in flags.items()
    ]
    width = max(map(len, left)) + 2
    told = (f"{word:{width}}" + _FLAGS.get(name, "") for name, word in zip(flags, left, strict=True))
    return "".join(f"   {line.rstrip()}\n" for line in told)
