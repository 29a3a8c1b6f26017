"""`onggi-oci`: the runc command line over the runtime specification, a first, narrow part of it.

`run` in the foreground, `state`, `list`, `kill` and `delete` for what it started, `spec`, `features`. Everything else is
refused by name, with exit status 1. It imports as little as the command at hand needs, and parses its words by itself.
You come from a shell or from a container manager; the next door is `foreground`.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from onggi.errors import Invalid, OnggiError, Unsupported

Options = dict[str, str]

_GLOBAL = {"root": True, "log": True, "log-format": True, "debug": False, "version": False, "help": False}
_GLOBAL_SHORT = {"v": "version", "h": "help"}
_COMMANDS: dict[str, tuple[dict[str, bool], str]] = {
    # command: its flags (does it take a value?), its words
    "run": ({"bundle": True, "pid-file": True, "console-socket": True, "keep": False}, "ID"),
    "state": ({}, "ID"),
    "list": ({"format": True, "quiet": False}, ""),
    "kill": ({"all": False}, "ID [SIGNAL]"),
    "delete": ({"force": False}, "ID"),
    "spec": ({"bundle": True}, ""),
    "features": ({}, ""),
}
_SHORT = {"b": "bundle", "f": "format", "q": "quiet", "a": "all"}
_LATER = ("create", "start", "exec", "pause", "resume", "ps", "events", "checkpoint", "restore", "update")
_ROOT = "/run/onggi-oci"
_USAGE = """\
usage: onggi-oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND …

  run [--bundle DIR] [--pid-file FILE] [--console-socket PATH] [--keep] ID    run a bundle in the foreground
  state ID                            what is known of a container, as JSON
  list [--format table|json] [-q]     all containers
  kill [--all] ID [SIGNAL]            send a signal (TERM)
  delete [--force] ID                 remove what a container left
  spec [--bundle DIR]                 write a config.json to begin with
  features                            what this runtime can do, as JSON
