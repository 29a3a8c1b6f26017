"""`ps`: the processes of a container, as ps(1) shows them or as a list of numbers. Callers: `main`. Read next: `state`."""

from __future__ import annotations

import os
import sys

from onggi import documents
from onggi.errors import Invalid, NotFound, OnggiError
from onggi.runc import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.runc.words import Options

_WORDS = ("-ef",)
"""What ps(1) is told when the caller says nothing."""


def ps(options: Options, given: Options, container_id: str, *words: str) -> int:
    """`onggi-oci ps [--format table|json] ID [ps options]`."""
    style = given.get("format", "table")
    if style not in ("table", "json"):
        raise Invalid("ps", "--format", f"invalid format option: {style!r} is neither table nor json")
    kept = state.read(state.root(options), container_id)
    layout = state.layout_of(kept)
    pids = layout.pids(kept["cgroup"]) if layout.exists(kept["cgroup"]) else ()
    if style == "json":
        text = documents.dumps(list(pids) or None).decode() + "\n"
    else:
        text = "".join(f"{line}\n" for line in _lines_of(_run_ps(words or _WORDS), set(pids)))
    sys.stdout.write(text)
    return 0


def _lines_of(table: str, pids: set[int]) -> list[str]:
    """The title, and the lines of these processes."""
    title, *lines = table.splitlines() or [""]
    names = title.split()
    if "PID" not in names:
        raise OnggiError("ps", "ps", f"couldn't find PID field in ps output: {title!r}")
    place = names.index("PID")
    found = [title]
    for line in lines:
        fields = line.split(None, place + 1)
        if len(fields) > place and fields[place].isdigit() and int(fields[place]) in pids:
            found.append(line)
    return found


def _run_ps(words: tuple[str, ...]) -> str:
    """What ps(1) writes; its failure is ours, with its words."""
    output = os.memfd_create("ps", os.MFD_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, output, place) for place in (1, 2)]
    try:
        try:
            pid = os.posix_spawnp("ps", ("ps", *words), os.environ, file_actions=actions)
        except FileNotFoundError as error:
            raise NotFound("run", "ps", "executable file not found in $PATH", hint="apt install procps") from error
        _, status = os.waitpid(pid, 0)
        said = os.pread(output, os.fstat(output).st_size, 0).decode(errors="surrogateescape")
    finally:
        os.close(output)
    if status:
        raise OnggiError(
            "run", f"ps {' '.join(words)}", f"exit status {os.waitstatus_to_exitcode(status)}: {said.strip()}"
        )
    return said
