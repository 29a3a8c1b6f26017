"""The `onggi` command: global flags, then one verb, whose file is imported only when it is called.

You came from `start`. Next door: `commands/run`, the first of the eight rooms of `docs/architecture.md`.
"""

from __future__ import annotations

import os
import sys

from onggi.cli.failure import CommandFailed
from onggi.cli.flags import FLAG_ERROR, Command, Flag, parse, usage_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from onggi.cli.flags import Parsed

VERBS = {
    "run": "make a container and run a command in it",
    "ps": "list containers",
    "logs": "show what a container wrote",
    "exec": "run one more program in a container that runs",
    "attach": "join a running container's terminal or streams",
    "stop": "ask containers to end, then kill them",
    "kill": "send a signal to containers",
    "rm": "remove containers",
    "images": "list images",
    "load": "load images from a tar archive",
    "inspect": "show everything about a container or an image",
    "explain": "show how a container was made, step by step",
    "create": "make a container without starting it",
    "start": "start containers",
    "restart": "stop and start containers",
    "pause": "freeze a container's processes",
    "unpause": "thaw a container's processes",
    "wait": "wait until containers end, print their exit codes",
    "top": "list a container's processes",
    "rename": "give a container another name",
    "tag": "give an image another name",
    "rmi": "remove images",
    "history": "show an image's layers",
    "events": "watch what happens",
    "info": "show the engine and this machine",
    "version": "show the versions of client and engine",
    "engine": "run the engine in the foreground",
}
"""Every verb and what it does; the file is `commands/<verb>.py`."""

# Docker's other words for the same verbs: `onggi container ls`, `onggi image rm`.
_GROUPS = {
    "container": {"ls": "ps", "list": "ps", "ps": "ps", "remove": "rm"},
    "image": {"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi"},
    "system": {"info": "info", "events": "events"},
}
_IMAGE_VERBS = ("load", "inspect", "tag", "history")

_GLOBAL = Command(
    "[OPTIONS] VERB [ARGUMENT...]",
    "A container engine that shows what it does.",
    (
        Flag("host", str, "the engine's socket, as unix:///path (else ONGGI_HOST, else the default)", short="H"),
        Flag("version", bool, "print the client's version", short="v"),
    ),
    arguments=(0, None),
    interspersed=False,
)


def main(words: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _fill_standard_descriptors()
    try:
        status = _dispatch(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except CommandFailed as failure:
        from onggi.cli import output

        output.report(failure)
        return failure.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, not even at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return 141
    return status


def _fill_standard_descriptors() -> None:
    """Open /dev/null where 0, 1 or 2 is closed, or the engine's connection would get that number and their bytes."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    # Python has left None where it found nothing at its start.
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def _dispatch(words: list[str]) -> int:
    try:
        parsed = parse(_GLOBAL, words)
    except CommandFailed as failure:
        failure.hint = "see `onggi --help`"
        raise
    if parsed["version"]:
        from onggi.cli.commands.version import client_version

        print(f"onggi {client_version()}")
        return 0
    if parsed.help or not parsed.arguments or parsed.arguments == ["help"]:
        print(_overview())
        return 0
    verb, rest = _verb(parsed.arguments)
    module = _load(verb)
    command: Command = module.COMMAND
    taken = parse(command, rest)
    if taken.help:
        print(usage_text(command))
        return 0
    if verb == "engine":
        execute: Callable[[str, Parsed], int] = module.execute
        return execute(parsed["host"], taken)
    from onggi.cli.engine import Engine

    run: Callable[[Engine, Parsed], int] = module.run
    return run(Engine(parsed["host"]), taken)


def _verb(words: list[str]) -> tuple[str, list[str]]:
    first, rest = words[0], words[1:]
    if first == "help":
        return _known(rest[0]), ["--help"]
    if first in _GROUPS and rest:
        inner = _GROUPS[first].get(rest[0])
        if inner is None and (first == "container" or (first == "image" and rest[0] in _IMAGE_VERBS)):
            inner = rest[0]
        if inner is None:
            raise CommandFailed(f"run `onggi {first} {rest[0]}`: no such verb", hint="see `onggi --help`")
        return _known(inner), rest[1:]
    return _known(first), rest


def _known(verb: str) -> str:
    if verb in VERBS:
        return verb
    near = [name for name in VERBS if name.startswith(verb[:2])]
    hint = f"did you mean {' or '.join(f'`onggi {name}`' for name in near[:3])}?" if near else "see `onggi --help`"
    raise CommandFailed(f"run `onggi {verb}`: no such verb", hint=hint, status=FLAG_ERROR if verb[:1] == "-" else 1)


def _load(verb: str) -> ModuleType:
    from importlib import import_module

    return import_module(f"onggi.cli.commands.{verb}")


def _overview() -> str:
    width = max(len(verb) for verb in VERBS)
    verbs = [f"  {verb:<{width}}   {summary}" for verb, summary in VERBS.items()]
    return "\n".join([usage_text(_GLOBAL), "", "Verbs:", *verbs, "", "`onggi VERB --help` says more."])
