"""From a request's method and path to its handler: each path twice (`/x`, `/v1.NN/x`), versions checked.

An unknown path and a wrong method are both *404 page not found*, as Docker has it. Errors that a handler raises are
worded here by `errors.reply`, so that above this line there are only replies. Callers: `server`. Read next: `routes/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from onggi.api import errors
from onggi.api.http import Handler, Reply, Request, Response, Route, message
from onggi.errors import OnggiError
from onggi.wire import versions

_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)", re.DOTALL)
_NEWEST = versions.parse(versions.API)
_OLDEST = versions.parse(versions.API_MINIMUM)
_NOT_FOUND = message(404, "page not found", plain=True)
_PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")


class Router:
    """Routes by method and first part of the path; an instance is a server's handler."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Handler] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = {}
        for method, path, handler in routes:
            if "{" not in path:
                self._exact[method, path] = handler
            else:
                self._patterns.setdefault((method, _first(path)), []).append((_compiled(path), handler))

    async def __call__(self, request: Request) -> Reply:
        """Answer the request; raises nothing but what no one foresaw."""
        if request.method == "OPTIONS":
            return Response()
        if versioned := _VERSIONED.fullmatch(request.path):
            request.path = versioned[2]
        handler = self._find(request)
        if handler is None:
            return _NOT_FOUND
        if versioned:
            request.version = versions.parse(versioned[1])
            if refused := _check_version(versioned[1], request.version):
                return refused
        try:
            return await handler(request)
        except OnggiError as error:
            return errors.reply(error)

    def _find(self, request: Request) -> Handler | None:
        handler = self._exact.get((request.method, request.path))
        if handler is not None:
            return handler
        for pattern, candidate in self._patterns.get((request.method, _first(request.path)), ()):
            if found := pattern.fullmatch(request.path):
                request.params = found.groupdict()
                return candidate
        return None


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _compiled(path: str) -> re.Pattern[str]:
    """`{id}` takes one part of the path, `{name...}` any number."""
    pieces, end = [], 0
    for found in _PARAMETER.finditer(path):
        pieces.append(re.escape(path[end : found.start()]))
        pieces.append(f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})")
        end = found.end()
    return re.compile("".join(pieces) + re.escape(path[end:]), re.DOTALL)


def _check_version(text: str, version: tuple[int, ...]) -> Response | None:
    if version > _NEWEST:
        refusal = f"client version {text} is too new. Maximum supported API version is {versions.API}"
    elif version < _OLDEST:
        refusal = (
            f"client version {text} is too old. Minimum supported API version is {versions.API_MINIMUM}, "
            "please upgrade your client to a newer version"
        )
    else:
        return None
    return message(400, refusal)
