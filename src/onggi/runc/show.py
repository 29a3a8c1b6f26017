"""`state`, `list`, `spec`, `features`: what is known, printed. Callers: `main`. Read next: `state`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from onggi.errors import Conflict, Invalid
from onggi.kernel.cgroup.detect import detect
from onggi.runc import documents
from onggi.runc import state as kept_state
from onggi.runc.words import Options

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def state(options: Options, _given: Options, container_id: str) -> int:
    """`onggi-oci state ID`."""
    return _print_json(kept_state.shown(kept_state.read(kept_state.root(options), container_id), detect()))


def list(options: Options, given: Options) -> int:
    """`onggi-oci list [--format table|json] [-q]`."""
    layout = detect()
    found = [kept_state.shown(kept, layout) for kept in kept_state.every(kept_state.root(options))]
    style = given.get("format", "table")
    if given.has("quiet"):
        sys.stdout.write("".join(f"{entry['id']}\n" for entry in found))
    elif style == "json":
        sys.stdout.write(json.dumps(found or None) + "\n")
    elif style == "table":
        rows = [[name.upper() for name in _COLUMNS], *([str(entry[name]) for name in _COLUMNS] for entry in found)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
        sys.stdout.write("".join("   ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows))
    else:
        raise Invalid("list", "--format", f"invalid format option: {style!r} is neither table nor json")
    return 0


def spec(_options: Options, given: Options) -> int:
    """`onggi-oci spec [--bundle DIR]`."""
    path = os.path.join(given.get("bundle", "."), "config.json")
    try:
        with open(path, "x") as file:
            file.write(json.dumps(documents.example(private_cgroup=detect().mode == "v2"), indent=4) + "\n")
    except FileExistsError as error:
        raise Conflict("write", path, "it exists already", hint="remove it first") from error
    return 0


def features(_options: Options, _given: Options) -> int:
    """`onggi-oci features`."""
    return _print_json(documents.features())


def _print_json(document: Any) -> int:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0
