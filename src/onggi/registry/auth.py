"""Who may do what: challenges, and the tokens that answer them.

    401, WWW-Authenticate: Bearer realm=…,service=…,scope=…   ─►  GET realm?service=…&scope=…        by name and password
                                                              ─►  POST realm, grant_type=refresh…    by identity token
    401, WWW-Authenticate: Basic realm=…                      ─►  name and password with each request

(Distribution's token specification; RFC 7235.) An `Authorizer` belongs to one operation with one set of credentials, so no
token is ever used for somebody else. Callers: `client`. Read next: `transport`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from onggi.errors import Corrupt, Unauthorized, Unsupported
from onggi.registry.credentials import Credentials
from onggi.registry.refusals import refusal

_CLIENT = "onggi"
_SHORTEST = 60.0  # seconds: what a token is good for unless it says so, by the specification
_MARGIN = 10.0
_LARGEST = 1 << 20
_SCHEME = re.compile(r"[ \t,]*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?=[ \t,]|$)")
_PARAMETER = re.compile(r'[ \t,]*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove who we are."""

    scheme: str
    """In lower case."""
    parameters: Mapping[str, str]


@dataclass(slots=True)
class _Token:
    value: str
    until: float


class Exchange(Protocol):
    """How a token is asked for: `transport.Transport` does it."""

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int, *, insecure: bool
    ) -> tuple[int, bytes]:
        """Status and body of one request; Unavailable if nobody answers."""


@dataclass(slots=True)
class Authorizer:
    """Answers the challenges of one registry for one set of credentials."""

    exchange: Exchange
    credentials: Credentials
    refresh_token: str = ""
    """What a login got beside the access token; a client may keep it instead of the password."""
    _basic: bool = False
    _tokens: dict[str, _Token] = field(default_factory=dict)

    def header(self, scope: str) -> str:
        """The `Authorization` header to send with a request that needs `scope`; empty if none is known yet."""
        if self.credentials.registry_token:
            return "Bearer " + self.credentials.registry_token
        if self._basic:
            return self.credentials.basic
        token = self._tokens.get(scope)
        return "Bearer " + token.value if token and token.until > time.monotonic() else ""

    async def answer(
        self, challenges: list[Challenge], scope: str, url: str, *, insecure: bool, login: bool = False
    ) -> str:
        """The header that answers a 401; Unauthorized if nothing that we have does."""
        self._tokens.pop(scope, None)
        bearer = next((one for one in challenges if one.scheme == "bearer"), None)
        if bearer is not None and not self.credentials.registry_token:
            await self._fetch(bearer, scope, url, insecure=insecure, login=login)
            return self.header(scope)
        if any(one.scheme == "basic" for one in challenges):
            if not self.credentials.username or self._basic:
                cause = "unauthorized: wrong name or password" if self._basic else "no basic auth credentials"
                raise Unauthorized("ask registry", url, cause, hint="onggi login", code="registry.refused")
            self._basic = True
            return self.credentials.basic
        if bearer is not None:
            raise Unauthorized("ask registry", url, "the registry token was refused", code="registry.refused")
        known = ", ".join(one.scheme for one in challenges) or "none"
        raise Unsupported(
            "ask registry", url, f"it wants to be shown who we are in a way that is unknown here: {known}"
        )

    async def _fetch(self, challenge: Challenge, scope: str, url: str, *, insecure: bool, login: bool) -> None:
        realm = challenge.parameters.get("realm", "")
        _check_realm(realm, url, insecure=insecure)
        scopes = scopes_of(scope, challenge.parameters.get("scope", ""))
        service = challenge.parameters.get("service", "")
        if self.credentials.identity_token:
            fields = {"grant_type": "refresh_token", "refresh_token": self.credentials.identity_token}
            fields |= {"service": service, "client_id": _CLIENT, "scope": " ".join(scopes)}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            asked = ("POST", realm, headers, urlencode(fields).encode())
        else:
            query = [("service", service)] if service else []
            query += [("scope", one) for one in scopes]
            if self.credentials.username:
                query.append(("account", self.credentials.username))
            if login:
                query += [("client_id", _CLIENT), ("offline_token", "true")]
            headers = {"Authorization": self.credentials.basic} if self.credentials.username else {}
            asked = ("GET", realm + ("&" if "?" in realm else "?") + urlencode(query), headers, b"")
        status, body = await self.exchange.exchange(*asked, _LARGEST, insecure=insecure)
        if status != 200:
            raise refusal(status, body, "get token", realm)
        self._keep(scope, body, realm)

    def _keep(self, scope: str, body: bytes, realm: str) -> None:
        try:
            fields = json.loads(body)
            value = fields.get("token") or fields.get("access_token")
            lasts = float(fields.get("expires_in") or _SHORTEST)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise Corrupt("get token", realm, "the answer is no token document") from None
        if not isinstance(value, str) or not value or not value.isprintable():
            raise Corrupt("get token", realm, "the answer has no token in it")
        self.refresh_token = str(fields.get("refresh_token") or "")
        self._tokens[scope] = _Token(value, time.monotonic() + max(lasts, _SHORTEST) - _MARGIN)


def challenges(values: list[str]) -> list[Challenge]:
    """The challenges of `WWW-Authenticate` headers (RFC 7235, section 4.1); what cannot be read is left out."""
    found: list[Challenge] = []
    for value in values:
        position = 0
        parameters: dict[str, str] | None = None
        while position < len(value):
            if parameters is not None and (one := _PARAMETER.match(value, position)):
                quoted = one[2]
                parameters[one[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else one[3]
            elif one := _SCHEME.match(value, position):
                parameters = {}
                found.append(Challenge(one[1].lower(), parameters))
            else:
                break
            position = one.end()
    return found


def scopes_of(ours: str, theirs: str) -> list[str]:
    """What we need and what the challenge names, each once."""
    return list(dict.fromkeys([*ours.split(), *theirs.split()]))


def _check_realm(realm: str, url: str, *, insecure: bool) -> None:
    """The realm gets the password: it must be as private as the registry itself."""
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Corrupt("ask registry", url, f"its challenge names no realm that could be asked: {realm!r}")
    if parts.scheme == "http" and not insecure:
        raise Unsupported("ask registry", url, f"it wants the password sent in the clear, to {realm}")
