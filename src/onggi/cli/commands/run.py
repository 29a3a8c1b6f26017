"""`onggi run`: make a container and run a command in it. The first of the eight rooms.

```
 create ──► attach (hijack) ──► wait ──► start ──► carry streams ──► exit code
```
`attach` and `wait` come before `start`, so that not a byte and not a quick end is missed.
You came from `cli/main`. Next door: `api/routes/containers`.
"""

from __future__ import annotations

import os
import sys

from onggi.cli import container_config, foreground, output
from onggi.cli.client import with_query
from onggi.cli.container_flags import FLAGS
from onggi.cli.failure import CommandFailed, EngineSaidNo
from onggi.cli.flags import Command, Flag
from onggi.cli.starting import NOT_RUN, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Make a container from an image and run a command in it.",
    (
        Flag("detach", bool, "leave it running in the background and print its id", short="d"),
        *FLAGS,
        Flag("sig-proxy", bool, "hand signals on to it", default=True),
        Flag("detach-keys", str, "the keys that leave it running (ctrl-p,ctrl-q)"),
        Flag("dry-run", bool, "print what would be done, step by step, and why; do nothing"),
        Flag("explain", bool, "afterwards print what was done and how long it took"),
    ),
    arguments=(1, None),
    interspersed=False,
    epilog="IMAGE `hello` is made on the spot; `host` is this machine's own files below a throw-away layer.",
)
_SHOWN = ("hello", "hello:latest")
"""The images that are run to see what a container is."""


def run(engine: Engine, parsed: Parsed) -> int:
    """Run it; the container's exit status, or 125, 126, 127 when it could not be started, as Docker has them."""
    config = container_config.body(parsed, attached=not parsed["detach"])
    if parsed["tty"] and parsed["interactive"] and not parsed["detach"] and not os.isatty(0):
        raise CommandFailed("use stdin as a terminal: it is none", hint="leave out -t, or give it a terminal", status=1)
    if parsed["dry-run"]:
        from onggi.cli import glass

        return glass.show_plan(engine, config)
    shows = parsed["explain"] or (parsed.arguments[0] in _SHOWN and not parsed["detach"])
    removes_here = shows and parsed["rm"] and not parsed["detach"]
    if removes_here:
        config["HostConfig"]["AutoRemove"] = False  # what is gone cannot be shown: removed below instead
    identifier = create(engine, parsed, config)
    if parsed["detach"]:
        start(engine, identifier)
        print(identifier)
        status = 0
    else:
        condition = "removed" if parsed["rm"] and not removes_here else "next-exit"
        status = _foreground(engine, parsed, identifier, condition)
    if shows:
        _show(engine, parsed, identifier, removes=removes_here)
    return status


def _show(engine: Engine, parsed: Parsed, identifier: str, *, removes: bool) -> None:
    from onggi.cli import glass

    try:
        if parsed["explain"]:
            glass.show_explain(engine, identifier)
        else:
            glass.show_isolation(engine, identifier)
    finally:
        if removes:
            _forget(engine, identifier)


def create(engine: Engine, parsed: Parsed, config: dict[str, Any]) -> str:
    """Create the container and return its id; the cidfile is written, warnings are shown."""
    cidfile = parsed["cidfile"]
    if cidfile and os.path.lexists(cidfile):
        raise CommandFailed(f"write `{cidfile}`: it exists", hint="remove it, or name another file", status=NOT_RUN)
    path = with_query("/containers/create", {"name": parsed["name"], "platform": parsed["platform"]})
    try:
        created = engine.call("POST", path, config)
    except EngineSaidNo as refused:
        refused.status = NOT_RUN
        if refused.code == 404 and "image" in refused.message.lower():
            refused.hint = refused.hint or _image_hint(config["Image"])
        raise
    for warning in created.get("Warnings") or []:
        output.warn(warning)
    identifier: str = created["Id"]
    if cidfile:
        with open(cidfile, "x", encoding="ascii") as file:
            file.write(identifier)
    return identifier


def _image_hint(image: str) -> str:
    return (
        f"`onggi pull` is still to come; bring `{image}` with `onggi load -i FILE` (an archive of `docker save`), "
        "or try the built-in images: onggi run hello"
    )


def _foreground(engine: Engine, parsed: Parsed, identifier: str, condition: str) -> int:
    query = {
        "stream": True,
        "stdin": parsed["interactive"],
        "stdout": True,
        "stderr": True,
        "detachKeys": parsed["detach-keys"],
    }
    # Both questions are on their way before either answer is waited for.
    attached = engine.send("POST", with_query(f"/containers/{identifier}/attach", query), upgrade=True)
    waiting = engine.send("POST", with_query(f"/containers/{identifier}/wait", {"condition": condition}))
    attached.answer()
    ending = waiting.answer()
    session = foreground.Session(
        engine, f"/containers/{identifier}", attached, tty=parsed["tty"], stdin=parsed["interactive"]
    )
    try:
        detached = session.carry(
            lambda: start(engine, identifier), proxy=parsed["sig-proxy"], detach_keys=parsed["detach-keys"]
        )
    except CommandFailed:
        if parsed["rm"]:
            _forget(engine, identifier)
        raise
    if detached:
        print(file=sys.stderr)
        return 0
    return foreground.exit_code(waiting, ending)


def _forget(engine: Engine, identifier: str) -> None:
    """Remove it, if it is still there; after a failed start the error of the start is the one to show."""
    try:
        engine.call("DELETE", with_query(f"/containers/{identifier}", {"force": True, "v": True}))
    except EngineSaidNo as refused:
        if refused.code not in (404, 409):
            output.warn(refused.message)
