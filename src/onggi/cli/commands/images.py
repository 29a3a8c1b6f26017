"""`onggi images`: list images. You came from `cli/main`; the rows come from `GET /images/json`."""

from __future__ import annotations

import time

from onggi.cli import listing, output
from onggi.cli.client import with_query
from onggi.cli.commands.ps import filters
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "images [OPTIONS] [REPOSITORY[:TAG]]",
    "List images.",
    (
        Flag("all", bool, "also those in between", short="a"),
        Flag("digests", bool, "also their digests"),
        Flag("filter", list, "only those that match NAME=VALUE", short="f"),
        Flag("format", str, "json, or a template such as '{{.Repository}}:{{.Tag}}'"),
        Flag("no-trunc", bool, "whole ids"),
        Flag("quiet", bool, "only ids", short="q"),
    ),
    arguments=(0, 1),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Print the list."""
    wanted = list(parsed["filter"]) + [f"reference={name}" for name in parsed.arguments]
    images = engine.call("GET", with_query("/images/json", {"all": parsed["all"], "filters": filters(wanted)}))
    rows = [row for image in images for row in _rows(image, whole=parsed["no-trunc"])]
    columns = {"Repository": "REPOSITORY", "Tag": "TAG"}
    if parsed["digests"]:
        columns["Digest"] = "DIGEST"
    columns |= {"ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE"}
    styles = [["bold", "", *[""] * (len(columns) - 5), "dim", "", ""] for _ in rows]
    if parsed["quiet"]:
        rows = list({row["ID"]: row for row in rows}.values())
    listing.show(rows, columns, format=parsed["format"], quiet="ID" if parsed["quiet"] else "", style=styles)
    return 0


def _rows(image: dict[str, Any], *, whole: bool) -> Iterator[dict[str, Any]]:
    digests = {digest.partition("@")[0]: digest.partition("@")[2] for digest in image.get("RepoDigests") or []}
    for name in image.get("RepoTags") or ["<none>:<none>"]:
        repository, _, tag = name.rpartition(":")
        yield {
            "Repository": repository,
            "Tag": tag,
            "Digest": digests.get(repository, "<none>"),
            "ID": image["Id"] if whole else output.short_id(image["Id"]),
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(image["Created"])),
            "CreatedSince": output.ago(image["Created"]) if image["Created"] > 0 else "N/A",
            "Size": output.size(image["Size"]),
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
            "Containers": "N/A" if image.get("Containers", -1) < 0 else str(image["Containers"]),
        }
