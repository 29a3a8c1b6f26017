"""`onggi load`: load images from a tar archive. You came from `cli/main`."""

from __future__ import annotations

import sys

from onggi.cli import output
from onggi.cli.client import with_query
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "load [OPTIONS]",
    "Load images from an archive of `docker save` or an OCI layout: a tar, plain, gzip or zstd.",
    (
        Flag("input", str, "read this file instead of stdin", short="i"),
        Flag("quiet", bool, "say nothing on the way", short="q"),
    ),
)
_CHUNK = 1024 * 1024


def run(engine: Engine, parsed: Parsed) -> int:
    """Send the archive; print what came of it."""
    path = parsed["input"]
    if not path and sys.stdin.isatty():
        raise CommandFailed("load an archive: stdin is a terminal", hint="onggi load -i FILE, or onggi load < FILE")
    try:
        archive = open(path, "rb") if path else sys.stdin.buffer
    except OSError as error:
        raise CommandFailed(f"open `{path}`: {error.strerror}") from None
    with archive:
        response = engine.request(
            "POST", with_query("/images/load", {"quiet": 1}), iter(lambda: archive.read(_CHUNK), b"")
        )
        for line in response.lines():
            _show(line, quiet=parsed["quiet"])
    return 0


def _show(line: dict[str, object], *, quiet: bool) -> None:
    if "error" in line:
        raise CommandFailed(f"load the archive: {line['error']}")
    text = str(line.get("stream") or "")
    if text.startswith("Loaded image") or (text and not quiet):
        print(output.visible(text.rstrip("\n")), flush=True)
