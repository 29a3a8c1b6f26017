"""Who we are at registries: `~/.docker/config.json` (or `$DOCKER_CONFIG/config.json`), and the helpers that it names.

    auths         {"registry": {"auth": base64 of name:password, "identitytoken"}}
    credHelpers   {"registry": "x"}: for this one `docker-credential-x get|store|erase` is asked
    credsStore    "x": the same for all others

What is found goes to the engine in a header with the one request that needs it, and is kept nowhere else.
Callers: `commands/pull`, `commands/push`, `commands/login` and their like. Read next: `client`.
"""

from __future__ import annotations

import binascii
import os

from onggi.cli.document import dumps, loads
from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "https://index.docker.io/v1/"
"""The name of Docker Hub in these files, from the days of the first registry."""
_TOKEN = "<token>"


def server_of(name: str) -> str:
    """The registry of an image's name, as it is called in the config file."""
    first, slash, _ = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    return HUB if not is_host or first in ("docker.io", "index.docker.io") else first


def header(name: str) -> str:
    """The credentials for the registry of an image's name, as `X-Registry-Auth`; empty if there are none."""
    found = find(server_of(name))
    return encoded(found) if found else ""


def encoded(fields: dict[str, Any]) -> str:
    """A document in base64 with the alphabet of URLs."""
    text = binascii.b2a_base64(dumps(fields).encode(), newline=False).decode()
    return text.replace("+", "-").replace("/", "_")


def find(server: str) -> dict[str, Any]:
    """The credentials for a registry, as Docker's AuthConfig; empty if there are none."""
    config = read()
    helper = _helper_for(config, server)
    if helper:
        answer = _ask(helper, "get", server)
        if answer is None:
            return {}
        if answer.get("Username") == _TOKEN:
            return {"identitytoken": answer.get("Secret", ""), "serveraddress": server}
        return {
            "username": answer.get("Username", ""),
            "password": answer.get("Secret", ""),
            "serveraddress": server,
        }
    known = config.get("auths") or {}
    entry = known.get(server)
    if entry is None:
        entry = next((value for key, value in known.items() if _host(key) == _host(server)), None)
    return _from_file(entry, server) if entry else {}


def store(server: str, fields: dict[str, Any]) -> str:
    """Keep credentials; where, for a person: a helper's name, or the file in which they lie unencrypted."""
    config = read()
    token = fields.get("identitytoken", "")
    helper = _helper_for(config, server)
    if helper:
        secret = {"Username": _TOKEN, "Secret": token}
        if not token:
            secret = {"Username": fields["username"], "Secret": fields["password"]}
        if _run(helper, "store", dumps({"ServerURL": server, **secret}))[0] != 0:
            raise CommandFailed(f"keep credentials for `{server}`: docker-credential-{helper} failed")
        return f"docker-credential-{helper}"
    pair = f"{fields['username']}:{'' if token else fields['password']}".encode()
    entry = {"auth": binascii.b2a_base64(pair, newline=False).decode()}
    if token:
        entry["identitytoken"] = token
    config.setdefault("auths", {})[server] = entry
    _write(config)
    return path()


def erase(server: str) -> bool:
    """Forget the credentials for a registry; whether there were any."""
    config = read()
    known = config.get("auths") or {}
    mine = [key for key in known if key == server or _host(key) == _host(server)]
    for key in mine:
        del known[key]
    if mine:
        _write(config)
    helper = _helper_for(config, server)
    return (bool(helper) and _run(helper, "erase", server)[0] == 0) or bool(mine)


def path() -> str:
    """The config file."""
    return os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), "config.json")


def read() -> dict[str, Any]:
    """The config file's document, empty if there is none."""
    try:
        with open(path(), "rb") as file:
            document: Any = loads(file.read() or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CommandFailed(f"read `{path()}`: {error.strerror}") from None
    except ValueError as error:
        raise CommandFailed(f"read `{path()}`: {error}") from None
    if not isinstance(document, dict):
        raise CommandFailed(f"read `{path()}`: not an object")
    return document


def _from_file(entry: dict[str, Any], server: str) -> dict[str, Any]:
    found = {"serveraddress": server}
    try:
        name, _, password = binascii.a2b_base64(entry.get("auth", ""), strict_mode=True).decode().partition(":")
    except ValueError:
        raise CommandFailed(f"read `{path()}`: what it has for `{server}` is no base64 of name:password") from None
    for key, value in (("username", name), ("password", password.rstrip("\0"))):
        if value:
            found[key] = value
    for key in ("username", "password", "identitytoken", "registrytoken"):
        if entry.get(key):
            found[key] = entry[key]
    return found


def _host(server: str) -> str:
    """The host of an address that may have a scheme and a path."""
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _write(config: dict[str, Any]) -> None:
    """Replace the file, also where it is a link to another place, so that a kill leaves the old one or the new one."""
    import json

    target = os.path.realpath(path())
    aside = f"{target}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(json.dumps(config, indent="\t"))
        os.rename(aside, target)
    except OSError as error:
        raise CommandFailed(f"write `{target}`: {error.strerror}") from None


# -- helpers ---------------------------------------------------------------------------------------------------------------


def _helper_for(config: dict[str, Any], server: str) -> str:
    helpers = config.get("credHelpers") or {}
    found: str = helpers.get(server) or helpers.get(_host(server)) or config.get("credsStore") or ""
    return found


def _ask(helper: str, verb: str, text: str) -> dict[str, Any] | None:
    """What a helper answers; None if it knows nothing."""
    status, said = _run(helper, verb, text)
    if status != 0:
        if b"not found" in said:
            return None
        reason = said.decode(errors="replace").strip() or f"it ended with status {status}"
        raise CommandFailed(f"ask docker-credential-{helper}: {reason}")
    try:
        answer: Any = loads(said)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CommandFailed(f"ask docker-credential-{helper}: it answered no JSON object")
    return answer


def _run(helper: str, verb: str, text: str) -> tuple[int, bytes]:
    """Run a helper with `text` at its stdin; its exit status and its stdout."""
    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise CommandFailed(f"run `{program}`: a helper is a name, not a path")
    stdin, feed = os.pipe2(os.O_CLOEXEC)
    drain, stdout = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
        pid = os.posix_spawnp(program, [program, verb], os.environ, file_actions=actions)
    except OSError as error:
        os.close(feed)
        os.close(drain)
        raise CommandFailed(f"run `{program}`: {error.strerror}", hint=f"it is named in {path()}") from None
    finally:
        os.close(stdin)
        os.close(stdout)
    try:
        os.write(feed, text.encode())  # less than a pipe holds, so nobody waits for the other
    except BrokenPipeError:
        pass
    finally:
        os.close(feed)
    with open(drain, "rb") as output:
        said = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
