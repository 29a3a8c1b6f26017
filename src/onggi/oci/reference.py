"""Image references: what people type, what the registries call it, and back.

The grammar and the wording of the errors are those of distribution's `reference` package, which every Docker client and
registry uses: `busybox` is `docker.io/library/busybox:latest`; a first component is a host only if it has a dot or a
colon, is `localhost`, or has an upper-case letter. Callers: `store/images`, `engine/images`. Read next: `digest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from onggi.errors import Invalid
from onggi.oci.digest import Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_LONGEST_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A normalised name: `domain/path`, with a tag, a digest, both or neither."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that `text` spells, without a tag added; Invalid in Docker's words."""
        if _IDENTIFIER.fullmatch(text):
            raise _invalid(
                text, f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings", "reference.is-id"
            )
        domain, rest = _split_domain(text)
        name = re.split("[:@]", rest, maxsplit=1)[0]
        if name.lower() != name:
            raise _invalid(text, f"invalid reference format: repository name ({name}) must be lowercase")
        before, at, digest = rest.partition("@")
        path, colon, tag = before.partition(":")
        if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path):
            raise _invalid(text, "invalid reference format")
        if (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
            raise _invalid(text, "invalid reference format")
        if len(path) > _LONGEST_NAME:
            raise _invalid(text, f"repository name must not be more than {_LONGEST_NAME} characters")
        return cls(domain, path, tag, Digest.parse(digest) if at else None)

    @property
    def name(self) -> str:
        """The full repository name, without tag and digest: `docker.io/library/x`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository name as people write it: `x`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix(_OFFICIAL)
        return rest if "/" not in rest else self.path

    def with_default_tag(self) -> Reference:
        """With `latest` where neither a tag nor a digest was given."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def familiar(self) -> str:
        """As people write it: `x:latest`."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not is_host:
        first, rest = DEFAULT_DOMAIN, text
    if first == _LEGACY_DOMAIN:
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _invalid(text: str, cause: str, code: str = "reference.invalid") -> Invalid:
    return Invalid("parse reference", text, cause, code=code, facts={"reference": text})
