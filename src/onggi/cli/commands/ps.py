"""`onggi ps`: list containers. You came from `cli/main`; the rows come from `GET /containers/json`."""

from __future__ import annotations

import time

from onggi.cli import listing, output
from onggi.cli.client import with_query
from onggi.cli.document import dumps
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "ps [OPTIONS]",
    "List containers: the running ones, unless told otherwise.",
    (
        Flag("all", bool, "also those that do not run", short="a"),
        Flag("filter", list, "only those that match NAME=VALUE", short="f"),
        Flag("format", str, "json, or a template such as '{{.ID}} {{.Names}}'"),
        Flag("last", int, "the last N that were made, running or not", short="n", default=-1),
        Flag("latest", bool, "the last that was made", short="l"),
        Flag("no-trunc", bool, "whole ids and commands"),
        Flag("quiet", bool, "only ids", short="q"),
        Flag("size", bool, "also their size on disk", short="s"),
    ),
)
_COLUMNS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
}
_COMMAND_WIDTH = 24


def run(engine: Engine, parsed: Parsed) -> int:
    """Print the list."""
    limit = 1 if parsed["latest"] else max(parsed["last"], 0)
    query = {
        "all": parsed["all"],
        "limit": limit or None,
        "size": parsed["size"],
        "filters": filters(parsed["filter"]),
    }
    containers = engine.call("GET", with_query("/containers/json", query))
    rows = [_row(container, whole=parsed["no-trunc"]) for container in containers]
    columns = _COLUMNS | ({"Size": "SIZE"} if parsed["size"] else {})
    styles = [["dim", "bold", "", "", "", _style(row), ""] + [""] * (len(columns) - 7) for row in rows]
    listing.show(rows, columns, format=parsed["format"], quiet="ID" if parsed["quiet"] else "", style=styles)
    return 0


def filters(words: list[str]) -> str:
    """The `filters` parameter of a list of NAME=VALUE."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise CommandFailed(f"read --filter `{word}`: no `=`", hint="such as --filter status=exited", status=125)
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return dumps(found) if found else ""


def _row(container: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    command = container["Command"]
    if not whole and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    created = container["Created"]
    return {
        "ID": container["Id"] if whole else output.short_id(container["Id"]),
        "Names": ",".join(name.removeprefix("/") for name in container["Names"]),
        "Image": container["Image"],
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(created)),
        "RunningFor": output.ago(created),
        "State": container["State"],
        "Status": container["Status"],
        "Ports": ", ".join(_port(port) for port in container.get("Ports") or []),
        "Labels": ",".join(f"{name}={value}" for name, value in (container.get("Labels") or {}).items()),
        "Mounts": ",".join(mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or []),
        "Networks": ",".join((container.get("NetworkSettings") or {}).get("Networks") or {}),
        "Size": _size(container),
    }


def _size(container: dict[str, Any]) -> str:
    written, whole = container.get("SizeRw") or 0, container.get("SizeRootFs") or 0
    return f"{output.size(written)} (virtual {output.size(whole)})" if whole else output.size(written)


def _port(port: dict[str, Any]) -> str:
    inside = f"{port['PrivatePort']}/{port['Type']}"
    if not port.get("PublicPort"):
        return inside
    address = port.get("IP") or ""
    return f"{f'[{address}]' if ':' in address else address}:{port['PublicPort']}->{inside}"


def _style(row: dict[str, Any]) -> str:
    if row["State"] == "running":
        return "yellow" if "(unhealthy)" in row["Status"] else "green"
    return "red" if row["State"] == "dead" or (row["State"] == "exited" and "(0)" not in row["Status"]) else "dim"
