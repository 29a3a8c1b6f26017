"""HTTP to registries: one pool of connections, TLS and proxies by host, redirects, and every failure as one of our errors.

    Answer    a status, headers, and a body that is read as it comes
    failure   Unavailable; `facts["retry"]` says whether another try may go better

A redirect is followed for what has no body. Who we are is told to the host that asked, and to nobody that it points to; and
nobody is followed from TLS into the clear. The only file here that knows asyncio and aiohttp
(docs/decisions/0006-aiohttp-for-registries.md). Callers: `client`, `auth`. Read next: `trust`, `proxies`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TypeAlias
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from onggi.errors import LimitExceeded, OnggiError, Unavailable, Unsupported
from onggi.registry import hosts, trust
from onggi.registry.credentials import Credentials
from onggi.registry.hosts import Options
from onggi.registry.proxies import proxy_for
from onggi.wire.versions import ONGGI

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_BUFFER = 1 << 18
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_HEADERS = {"User-Agent": f"onggi/{ONGGI}", "Accept-Encoding": "identity"}  # a blob is what its digest says, as it is
Body: TypeAlias = bytes | AsyncIterator[bytes]


class Answer:
    """An answer whose head has arrived. It must be closed; a context does."""

    def __init__(self, response: aiohttp.ClientResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status

    def header(self, name: str) -> str:
        """The first header of that name, empty if there is none."""
        return self._response.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        """All headers of that name."""
        return list(self._response.headers.getall(name, []))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; Unavailable if it breaks off before the end that was announced."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _broken_off(error, self.url) from None

    async def read(self, limit: int) -> bytes:
        """The whole body; LimitExceeded if there is more than `limit`."""
        data = b""
        async for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise LimitExceeded("read answer", self.url, f"more than {limit} bytes", code="registry.too-long")
        return data

    async def beginning(self, limit: int = 4096) -> bytes:
        """Some of the body, to tell what was answered; whatever arrived before it broke off."""
        data = b""
        with contextlib.suppress(OnggiError):  # what has come says enough, and the error that it is read for is worse
            async for chunk in self.chunks():
                data += chunk
                if len(data) >= limit:
                    break
        return data[:limit]

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._response.close() if error or not self._response.content.at_eof() else self._response.release()


class Transport:
    """Requests to any registry. Belongs to the event loop in which it is first used."""

    def __init__(self, options: Options, environment: Mapping[str, str] | None = None) -> None:
        self.options = options
        self._environment = os.environ if environment is None else environment
        self._contexts: dict[tuple[str, bool], ssl.SSLContext] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        length: int | None = None,
        insecure: bool = False,
    ) -> Answer:
        """Send one request, follow redirects if it has no body; the answer, whatever its status.

        `length` is that of a body that comes piece by piece. `insecure` is whether the registry's certificate is not looked
        at. Unavailable if there is no answer.
        """
        given = dict(headers or {})
        if not isinstance(body, bytes) and length is not None:
            given["Content-Length"] = str(length)
        for _ in range(_MOST_REDIRECTS):
            answer = await self._once(method, url, given, body, insecure=insecure)
            target = answer.header("Location")
            if answer.status not in _REDIRECTS or not target or body:
                return answer
            async with answer:
                url, given, insecure = self._redirected(url, target, given, insecure=insecure)
        raise Unavailable("ask registry", url, f"more than {_MOST_REDIRECTS} redirects", facts={"retry": False})

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int, *, insecure: bool
    ) -> tuple[int, bytes]:
        """One small request: its status and its body."""
        async with await self.send(method, url, headers=headers, body=body, insecure=insecure) as answer:
            return answer.status, await answer.read(limit)

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body, *, insecure: bool) -> Answer:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Unavailable("ask registry", url, "it is no URL that could be asked", facts={"retry": False})
        context = await self._context(parts.netloc, insecure=insecure) if parts.scheme == "https" else True
        proxy, login = _proxy(proxy_for(url, self._environment))
        through = {"Proxy-Authorization": login} if login else {}
        try:
            response = await self._open().request(
                method,
                URL(url, encoded=True),  # as it was given: a signed URL that is quoted anew is another one
                headers={**headers, **through} if parts.scheme == "http" else headers,
                data=body or None,
                ssl=context,
                proxy=proxy,
                proxy_headers=through,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unreachable(error, method, url) from None
        return Answer(response, url)

    def _redirected(
        self, url: str, target: str, headers: Mapping[str, str], *, insecure: bool
    ) -> tuple[str, dict[str, str], bool]:
        """Where a redirect leads, and what is told there."""
        new = urljoin(url, target)
        here, there = urlsplit(url), urlsplit(new)
        if here.scheme == "https" and there.scheme == "http" and not insecure:
            raise Unsupported("ask registry", url, f"it redirects from TLS into the clear, to {there.netloc}")
        if (here.scheme, here.netloc) == (there.scheme, there.netloc):
            return new, dict(headers), insecure
        kept = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        return new, kept, hosts.is_insecure(there.netloc, self.options)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=_TIMEOUT,
                auto_decompress=False,
                read_bufsize=_BUFFER,
            )
        return self._session

    async def _context(self, authority: str, *, insecure: bool) -> ssl.SSLContext:
        known = self._contexts.get((authority, insecure))
        if known is None:  # reading all authorities takes tens of milliseconds
            directories = self.options.certificates
            known = await asyncio.to_thread(trust.context, authority, directories, insecure=insecure)
            self._contexts[authority, insecure] = known
        return known


async def pause(seconds: float) -> None:
    """Wait before another try."""
    await asyncio.sleep(seconds)


def _proxy(url: str) -> tuple[str | None, str]:
    """The proxy without its name and password, and the header that carries these."""
    if not url:
        return None, ""
    parts = URL(url)
    login = Credentials(parts.user, parts.password or "").basic if parts.user else ""
    return str(parts.with_user(None)), login


def _broken_off(error: Exception, url: str) -> Unavailable:
    cause = "nothing came for a minute" if isinstance(error, TimeoutError) else "the connection broke off"
    return Unavailable("read answer", url, cause, code="registry.broken-off", facts={"retry": True})


def _unreachable(error: Exception, method: str, url: str) -> Unavailable:
    """What kept us from an answer, in words; certificates and names that do not exist will not be better next time."""
    retry = True
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
        cause = f"the certificate is not trusted: {getattr(found, 'verify_message', '') or found}"
        hint = (
            "put its authority into /etc/onggi/certs.d/HOST/ca.crt, or start the engine with --insecure-registry HOST"
        )
        return Unavailable("reach registry", url, cause, hint=hint, code="registry.unreachable", facts={"retry": False})
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        again = getattr(error.os_error, "errno", 0) == socket.EAI_AGAIN
        cause, retry = f"lookup {error.host}: {'no name server answers' if again else 'no such host'}", again
    elif isinstance(error, aiohttp.ClientSSLError):
        cause, retry = f"no TLS: {getattr(error.os_error, 'reason', None) or error.os_error}".lower(), False
    elif isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0
        cause = f"connect to {error.host}:{error.port}: {os.strerror(number).lower() if number > 0 else error.os_error}"
    elif isinstance(error, TimeoutError):
        cause = "no answer in time"
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        cause = f"the proxy answered {error.status} {error.message}"
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        cause = "it hung up without an answer"
    elif isinstance(error, aiohttp.ClientResponseError):
        cause = f"the answer is not HTTP: {error.message}"
    elif isinstance(error, aiohttp.ClientPayloadError) or getattr(error, "errno", 0) in (errno.ECONNRESET, errno.EPIPE):
        cause = "the connection broke off"
    else:
        cause, retry = str(error) or type(error).__name__, isinstance(error, OSError)
    return Unavailable("reach registry", f"{method} {url}", cause, code="registry.unreachable", facts={"retry": retry})
