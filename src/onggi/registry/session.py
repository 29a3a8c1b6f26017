"""Talking to one registry in one operation: which endpoint, with which token, how patiently.

Each request goes to the first endpoint that answers (`hosts`), with the token that its scope needs (`auth`), and is sent
again when the registry is busy or stumbles: after what `Retry-After` says, else after a fifth of a second, then twice as
long each time. Mirrors only ever help: what one of them says no to, the next endpoint is asked.
Callers: `client`, `upload`, `search`. Read next: `auth`, `transport`.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from onggi.errors import OnggiError, Unavailable
from onggi.registry import hosts, refusals
from onggi.registry.auth import Authorizer, challenges
from onggi.registry.credentials import NOBODY, Credentials
from onggi.registry.hosts import Endpoint
from onggi.registry.transport import Answer, Body, Transport, pause

Check: TypeAlias = Callable[[Answer], None]
"""Raises if an answer's head says that its body cannot be what was asked for."""
ATTEMPTS = 5
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 60.0  # whoever wants us to wait longer is told about in the error


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, before anybody knows where it goes."""

    method: str
    path: str
    scope: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    good: Sequence[int] = (200,)
    """The statuses that answer it; others are refusals."""
    check: Check | None = None
    attempts: int = ATTEMPTS
    """How often it is sent at most; 1 for who tries again in a way of their own."""
    login: bool = False
    """Whether a refresh token is wanted beside the access token."""

    @property
    def verb(self) -> str:
        """What an error calls it."""
        return {"GET": "fetch", "HEAD": "find"}.get(self.method, "push")


class Session:
    """One operation with one registry."""

    def __init__(self, transport: Transport, endpoints: Sequence[Endpoint], credentials: Credentials = NOBODY) -> None:
        self._transport = transport
        self._endpoints = list(endpoints)
        self._credentials = credentials
        self._authorizers: dict[str, Authorizer] = {}

    async def ask(self, asked: Asked) -> Answer:
        """The answer, if its status is a good one and its check has nothing against it; else what it was refused with."""
        for number, endpoint in enumerate(self._endpoints):
            last = number == len(self._endpoints) - 1
            try:
                answer = await self._patiently(endpoint, asked, attempts=asked.attempts if last else 1)
            except OnggiError as error:
                if last or not (endpoint.mirror or error.code == "registry.unreachable"):
                    raise
                continue
            if not any(one.mirror for one in self._endpoints[:number]):
                del self._endpoints[:number]  # it does not speak TLS: there is no need to find that out again
            return answer
        raise Unavailable("reach registry", asked.path, "it has no endpoint")

    async def send_to(
        self, url: str, method: str, scope: str, *, headers: Mapping[str, str], body: Body = b"", length: int = 0
    ) -> Answer:
        """A request to a URL that the registry named (the place of an upload); its answer, whatever the status.

        A body that flows cannot be sent twice: if the token has run out there is a new one now, and the error says that
        another try may go better.
        """
        endpoint = self._endpoints[0]
        given = {**headers, **self._authorization(endpoint, url, scope)}
        answer = await self._transport.send(
            method, url, headers=given, body=body, length=length, insecure=endpoint.insecure
        )
        if answer.status != 401:
            return answer
        async with answer:
            wanted = challenges(answer.headers("WWW-Authenticate"))
            error = refusals.refusal(401, await answer.beginning(), "push", url)
        await self.authorizer().answer(wanted, scope, url, insecure=endpoint.insecure)
        error.facts["retry"] = True
        raise error

    async def ping(self) -> Authorizer:
        """Ask for `/v2/`, which wants to know who we are; who answered that for us, with what a login gives."""
        async with await self.ask(Asked("GET", "/v2/", login=True)):
            return self.authorizer()

    def authorizer(self) -> Authorizer:
        """The one that answered for us."""
        return self._authorizer(self._endpoints[0])

    async def _patiently(self, endpoint: Endpoint, asked: Asked, *, attempts: int) -> Answer:
        tries = 0
        while True:
            tries += 1
            wait = _FIRST_PAUSE * 2 ** (tries - 1)
            try:
                answer = await self._authorized(endpoint, asked)
                if answer.status in asked.good:
                    return await _checked(answer, asked.check)
                async with answer:
                    error = await _refusal(answer, asked.verb)
                    error.facts["wait"] = wait = retry_after(answer.header("Retry-After"), wait)
                    raise error
            except OnggiError as error:
                if tries >= attempts or not is_passing(error):
                    raise
            await pause(wait)

    async def _authorized(self, endpoint: Endpoint, asked: Asked) -> Answer:
        """Send it, and once more with a token if the registry wants one."""
        url = endpoint.url(asked.path)
        answer = await self._send(endpoint, asked, url, self._authorization(endpoint, url, asked.scope))
        if answer.status != 401:
            return answer
        wanted = challenges(answer.headers("WWW-Authenticate"))
        async with answer:
            if not wanted:
                raise refusals.refusal(401, await answer.beginning(), asked.verb, url)
        authorizer = self._authorizer(endpoint)
        header = await authorizer.answer(wanted, asked.scope, url, insecure=endpoint.insecure, login=asked.login)
        return await self._send(endpoint, asked, url, {"Authorization": header})

    async def _send(self, endpoint: Endpoint, asked: Asked, url: str, authorization: Mapping[str, str]) -> Answer:
        headers = {**asked.headers, **authorization}
        return await self._transport.send(
            asked.method, url, headers=headers, body=asked.body, insecure=endpoint.insecure
        )

    def _authorization(self, endpoint: Endpoint, url: str, scope: str) -> dict[str, str]:
        """The header that is known to be needed; for the endpoint's own host only."""
        if not url.startswith(f"{endpoint.scheme}://{endpoint.authority}/"):
            return {}
        header = self._authorizer(endpoint).header(scope)
        return {"Authorization": header} if header else {}

    def _authorizer(self, endpoint: Endpoint) -> Authorizer:
        key = f"{endpoint.scheme}://{endpoint.authority}"
        if key not in self._authorizers:
            credentials = NOBODY if endpoint.mirror else self._credentials
            self._authorizers[key] = Authorizer(self._transport, credentials)
        return self._authorizers[key]


