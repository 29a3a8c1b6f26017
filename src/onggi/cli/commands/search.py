"""`onggi search`: look for repositories. You came from `cli/main`; the rows come from `GET /images/search`."""

from __future__ import annotations

from onggi.cli import credentials, listing
from onggi.cli.client import with_query
from onggi.cli.commands.ps import filters
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "search [OPTIONS] TERM",
    "Look for repositories at Docker Hub, or at the registry that TERM begins with (HOST/TERM).",
    (
        Flag("filter", list, "only those that match: is-official=true, stars=3", short="f"),
        Flag("format", str, "json, or a template such as '{{.Name}}'"),
        Flag("limit", int, "how many at most"),
        Flag("no-trunc", bool, "whole descriptions"),
    ),
    arguments=(1, 1),
)
_WIDTH = 45


def run(engine: Engine, parsed: Parsed) -> int:
    """Print what is found."""
    term = parsed.arguments[0]
    query = {"term": term, "limit": parsed["limit"] or None, "filters": filters(list(parsed["filter"]))}
    found = engine.call("GET", with_query("/images/search", query), auth=credentials.header(term))
    found.sort(key=lambda one: -one["star_count"])
    rows = [_row(one, whole=parsed["no-trunc"]) for one in found]
    columns = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}
    listing.show(rows, columns, format=parsed["format"])
    return 0


def _row(found: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    text = " ".join((found.get("description") or "").split())
    if not whole and len(text) > _WIDTH:
        text = text[: _WIDTH - 1] + "…"
    return {
        "Name": found["name"],
        "Description": text,
        "StarCount": str(found["star_count"]),
        "IsOfficial": "[OK]" if found["is_official"] else "",
    }