"""


def main() -> NoReturn:
    """The console script: parse, do, exit."""
    options: Options = {}
    try:
        options, words = _parse(sys.argv[1:], _GLOBAL, _GLOBAL_SHORT, "onggi-oci")
        status = _dispatch(options, words)
    except OnggiError as error:
        _complain(error, options)
        status = 1
    except OSError as error:
        _complain(OnggiError("run", "onggi-oci", str(error)), options)
        status = 1
    sys.stdout.flush()
    os._exit(status)  # the interpreter's own end takes as long as a container's start


def _dispatch(options: Options, words: list[str]) -> int:
    if "version" in options:
        from onggi.oci.runtime import VERSION
        from onggi.wire.versions import ONGGI

        _print(f"onggi-oci version {ONGGI}\nspec: {VERSION}")
        return 0
    if "help" in options or not words:
        _print(_USAGE.rstrip())
        return 0 if "help" in options else 1
    command, *rest = words
    if command in _LATER:
        raise Unsupported("run command", command, "it is not supported yet")
    if command not in _COMMANDS:
        raise Invalid("run command", command, "there is no such command", hint="onggi-oci --help")
    flags, usage = _COMMANDS[command]
    short = {**_SHORT, "f": "force"} if command == "delete" else _SHORT
    given, positional = _parse(rest, flags, short, command, anywhere=True)
    least, most = len([word for word in usage.split() if word[0] != "["]), len(usage.split())
    if not least <= len(positional) <= most:
        raise Invalid("run command", command, f"it takes {usage or 'no arguments'}")
    return _do(command, options.get("root", _ROOT), given, positional)


def _do(command: str, root: str, given: Options, words: list[str]) -> int:
    match command:
        case "run":
            return _run(root, given, words[0])
        case "state":
            return _state(root, words[0])
        case "list":
            return _list(root, given)
        case "kill":
            return _kill(root, given, *words)
        case "delete":
            return _delete(root, words[0], force="force" in given)
        case "spec":
            return _spec(given.get("bundle", "."))
        case _:
            from onggi.runtime.documents import features

            return _print_json(features())


def _run(root: str, given: Options, container_id: str) -> int:
    _execute_enclosed()
    from onggi.runtime.foreground import run

    return run(
        os.path.abspath(root),
        container_id,
        given.get("bundle", "."),
        pid_file=given.get("pid-file", ""),
        console_socket=given.get("console-socket", ""),
        keep="keep" in given,
    )


def _execute_enclosed() -> None:
    """Go on as a process whose interpreter no container can write; at once where it is so already."""
    from onggi.runtime.enclosure import enclose, is_enclosed

    if is_enclosed():
        return
    if os.geteuid() != 0:
        hint = "run it as root: containers without root are not supported yet"
        raise Unsupported("run", "onggi-oci", "it needs root", hint=hint)
    enclose()
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, {source!r}); from onggi.runtime.main import main; main()"
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code, *sys.argv[1:]])


def _state(root: str, container_id: str) -> int:
    from onggi.kernel.cgroup.detect import detect
    from onggi.runtime import state

    return _print_json(state.shown(state.read(root, container_id), detect()))


def _list(root: str, given: Options) -> int:
    from onggi.kernel.cgroup.detect import detect
    from onggi.runtime import state

    layout = detect()
    found = [state.shown(kept, layout) for kept in state.every(root)]
    if "quiet" in given:
        _print("\n".join(entry["id"] for entry in found))
    elif given.get("format", "table") == "json":
        _print_json(found)
    elif given.get("format", "table") == "table":
        columns = ("id", "pid", "status", "bundle", "created", "owner")
        rows = [[name.upper() for name in columns], *([str(entry[name]) for name in columns] for entry in found)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
        _print("\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows))
    else:
        raise Invalid("list", "--format", f"{given['format']!r} is neither table nor json")
    return 0


def _kill(root: str, given: Options, container_id: str, name: str = "TERM") -> int:
    import signal

    from onggi.kernel.cgroup.detect import detect
    from onggi.runtime import state

    number = int(name) if name.isdigit() else getattr(signal, "SIG" + name.upper().removeprefix("SIG"), None)
    if number is None or number not in signal.valid_signals():
        raise Invalid("send signal", name, "there is no such signal")
    kept, layout = state.read(root, container_id), detect()
    if "all" in given:
        for pid in layout.pids(kept["cgroup"]):
            os.kill(pid, number)
        return 0
    if state.status(kept, layout) == "stopped":
        raise Invalid("send signal to", container_id, "container not running")
    os.kill(kept["pid"], number)
    return 0


def _delete(root: str, container_id: str, *, force: bool) -> int:
    from onggi.errors import Conflict, NotFound
    from onggi.kernel.cgroup.detect import detect
    from onggi.runtime import state

    try:
        kept, layout = state.read(root, container_id), detect()
    except NotFound:
        if force:
            return 0
        raise
    if state.status(kept, layout) != "stopped" and not force:
        raise Conflict("delete container", container_id, "it is not stopped", hint="onggi-oci delete --force")
    if layout.exists(kept["cgroup"]):
        layout.kill(kept["cgroup"])
        layout.remove(kept["cgroup"])
    state.release(os.path.join(root, container_id))
    return 0


def _spec(bundle: str) -> int:
    import json

    from onggi.errors import Conflict
    from onggi.runtime.documents import example

    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "x") as file:
            file.write(json.dumps(example(), indent=4) + "\n")
    except FileExistsError as error:
        raise Conflict("write", path, "it exists already", hint="remove it first") from error
    return 0


def _parse(
    words: list[str], flags: dict[str, bool], short: dict[str, str], command: str, *, anywhere: bool = False
) -> tuple[Options, list[str]]:
    """Flags and the words after them; `anywhere`: between them, too. Invalid names what is not known."""
    options: Options = {}
    rest: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            return options, rest + words
        if not word.startswith("-") or word == "-":
            if not anywhere:
                return options, [word, *words]
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = short.get(name, name) if not word.startswith("--") else name
        if name not in flags:
            raise Unsupported("read options of", command, f"{word.partition('=')[0]} is not supported")
        if flags[name] and not equals:
            if not words:
                raise Invalid("read options of", command, f"--{name} needs a value")
            value = words.pop(0)
        options[name] = value
    return options, rest


def _complain(error: OnggiError, options: Options) -> None:
    """The error on stderr, and in the log that a container manager reads."""
    text = f"{error}" + (f"\nhint: {error.hint}" if error.hint else "")
    sys.stderr.write(f"onggi-oci: {text}\n")
    if "log" not in options:
        return
    import json
    import time

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options.get("log-format") == "json":
        line = json.dumps({"level": "error", "msg": str(error), "time": now})
    else:
        line = f'time="{now}" level=error msg={json.dumps(str(error))}'
    with open(options["log"], "a") as file:
        file.write(line + "\n")


def _print(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")


def _print_json(document: Any) -> int:
    import json

    _print(json.dumps(document, indent=2))
    return 0


if __name__ == "__main__":
    main()
