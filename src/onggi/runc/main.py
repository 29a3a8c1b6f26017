"""`onggi-oci`: the runc command line over the runtime specification.

The table of the commands and their flags, the reading of words, and how a failure is told; each command's module is
imported when it is called, and imports as little as it needs: what this costs is part of every container's start. You come
from a shell, podman, containerd or CRI-O; the next door is `create`.
"""

from __future__ import annotations

import os
import sys

from onggi.errors import Invalid, OnggiError, Unsupported
from onggi.runc.words import Options, log_file, read_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

NAME = os.environ.pop("ONGGI_OCI_AS", "") or sys.argv[0].rpartition("/")[2]
"""What we were called as. Who puts us in the place of `runc` or `crun` has callers that ask for the name."""
if NAME not in ("runc", "crun"):
    NAME = "onggi-oci"

_GLOBAL = {
    "root": "DIR",
    "log": "FILE",
    "log-format": "text|json",
    "debug": "",
    "systemd-cgroup": "",
    "cgroup-manager": "cgroupfs|systemd|disabled",
    "rootless": "true|false|auto",
    "criu": "PATH",
    "version": "",
    "help": "",
}
_GLOBAL_SHORT = {"v": "version", "h": "help"}
_OF_CREATE = {
    "bundle": "DIR",
    "config": "FILE",
    "console-socket": "PATH",
    "pidfd-socket": "PATH",
    "pid-file": "FILE",
    "no-pivot": "",
    "no-new-keyring": "",
    "preserve-fds": "N",
    "no-subreaper": "",
}
_OF_UPDATE = {
    "resources": "FILE|-",
    **dict.fromkeys(("memory", "memory-reservation", "memory-swap", "kernel-memory", "kernel-memory-tcp"), "BYTES"),
    **dict.fromkeys(("cpu-period", "cpu-quota", "cpu-burst", "cpu-rt-period", "cpu-rt-runtime"), "MICROSECONDS"),
    **dict.fromkeys(("cpu-share", "cpu-idle", "blkio-weight", "pids-limit"), "N"),
    **dict.fromkeys(("cpuset-cpus", "cpuset-mems"), "LIST"),
    **dict.fromkeys(("l3-cache-schema", "mem-bw-schema"), "SCHEMA"),
}
_OF_BOTH = {
    "image-path": "DIR",
    "work-path": "DIR",
    "tcp-established": "",
    "ext-unix-sk": "",
    "shell-job": "",
    "file-locks": "",
    "lazy-pages": "",
    "auto-dedup": "",
    "empty-ns": "network",
    "manage-cgroups-mode": "soft|full|strict|ignore",
}
"""Of checkpoint and restore."""
# command: module, what it does, its words (last "…": words of its own follow, flags among them), its flags (with what
# they take), their short names
COMMANDS: dict[str, tuple[str, str, str, dict[str, str], dict[str, str]]] = {
    "create": (
        "create",
        "make a container from a bundle; it waits for start",
        "ID",
        _OF_CREATE,
        {"b": "bundle", "f": "config"},
    ),
    "run": (
        "create",
        "create and start a container",
        "ID",
        {**_OF_CREATE, "detach": "", "keep": ""},
        {"b": "bundle", "f": "config", "d": "detach"},
    ),
    "start": ("create", "let a created container's program begin", "ID", {}, {}),
    "exec": (
        "exec",
        "execute one more process in a container that runs",
        "ID [COMMAND] …",
        {
            "process": "FILE",
            "cwd": "DIR",
            "env": "NAME=VALUE",
            "user": "UID[:GID]",
            "additional-gids": "GID",
            "tty": "",
            "detach": "",
            "pid-file": "FILE",
            "console-socket": "PATH",
            "pidfd-socket": "PATH",
            "process-label": "LABEL",
            "apparmor": "PROFILE",
            "no-new-privs": "",
            "cap": "CAPABILITY",
            "preserve-fds": "N",
            "cgroup": "[CONTROLLER:]PATH",
            "ignore-paused": "",
        },
        {
            "p": "process",
            "e": "env",
            "u": "user",
            "g": "additional-gids",
            "t": "tty",
            "d": "detach",
            "c": "cap",
        },
    ),
    "checkpoint": (
        "checkpoint",
        "write a running container to images, by CRIU",
        "ID",
        {
            **_OF_BOTH,
            "parent-path": "DIR",
            "leave-running": "",
            "pre-dump": "",
            "tcp-skip-in-flight": "",
            "link-remap": "",
            "page-server": "ADDRESS:PORT",
            "status-fd": "N",
        },
        {},
    ),
    "restore": (
        "restore",
        "make a container from images, by CRIU",
        "ID",
        {
            **_OF_BOTH,
            "bundle": "DIR",
            "console-socket": "PATH",
            "pid-file": "FILE",
            "detach": "",
            "no-subreaper": "",
            "no-pivot": "",
            "lsm-profile": "TYPE:NAME",
            "lsm-mount-context": "CONTEXT",
        },
        {"b": "bundle", "d": "detach"},
    ),
    "ps": ("ps", "a container's processes", "ID [WORDS] …", {"format": "table|json"}, {"f": "format"}),
    "state": ("show", "what is known of a container, as JSON", "ID", {}, {}),
    "list": ("show", "all containers", "", {"format": "table|json", "quiet": ""}, {"f": "format", "q": "quiet"}),
    "kill": ("kill", "send a signal to a container's first process (TERM)", "ID [SIGNAL]", {"all": ""}, {"a": "all"}),
    "delete": (
        "kill",
        "remove what a container left",
        "ID",
        {"force": "", "regex": ""},
        {"f": "force", "r": "regex"},
    ),
    "update": ("update", "change a running container's limits", "ID", _OF_UPDATE, {"r": "resources"}),
    "pause": ("freeze", "stop all processes of a container", "ID", {}, {}),
    "resume": ("freeze", "let the processes of a paused container go on", "ID", {}, {}),
    "spec": ("show", "write a config.json to begin with", "", {"bundle": "DIR", "rootless": ""}, {"b": "bundle"}),
    "features": ("show", "what this runtime can do, as JSON", "", {}, {}),
}
_ENTERING = ("create", "run", "exec", "restore")
"""The commands that make a process inside a container, so that the interpreter must be out of its reach."""


