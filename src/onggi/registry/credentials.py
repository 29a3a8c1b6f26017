"""Who we are at a registry: a name and a password, or a token that stands for both. Pure.

Callers: `engine/registries`, `auth`. Read next: `auth`.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody proves who they are with; nothing in it is shown by `repr`."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """Instead of a password: a refresh token, which buys access tokens."""
    registry_token: str = field(default="", repr=False)
    """An access token, used as it is."""
    server: str = ""
    """The registry that they are for, as the client said."""

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of a basic `Authorization` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


NOBODY = Credentials()


def from_header(text: str) -> Credentials:
    """The credentials in an `X-Registry-Auth` header: JSON in base64, the URL's alphabet. Junk is nobody, as in Docker."""
    padded = text.strip() + "=" * (-len(text.strip()) % 4)
    try:
        fields = json.loads(base64.b64decode(padded.replace("+", "-").replace("/", "_"), altchars=b"-_"))
    except (ValueError, binascii.Error, RecursionError):
        return NOBODY
    return from_fields(fields) if isinstance(fields, dict) else NOBODY


def from_fields(fields: dict[str, Any]) -> Credentials:
    """The credentials in Docker's document (`username`, `password`, `identitytoken`, `registrytoken`, `auth`)."""
    known = {str(key).lower(): value for key, value in fields.items() if isinstance(value, str)}
    username, password = known.get("username", ""), known.get("password", "")
    if not username and known.get("auth"):
        username, password = decode_basic(known["auth"])
    return Credentials(
        username,
        password,
        known.get("identitytoken", ""),
        known.get("registrytoken", ""),
        known.get("serveraddress", ""),
    )


def decode_basic(text: str) -> tuple[str, str]:
    """(name, password) of the `auth` in a config file: base64 of `name:password`; two empty texts for junk."""
    try:
        name, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return "", ""
    return name, password.rstrip("\0")
