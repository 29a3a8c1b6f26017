"""`onggi login`: try a name and a password at a registry, and keep them where Docker does. You came from `cli/main`."""

from __future__ import annotations

import sys

from onggi.cli import credentials, output
from onggi.cli.failure import CommandFailed
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "login [OPTIONS] [SERVER]",
    "Try a name and a password at a registry (Docker Hub unless it is named), and keep them for pull and push.",
    (
        Flag("username", str, "the name", short="u"),
        Flag("password", str, "the password; better read it from stdin", short="p"),
        Flag("password-stdin", bool, "read the password from stdin"),
    ),
    arguments=(0, 1),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Log in."""
    server = server_named(parsed.arguments)
    fields = {"username": _username(parsed), "password": "", "serveraddress": server}
    fields["password"] = _password(parsed)
    answer = engine.call("POST", "/auth", fields)
    if answer.get("IdentityToken"):
        fields = {"username": fields["username"], "identitytoken": answer["IdentityToken"], "serveraddress": server}
    place = credentials.store(server, fields)
    if place == credentials.path():
        output.warn(f"the password lies unencrypted in {place}; `credsStore` in it names a helper that does better")
    print(answer.get("Status") or "Login Succeeded")
    return 0


def server_named(words: list[str]) -> str:
    """The registry that was named, as the config file calls it."""
    if not words:
        return credentials.HUB
    host = words[0].removeprefix("https://").removeprefix("http://").rstrip("/")
    return credentials.HUB if host in ("docker.io", "index.docker.io", "index.docker.io/v1") else host


def _username(parsed: Parsed) -> str:
    if parsed["username"]:
        return str(parsed["username"])
    if parsed["password-stdin"] or not sys.stdin.isatty():
        raise CommandFailed("log in: no name", hint="onggi login -u NAME --password-stdin < FILE")
    sys.stderr.write("Username: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _password(parsed: Parsed) -> str:
    if parsed["password-stdin"]:
        if parsed["password"]:
            raise CommandFailed("log in: --password and --password-stdin exclude each other")
        return sys.stdin.read().rstrip("\r\n")
    if parsed["password"]:
        output.warn("a password on the command line can be seen by others; use --password-stdin")
        return str(parsed["password"])
    if not sys.stdin.isatty():
        raise CommandFailed("log in: no password", hint="onggi login -u NAME --password-stdin < FILE")
    from getpass import getpass

    return getpass("Password: ", sys.stderr)
