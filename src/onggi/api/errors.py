"""From an error's class to a status, and from its `code` to Docker's exact sentence: the only file that does.

Clients match these sentences: the docker CLI takes its exit codes 126 and 127 from the text of a failed start, and
docker-py its exception classes from `No such image`. Where the error's own cause is Docker's sentence, its code is in
`_CAUSE`. Callers: `router`, and the routes that report an error inside a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onggi.api.http import Response, message
from onggi.errors import (
    Conflict,
    Corrupt,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    OnggiError,
    StartFailed,
    Unauthorized,
    Unavailable,
    Unchanged,
    Unsupported,
)

_STATUS: tuple[tuple[type[OnggiError], int], ...] = (
    (Invalid, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unchanged, 304),
    (LimitExceeded, 400),
    (Unsupported, 501),
    (Unavailable, 503),
    (Corrupt, 500),
    (StartFailed, 500),
)
_CAUSE = frozenset(
    {
        *("text", "reference.invalid", "reference.is-id", "image.platform"),
        *("archive.bad-header", "archive.truncated", "layer.diff-id", "load.layers", "load.os"),
    }
)

_SENTENCES: dict[str, str] = {
    "container.not-found": "No such container: {name}",
    "image.not-found": "No such image: {name}",
    "network.not-found": "network {name} not found",
    "volume.not-found": "get {name}: no such volume",
    "exec.not-found": "No such exec instance: {name}",
    "container.name-in-use": (
        'Conflict. The container name "/{name}" is already in use by container "{id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    ),
    "container.name-invalid": "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
    "container.ambiguous": "multiple IDs found with provided prefix: {name}",
    "container.no-command": "no command specified",
    "container.not-running": "container {id} is not running",
    "container.running": (
        'cannot remove container "/{name}": container is running: stop the container before removing or force remove'
    ),
    "container.rename-in-use": (
        'Error when allocating new name: Conflict. The container name "/{name}" is already in use by container "{id}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    ),
    "container.rename-same": "Renaming a container with the same name as its current name",
    "container.paused": "cannot start a paused container, try unpause instead",
    "container.already-paused": "Container {id} is already paused",
    "container.not-paused": "Container {id} is not paused",
    "container.removing": "removal of container {name} is already in progress",
    "container.attach-paused": "container {id} is paused, unpause the container before attach",
    "container.attach-restarting": "container {id} is restarting, wait until the container is running",
    "container.kill-not-running": "cannot kill container: {name}: container {id} is not running",
    "container.signal-invalid": "cannot kill container: {name}: invalid signal: {signal}",
    "image.in-use": "conflict: {cause}",
    "network.predefined": "{name} is a pre-defined network and cannot be removed",
    "network.in-use": 'error while removing network: network {name} has active endpoints (name:"{container}")',
    "network.name-in-use": "network with name {name} already exists",
    "port.in-use": "driver failed programming external connectivity on endpoint {name}: "
    "Bind for {address}:{port} failed: port is already allocated",
    "user.not-found": "unable to find user {user}: no matching entries in passwd file",
    "group.not-found": "unable to find group {group}: no matching entries in group file",
    "wait.condition": 'invalid condition: "{condition}"',
}

_CREATE_FAILED = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: "
)
_EXEC_FAILED = "OCI runtime exec failed: exec failed: unable to start container process: "
# What follows the prefix above. The CLI looks for these words: 127 for the first two, 126 for the others.
_START: dict[str, str] = {
    "exec.not-in-path": 'exec: "{command}": executable file not found in $PATH: unknown',
    "exec.no-such-file": 'exec: "{command}": stat {command}: no such file or directory: unknown',
    "exec.permission": 'exec: "{command}": permission denied: unknown',
    "exec.directory": 'exec: "{command}": is a directory: unknown: permission denied',
    "exec.format": "exec {command}: exec format error: unknown",
    "exec.failed": 'exec: "{command}": {reason}: unknown',
    "exec.interpreter": "exec {command}: no such file or directory: unknown",
    "workdir": 'chdir to cwd ("{directory}") set in config.json failed: {reason}: unknown',
}


def status(error: OnggiError) -> int:
    """The HTTP status of the error's class; a program that cannot be executed is the request's fault."""
    if isinstance(error, StartFailed) and error.code.startswith("exec."):
        return 400
    return next((number for kind, number in _STATUS if isinstance(error, kind)), 500)


def sentence(error: OnggiError) -> str:
    """Docker's words where Docker has words for it, else ours with the hint below."""
    if error.code in _CAUSE:
        return error.cause
    if error.code in _SENTENCES:
        return _fill(_SENTENCES[error.code], error)
    if isinstance(error, StartFailed):
        known = _START.get(error.code)
        prefix = _EXEC_FAILED if error.facts.get("entering") else _CREATE_FAILED
        return prefix + (_fill(known, error) if known else f"{error}: unknown")
    return f"{error}\nhint: {error.hint}" if error.hint else str(error)


def reply(error: OnggiError) -> Response:
    """The error as an answer; *304 Not Modified* has no body."""
    number = status(error)
    return Response(304) if number == 304 else message(number, sentence(error))


class _Facts(dict[str, Any]):
    """The facts for a sentence; one that is missing shows the error's object rather than nothing."""

    def __init__(self, facts: Mapping[str, Any], instead: str) -> None:
        super().__init__(facts)
        self._instead = instead

    def __missing__(self, key: str) -> str:
        return self._instead


def _fill(text: str, error: OnggiError) -> str:
    fill: Callable[[Mapping[str, Any]], str] = text.format_map
    return fill(_Facts({"cause": error.cause, **error.facts}, error.object))
