"""Questions to registries that bring nothing into the store: who are we there, what is there, what does a name stand for.

Loads what talks to registries, so it is imported when first needed. Callers: `registries`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from onggi.engine import words
from onggi.errors import Invalid, OnggiError, Unauthorized
from onggi.oci import choice
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.oci.reference import DEFAULT_DOMAIN, Reference
from onggi.registry.client import Repository
from onggi.registry.credentials import Credentials, from_fields
from onggi.registry.search import Result, search
from onggi.registry.session import open_session
from onggi.registry.transport import Transport
from onggi.wire.filters import Filters

_MOST_FOUND = 100
_FOUND = 25


class Inquiries:
    """Questions of one engine."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def login(self, body: bytes) -> Mapping[str, Any]:
        """Try credentials (Docker's AuthConfig as JSON) at their registry; Unauthorized if they are not good there."""
        try:
            fields = json.loads(body or b"{}")
            credentials = from_fields(fields)
        except (ValueError, AttributeError, RecursionError) as error:
            raise Invalid("read", "credentials", f"invalid JSON: {error}", code="text") from None
        domain = domain_of(credentials.server)
        try:
            authorizer = await open_session(self._transport, domain, credentials).ping()
        except OnggiError as error:
            if error.facts.get("status") == 403:
                raise Unauthorized(error.verb, error.object, error.cause, code=error.code) from None
            raise
        return {"Status": "Login Succeeded", "IdentityToken": authorizer.refresh_token}

    async def distribution(self, reference: Reference, credentials: Credentials) -> Mapping[str, Any]:
        """What a reference stands for at its registry, and for which platforms."""
        repository = Repository(self._transport, reference.domain, reference.path, credentials)
        try:
            document = await repository.manifest(str(reference.digest) if reference.digest else reference.tag)
        except OnggiError as error:
            raise words.refused_pull(error, reference) from None
        descriptor = {"mediaType": document.media_type, "digest": str(document.digest), "size": len(document.data)}
        if document.media_type in spec.INDEXES:
            index = spec.decode(document.data, spec.Index, str(document.digest))
            found = [platform for one in index.manifests if (platform := choice.stated(one)) is not None]
        else:
            config = spec.decode(document.data, spec.Manifest, str(document.digest)).config
            data = await repository.document(Digest.parse(config.digest), config.size)
            found = [choice.of_config(spec.decode(data, spec.ImageConfig, config.digest))]
        platforms = [{"architecture": one.architecture, "os": one.os} | _variant(one.variant) for one in found]
        return {"Descriptor": descriptor, "Platforms": platforms}

    async def search(
        self, term: str, limit: int | None, filters: Filters, credentials: Credentials
    ) -> list[Mapping[str, Any]]:
        """Repositories of Docker Hub, or of the registry that `term` begins with."""
        if limit is not None and not 1 <= limit <= _MOST_FOUND:
            raise Invalid("search", term, f"limit {limit} is outside the range of [1, {_MOST_FOUND}]", code="text")
        host, slash, rest = term.partition("/")
        is_host = bool(slash) and ("." in host or ":" in host or host == "localhost")
        domain, rest = (host, rest) if is_host else (DEFAULT_DOMAIN, term)
        found = await search(self._transport, domain_of(domain), rest, limit or _FOUND, credentials)
        return [
            {
                "star_count": one.star_count,
                "is_official": one.is_official,
                "name": f"{domain}/{one.name}" if is_host else one.name,
                "is_automated": one.is_automated,
                "description": one.description or "",
            }
            for one in found
            if _passes(one, filters)
        ]


def domain_of(server: str) -> str:
    """The domain of a server's address as people and config files write it; Docker Hub's for none."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    return DEFAULT_DOMAIN if host in ("", "index.docker.io", "registry-1.docker.io") else host


def _passes(found: Result, filters: Filters) -> bool:
    if "is-official" in filters and filters.flag("is-official", default=False) != found.is_official:
        return False
    if "is-automated" in filters and filters.flag("is-automated", default=False) != found.is_automated:
        return False
    return all(found.star_count >= _stars(text) for text in filters.values("stars"))


def _stars(text: str) -> int:
    if not text.isdigit():
        raise Invalid("search", "stars", f"invalid filter 'stars={text}'", code="text")
    return int(text)


def _variant(variant: str) -> dict[str, str]:
    return {"variant": variant} if variant else {}
