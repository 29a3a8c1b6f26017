"""The process that loads images: execed by the engine, one load each, so that the engine never forks and never waits.

    python -I -m onggi.store.worker load  --root DATA_ROOT < ARCHIVE
    python -I -m onggi.store.worker receive --root DATA_ROOT            what pulls bring: `receive` says how that goes
    python -I -m onggi.store.worker hello --root DATA_ROOT
    python -I -m onggi.store.worker host  --root DATA_ROOT

On stdout one JSON object a line:

    {"progress": {"id": "0123456789ab", "status": "Loading layer", "current": 4096, "total": 2140160}}     any number
    {"loaded": [{"id": "sha256:…", "names": ["x:latest"]}]}                                                 at the end
    {"error": {…}}                                                                    or this: OnggiError.to_fields()

The exit status is 0 after `loaded`, 1 after `error`. A worker that is killed leaves nothing that counts; the next load,
deletion or start of the engine sweeps it. Callers: `engine/images`. Read next: `load`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

from onggi.errors import Invalid, KernelError, OnggiError
from onggi.store import builtin
from onggi.store.load import load
from onggi.store.receive import Receiver
from onggi.store.source import CHUNK, decompressor, reader_of
from onggi.store.store import Store


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    try:
        verb, root = _parse(sys.argv[1:] if arguments is None else arguments)
        store = Store(root)
        store.prepare()
        if verb == "receive":
            _receive(store)
            return 0
        _say({"loaded": _load(store) if verb == "load" else _make(store, verb)})
    except BrokenPipeError:
        return 1  # whoever started us is gone
    except OnggiError as error:
        _say({"error": error.to_fields()})
    except OSError as error:
        _say({"error": KernelError("load image", str(error.filename or ""), error.errno or 0).to_fields()})
    except MemoryError:
        _say({"error": OnggiError("load image", "", "out of memory").to_fields()})
    else:
        return 0
    return 1


def _parse(arguments: list[str]) -> tuple[str, Path]:
    verbs = ("load", "receive", *builtin.NAMES)
    if len(arguments) != 3 or arguments[0] not in verbs or arguments[1] != "--root":
        raise Invalid("start worker", " ".join(arguments), f"usage: {'|'.join(verbs)} --root DATA_ROOT")
    return arguments[0], Path(arguments[2]).absolute()


def _load(store: Store) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError):  # a file or a socket, or the user's pipes are used up: it works with less too
        fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, CHUNK)
    loaded = load(store, reader_of(0), lambda progress: _say({"progress": progress}))
    return [{"id": str(image.id), "names": [name.familiar() for name in image.names]} for image in loaded]


def _receive(store: Store) -> None:
    decompressor("gzip"), decompressor("zstd")  # loaded now, once, and not by each of the children
    Receiver(store, _say).run()
    with contextlib.suppress(OnggiError, OSError):  # what could not be removed now goes another time
        store.collect()


def _make(store: Store, verb: str) -> list[dict[str, Any]]:
    image = builtin.make(store, verb)
    return [{"id": str(image.id), "names": [name.familiar() for name in image.names]}]


def _say(message: dict[str, Any]) -> None:
    data = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
