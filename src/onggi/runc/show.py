"""`state`, `list`, `spec`, `features`: what is known, printed. Callers: `main`. Read next: `state`."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from onggi.errors import Conflict, Invalid, NotFound
from onggi.kernel.cgroup.detect import detect
from onggi.runc import documents
from onggi.runc import state as kept_state
from onggi.runc.words import Options

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")
_GAP, _NARROWEST = 3, 12
if TYPE_CHECKING:
    Rows = list[list[str]]


def state(options: Options, _given: Options, container_id: str) -> int:
    """`onggi-oci state ID`. Whoever waits for it to succeed waits for a container that can be started."""
    found = kept_state.shown(kept_state.read(kept_state.root(options), container_id), detect())
    if found["status"] == "creating":
        raise NotFound("find container", container_id, "container does not exist yet: it is being created")
    return _print_json(found)


def list(options: Options, given: Options) -> int:
    """`onggi-oci list [--format table|json] [-q]`."""
    layout, root = detect(), kept_state.root(options)
    if options.get("root") and not os.path.isdir(root):
        raise NotFound("list containers of", root, "no such file or directory")
    found = [kept_state.shown(kept, layout) for kept in kept_state.every(root)]
    style = given.get("format", "table")
    if given.has("quiet"):
        sys.stdout.write("".join(f"{entry['id']}\n" for entry in found))
    elif style == "json":
        sys.stdout.write(json.dumps(found or None, separators=(",", ":")) + "\n")
    elif style == "table":
        sys.stdout.write(_table([[str(entry[name]) for name in _COLUMNS] for entry in found]))
    else:
        raise Invalid("list", "--format", f"invalid format option: {style!r} is neither table nor json")
    return 0


def _table(rows: Rows) -> str:
    """The rows below their headings, in columns as wide as runc has them: for scripts that cut."""
    rows = [[name.upper() for name in _COLUMNS], *rows]
    widths = [max(len(row[place]) + _GAP for row in rows) for place in range(len(_COLUMNS) - 1)]
    lines = (
        "".join(cell.ljust(max(width, _NARROWEST)) for cell, width in zip(row, widths, strict=False)) for row in rows
    )
    return "".join(f"{line}{row[-1]}\n" for line, row in zip(lines, rows, strict=True))


def spec(_options: Options, given: Options) -> int:
    """`onggi-oci spec [--bundle DIR] [--rootless]`."""
    path = os.path.join(given.get("bundle", "."), "config.json")
    document = documents.example(v2=detect().mode == "v2")
    if given.has("rootless"):
        document = documents.rootless(document, os.geteuid(), os.getegid())
    try:
        with open(path, "x") as file:
            file.write(json.dumps(document, indent="\t") + "\n")
    except FileExistsError as error:
        raise Conflict("write", path, "file config.json exists", hint="remove it first") from error
    return 0


def features(_options: Options, _given: Options) -> int:
    """`onggi-oci features`."""
    return _print_json(documents.features())


def _print_json(document: Any) -> int:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0
