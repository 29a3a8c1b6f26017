"""`onggi history`: show an image's layers. You came from `cli/main`."""

from __future__ import annotations

import time

from onggi.cli import listing, output
from onggi.cli.client import quote
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "history [OPTIONS] IMAGE",
    "Show an image's layers, the youngest first.",
    (
        Flag("format", str, "json, or a template such as '{{.CreatedBy}}'"),
        Flag("no-trunc", bool, "whole ids and commands"),
        Flag("quiet", bool, "only ids", short="q"),
    ),
    arguments=(1, 1),
)
_COLUMNS = {"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT"}
_WIDTH = 44


def run(engine: Engine, parsed: Parsed) -> int:
    """Print the list."""
    rows = []
    for layer in engine.call("GET", f"/images/{quote(parsed.arguments[0])}/history"):
        made_by = layer["CreatedBy"] or ""
        if not parsed["no-trunc"] and len(made_by) > _WIDTH:
            made_by = made_by[: _WIDTH - 1] + "…"
        rows.append(
            {
                "ID": layer["Id"] if parsed["no-trunc"] else output.short_id(layer["Id"]),
                "CreatedSince": output.ago(layer["Created"]) if layer["Created"] > 0 else "N/A",
                "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(layer["Created"])),
                "CreatedBy": made_by,
                "Size": output.size(layer["Size"]),
                "Comment": layer["Comment"] or "",
            }
        )
    listing.show(rows, _COLUMNS, format=parsed["format"], quiet="ID" if parsed["quiet"] else "")
    return 0