def open_session(transport: Transport, domain: str, credentials: Credentials = NOBODY) -> Session:
    """A session with the registry of a reference's domain."""
    return Session(transport, hosts.endpoints(domain, transport.options), credentials)


def is_passing(error: OnggiError) -> bool:
    """Whether another try may go better: nobody answered, or somebody who is busy or stumbled."""
    if error.facts.get("wait", 0.0) > _LONGEST_PAUSE:
        return False
    retry = error.facts.get("retry")
    return error.facts.get("status") in refusals.RETRIED if retry is None else bool(retry)


def retry_after(text: str, otherwise: float) -> float:
    """The seconds of a `Retry-After` header (RFC 9110, 10.2.3): a number or a date; not less than `otherwise`."""
    text = text.strip()
    if text.isdigit():
        return max(float(text[:9]), otherwise)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), otherwise)
    except (ValueError, TypeError):
        return otherwise


async def _refusal(answer: Answer, verb: str) -> OnggiError:
    """What the registry says; a 401 to somebody whom it knows means that he may not."""
    wanted = challenges(answer.headers("WWW-Authenticate")) if answer.status == 401 else []
    if any(one.parameters.get("error") == "insufficient_scope" for one in wanted):
        return refusals.denied(verb, answer.url)
    return refusals.refusal(answer.status, await answer.beginning(), verb, answer.url)


async def _checked(answer: Answer, check: Check | None) -> Answer:
    if check is None:
        return answer
    try:
        check(answer)
    except OnggiError:
        async with answer:
            raise
    return answer
