"""`onggi inspect`: show everything about containers or images. You came from `cli/main`."""

from __future__ import annotations

import json

from onggi.cli import output, template
from onggi.cli.client import quote, with_query
from onggi.cli.failure import CommandFailed, EngineSaidNo
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "inspect [OPTIONS] NAME...",
    "Show everything about containers or images.",
    (
        Flag("format", str, "json, or a template such as '{{.State.Pid}}'", short="f"),
        Flag("size", bool, "also the size of a container", short="s"),
        Flag("type", str, "container, image, network"),
    ),
    arguments=(1, None),
)
_TYPES = {"container": "/containers/{}/json", "image": "/images/{}/json", "network": "/networks/{}"}


def run(engine: Engine, parsed: Parsed) -> int:
    """Print a list of all that were found; 1 when one was not."""
    kind = parsed["type"]
    if kind and kind not in _TYPES:
        raise CommandFailed(f"inspect type `{kind}`: unknown", hint=f"there are {', '.join(_TYPES)}", status=125)
    found, status = [], 0
    for name in parsed.arguments:
        try:
            found.append(_find(engine, name, [kind] if kind else list(_TYPES), size=parsed["size"]))
        except EngineSaidNo as refused:
            output.report(refused)
            status = 1
    if parsed["format"]:
        for document in found:
            print(template.render(parsed["format"], document))
    else:
        print(json.dumps(found, indent=4, ensure_ascii=False))
    return status


def _find(engine: Engine, name: str, kinds: list[str], *, size: bool) -> object:
    for kind in kinds:
        path = _TYPES[kind].format(quote(name))
        try:
            return engine.call("GET", with_query(path, {"size": size and kind == "container"}))
        except EngineSaidNo as refused:
            if refused.code != 404:
                raise
    what = kinds[0] if len(kinds) == 1 else "container, image or network"
    raise EngineSaidNo(f"inspect `{name}`: no such {what}", 404)
