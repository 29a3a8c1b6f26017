"""`onggi tag`: give an image another name. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli.client import quote, with_query
from onggi.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command("tag IMAGE[:TAG] NAME[:TAG]", "Give an image another name.", arguments=(2, 2))


def run(engine: Engine, parsed: Parsed) -> int:
    """Tag it."""
    image, name = parsed.arguments
    repository, tag = split_tag(name)
    engine.call("POST", with_query(f"/images/{quote(image)}/tag", {"repo": repository, "tag": tag}))
    return 0


def split_tag(name: str) -> tuple[str, str]:
    """(repository, tag) of a name; a colon before the last slash belongs to a port."""
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return head + slash + last, tag