def main() -> NoReturn:
    """The console script: parse, do, exit."""
    options = Options({})
    command = ""
    sys.argv[0] = NAME
    try:
        options, words = read_words(sys.argv[1:], _GLOBAL, _GLOBAL_SHORT, NAME, anywhere=False)
        command = words[0] if words else ""
        status = _dispatch(options, words)
    except OnggiError as error:
        status = _complain(error, options, command)
    except OSError as error:
        status = _complain(OnggiError("run", "onggi-oci", str(error)), options, command)
    except KeyboardInterrupt:
        status = 130
    except Exception as error:  # noqa: BLE001 - the last frame: a fault of ours is told like any other, in the log, too
        status = _complain(OnggiError("run", command, f"{type(error).__name__}: {error}"), options, command)
    sys.stdout.flush()
    _renew()
    os._exit(status)  # the interpreter's own end takes as long as a container's start


def _renew() -> None:
    ahead = sys.modules.get("onggi.runc.ahead")
    if ahead:
        ahead.renew()


def _dispatch(options: Options, words: list[str]) -> int:
    if options.has("version"):
        return _version()
    if options.has("help") or not words or words[0] in ("help", "h"):
        return _help(words[1:])
    command, *rest = words
    if command not in COMMANDS:
        return _help([command])
    module, _, usage, flags, short = COMMANDS[command]
    given, positional = read_words(
        rest, {**flags, "help": ""}, {**short, "h": "help"}, command, anywhere=not usage.endswith("…")
    )
    if given.has("help"):
        return _help([command])
    check_count(command, usage, positional)
    _check_global(options)
    if command in _ENTERING:
        from onggi.runc.enclosed import ensure

        ensure()
    loaded = __import__(f"onggi.runc.{module}", fromlist=[command])
    status: int = getattr(loaded, command.replace("-", "_"))(options, given, *positional)
    return status


def _check_global(options: Options) -> None:
    """What stands before the command; the log can be written, or nothing is begun."""
    if options.get("log-format", "text") not in ("text", "json", ""):
        raise Invalid("read", "--log-format", f"invalid log-format: {options.get('log-format')}")
    if options.get("rootless", "auto") not in ("true", "false", "auto"):
        raise Invalid("read", "--rootless", f"`{options.get('rootless')}` is none of true, false, auto")
    log = log_file(options)
    if log.startswith(("syslog:", "journald:")):
        raise Unsupported("read", "--log", f"`{log}`: a log is a file here", hint="--log FILE")
    if log:
        os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))
    _check_cgroup_manager(options)


def _check_cgroup_manager(options: Options) -> None:
    """crun's name for the choice that `--systemd-cgroup` is."""
    manager = "systemd" if options.has("systemd-cgroup") else options.get("cgroup-manager", "cgroupfs")
    if manager == "systemd":
        raise Unsupported("read", f"--cgroup-manager {manager}", "it is not supported yet")
    if manager not in ("cgroupfs", "disabled"):
        raise Invalid("read", "--cgroup-manager", f"`{manager}` is none of cgroupfs, systemd, disabled")


def check_count(command: str, usage: str, words: list[str]) -> None:
    """Invalid when there are fewer words than the usage names, or more."""
    names = usage.split()
    least = len([name for name in names if name[0] != "[" and name != "…"])
    most = len(names) if "…" not in usage else len(words)
    if not least <= len(words) <= most:
        many = (
            f"exactly {least}"
            if least == most
            else f"a minimum of {least}"
            if least > len(words)
            else f"a maximum of {most}"
        )
        takes = f"it takes {usage}" if usage else "it takes none"
        raise Invalid("run command", command, f'"{command}" requires {many} argument(s): {takes}, not {len(words)}')


def _version() -> int:
    from onggi.runc.usage import version

    sys.stdout.write(version(NAME))
    return 0


def _help(words: list[str]) -> int:
    from onggi.runc.usage import of_all, of_command

    if not words:
        sys.stdout.write(of_all(NAME, COMMANDS, _GLOBAL, _GLOBAL_SHORT))
        return 0
    if words[0] not in COMMANDS:
        sys.stderr.write(f"No help topic for '{words[0]}'\n")
        return 3
    sys.stdout.write(of_command(NAME, words[0], COMMANDS[words[0]]))
    return 0


def _complain(error: OnggiError, options: Options, command: str) -> int:
    """Tell the error on stderr, and in the log that a container manager reads; the exit status."""
    from onggi.runc.logging import complain

    complain(error, options, command)
    return 255 if command == "exec" else 1


if __name__ == "__main__":
    main()
