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
    "additional-gids": "one more group of the process",
    "all": "to every process of the container, or to those that are left of one that has ended",
    "apparmor": "the process's AppArmor profile",
    "auto-dedup": "drop memory pages that a later image holds as well",
    "blkio-weight": "weight of block I/O, 10 to 1000",
    "bundle": "the bundle's directory (default: the current one)",
    "cap": "one more capability of the process",
    "cgroup": "join a group below the container's",
    "cgroup-manager": "who makes the groups (crun's flag)",
    "config": "the configuration's name in the bundle, or its whole path (crun's flag)",
    "console-socket": "a unix socket that is sent the terminal's master",
    "cpu-burst": "microseconds that may be saved up, v2 and v1",
    "cpu-idle": "1: only when nobody else wants a processor",
    "cpu-period": "microseconds of the period that the quota belongs to",
    "cpu-quota": "microseconds of processor time in each period",
    "cpu-rt-period": "microseconds of the period for real-time processes",
    "cpu-rt-runtime": "microseconds for real-time processes in each period",
    "cpu-share": "weight of processor time against other containers",
    "cpuset-cpus": "processors, as `0-3,6`",
    "cpuset-mems": "memory nodes, as `0-3,6`",
    "criu": "ignored, as runc does: criu is found in $PATH",
    "cwd": "the process's working directory",
    "debug": "log every step that is carried out",
    "detach": "do not wait for the end",
    "empty-ns": "make this namespace without restoring what was in it",
    "env": "one more variable of the process",
    "ext-unix-sk": "allow unix sockets whose other end is outside",
    "file-locks": "keep file locks",
    "force": "a container that still runs is killed first; one that is not there is no error",
    "format": "table or json",
    "help": "show help",
    "ignore-paused": "also in a container that is paused",
    "image-path": "where the image is (default: ./checkpoint)",
    "interval": "time between two rows (default: 5s)",
    "keep": "do not delete the container when it has ended",
    "kernel-memory": "ignored, as the kernel does",
    "kernel-memory-tcp": "bytes of TCP buffers, v1",
    "l3-cache-schema": "the class's share of the cache (Intel RDT)",
    "lazy-pages": "fetch memory when it is touched",
    "leave-running": "let the container go on afterwards",
    "link-remap": "give files a name again that have none",
    "log": "where to log (default: standard error)",
    "log-format": "text or json",
    "lsm-mount-context": "the mounts' label after the restore",
    "lsm-profile": "the processes' label after the restore, TYPE:NAME",
    "manage-cgroups-mode": "what becomes of groups: soft, full, strict or ignore",
    "mem-bw-schema": "the class's share of memory bandwidth (Intel RDT)",
    "memory": "bytes of memory",
    "memory-reservation": "bytes of memory below which nothing is taken back",
    "memory-swap": "bytes of memory and swap; -1 for no limit",
    "network-lock": "how the network is held meanwhile (crun's flag)",
    "no-new-keyring": "the container keeps the caller's session keyring",
    "no-new-privs": "no set-user-ID program raises the process's rights",
    "no-pivot": "leave the host's root by a move of the mount and chroot(2), for a root on a ramdisk",
    "no-subreaper": "orphans of the container are not the runtime's children",
    "page-server": "ADDRESS:PORT of who takes the memory pages",
    "parent-path": "an earlier image that this one builds on",
    "pid-file": "a file for the process's pid",
    "pidfd-socket": "a unix socket that is sent a pidfd of the process",
    "pids-limit": "how many processes; -1 for no limit",
    "pre-dump": "only the memory, and let the container go on",
    "preserve-fds": "so many descriptors, from 3 on, are the container's (default: 0)",
    "process": "a file with the whole process, as in config.json",
    "process-label": "the process's SELinux label",
    "quiet": "ids only",
    "regex": "every container whose id matches (crun's flag)",
    "resources": "a file with linux.resources, `-` for standard input",
    "root": "where states of containers are kept (default: /run/onggi-oci)",
    "rootless": "for a user who is not root: `spec` writes such a configuration",
    "shell-job": "allow a terminal that is not the container's own",
    "stats": "one row, and no more",
    "status-fd": "a descriptor that is written to when memory can be fetched",
    "systemd-cgroup": "the groups are systemd's, cgroupsPath is slice:prefix:name",
    "tcp-close": "connections are closed after the restore (crun's flag)",
    "tcp-established": "keep connections that are open",
    "tcp-skip-in-flight": "leave out connections that are just being made",
    "tty": "give the process a terminal",
    "user": "the process's user and group",
    "version": "show the version",
    "work-path": "where logs and temporary files go",
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
