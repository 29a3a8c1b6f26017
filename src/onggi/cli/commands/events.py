"""`onggi events`: watch what happens. You came from `cli/main`."""

from __future__ import annotations

import time

from onggi.cli import output, template
from onggi.cli.client import with_query
from onggi.cli.commands.ps import filters
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "events [OPTIONS]",
    "Watch what happens, until interrupted.",
    (
        Flag("filter", list, "only those that match NAME=VALUE", short="f"),
        Flag("format", str, "json, or a template such as '{{.Type}} {{.Action}}'"),
        Flag("since", str, "begin with what happened at this Unix time or so long ago (10m)"),
        Flag("until", str, "end at this Unix time or so long ago"),
    ),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Print one line an event."""
    query = {
        "since": moment(parsed["since"]),
        "until": moment(parsed["until"]),
        "filters": filters(parsed["filter"]),
    }
    _, response = engine.stream("GET", with_query("/events", query))
    for event in response.lines():
        if parsed["format"]:
            print(template.render(parsed["format"], event), flush=True)
            continue
        actor = event["Actor"]
        attributes = ", ".join(f"{name}={value}" for name, value in sorted((actor.get("Attributes") or {}).items()))
        at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
        who = output.short_id(actor["ID"])
        what = f"{event['Type']} {output.paint(event['Action'], 'bold')} {who}"
        print(f"{at} {what} {output.paint(output.visible(f'({attributes})'), 'dim')}", flush=True)
    return 0


def moment(text: str) -> str:
    """A Unix time from `90s`, `10m`, `2h`, `1d` (ago); everything else is passed on as it is."""
    factor = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:])
    if factor and text[:-1].isdecimal():
        return f"{time.time() - int(text[:-1]) * factor:.9f}"
    return text
