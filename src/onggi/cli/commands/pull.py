"""`onggi pull`: fetch an image from its registry. You came from `cli/main`; `run` comes by too.

Next door: `api/routes/images`, then `engine/pull`.
"""

from __future__ import annotations

from onggi.cli import bars, credentials
from onggi.cli.client import with_query
from onggi.cli.commands.tag import split_tag
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "pull [OPTIONS] NAME[:TAG|@DIGEST]",
    "Fetch an image from its registry, and print its name.",
    (
        Flag("all-tags", bool, "all tags of the repository", short="a"),
        Flag("platform", str, "for another platform, as linux/arm64"),
        Flag("quiet", bool, "say nothing on the way", short="q"),
    ),
    arguments=(1, 1),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Pull it."""
    name = parsed.arguments[0]
    repository, tag = taken_apart(name)
    if parsed["all-tags"]:
        if tag:
            raise CommandFailed(f"pull all tags of `{name}`: it has one already", hint=f"onggi pull -a {repository}")
        pull(engine, repository, "", platform=parsed["platform"], quiet=parsed["quiet"])
        print(repository)
        return 0
    pull(engine, repository, tag or "latest", platform=parsed["platform"], quiet=parsed["quiet"])
    print(f"{repository}{'@' if ':' in tag else ':'}{tag or 'latest'}")
    return 0


def pull(engine: Engine, repository: str, tag: str, *, platform: str, quiet: bool) -> None:
    """Ask the engine for it, and show how it comes; an empty tag means all."""
    query = {"fromImage": repository, "tag": tag, "platform": platform}
    path = with_query("/images/create", query)
    response = engine.request("POST", path, auth=credentials.header(repository))
    bars.show(response.lines(), quiet=quiet)


def taken_apart(name: str) -> tuple[str, str]:
    """(repository, tag or digest) of a name."""
    repository, at, digest = name.partition("@")
    return (split_tag(repository)[0], digest) if at else split_tag(name)
