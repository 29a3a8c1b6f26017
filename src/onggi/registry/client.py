"""One repository of one registry: its manifests, blobs and tags, in the distribution specification's words.

What comes back is what was asked for: a manifest's digest is checked here, and of a blob the length before it flows.
Callers: `engine/`, `download`, `upload`, `referrers`. Read next: `session` for how a request gets its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

import msgspec

from onggi.errors import Corrupt, LimitExceeded, NotFound, Unavailable, Unsupported
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.registry import refusals
from onggi.registry.credentials import NOBODY, Credentials
from onggi.registry.session import ATTEMPTS, Asked, Check, Session, open_session
from onggi.registry.transport import Answer, Transport

ACCEPTED = (spec.INDEX, spec.MANIFEST, spec.DOCKER_INDEX, spec.DOCKER_MANIFEST)
_ACCEPT = {"Accept": ", ".join(ACCEPTED)}
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_LARGEST_MANIFEST = 4 << 20  # what registries take at most
_LARGEST_LIST = 16 << 20
_MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index as the registry has it."""

    media_type: str
    digest: Digest
    data: bytes


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Typed(msgspec.Struct, rename={"media_type": "mediaType"}):
    media_type: str = ""


class Repository:
    """What is asked of one repository by one set of credentials."""

    def __init__(self, transport: Transport, domain: str, path: str, credentials: Credentials = NOBODY) -> None:
        self.domain = domain
        self.path = path
        self.session: Session = open_session(transport, domain, credentials)

    @property
    def name(self) -> str:
        """`domain/path`."""
        return f"{self.domain}/{self.path}"

    def scope(self, *, push: bool = False, also: Sequence[str] = ()) -> str:
        """What a token must allow; `also` are repositories that are read besides."""
        own = f"repository:{self.path}:{'pull,push' if push else 'pull'}"
        return " ".join([own, *(f"repository:{other}:pull" for other in also)])

    def url(self, path: str) -> str:
        """The path below the registry's root."""
        return f"/v2/{self.path}{path}"

    # -- manifests -----------------------------------------------------------------------------------------------------

    async def manifest(self, reference: str) -> Document:
        """The manifest or index of a tag or a digest, its digest checked."""
        asked = Asked("GET", self.url(f"/manifests/{reference}"), self.scope(), _ACCEPT)
        async with await self.session.ask(asked) as answer:
            return _document(answer, await answer.read(_LARGEST_MANIFEST), reference)

    async def resolve(self, reference: str) -> spec.Descriptor:
        """What a tag stands for now, without fetching it where the registry can say."""
        asked = Asked("HEAD", self.url(f"/manifests/{reference}"), self.scope(), _ACCEPT)
        async with await self.session.ask(asked) as answer:
            digest, length = answer.header("Docker-Content-Digest"), answer.header("Content-Length")
            kind = _media_type(answer)
        if digest and length.isdigit() and kind in ACCEPTED:
            return spec.Descriptor(kind, str(Digest.parse(digest)), int(length))
        found = await self.manifest(reference)
        return spec.Descriptor(found.media_type, str(found.digest), len(found.data))

    async def put_manifest(self, reference: str, data: bytes, media_type: str) -> bool:
        """Store a manifest under a tag or its digest; whether the registry took note of its `subject`."""
        headers = {"Content-Type": media_type}
        path = self.url(f"/manifests/{reference}")
        asked = Asked("PUT", path, self.scope(push=True), headers, data, good=(201, 200, 202))
        async with await self.session.ask(asked) as answer:
            stated = answer.header("Docker-Content-Digest")
            if stated and Digest.parse(stated) != Digest.of(data, Digest.parse(stated).algorithm):
                raise Corrupt(
                    "push manifest", reference, f"the registry says that it got {stated}, which is another one"
                )
            return bool(answer.header("OCI-Subject"))

    async def tags(self) -> list[str]:
        """All tags, in the registry's order."""
        found: list[str] = []
        path = self.url("/tags/list")
        for _ in range(_MOST_PAGES):
            async with await self.session.ask(Asked("GET", path, self.scope())) as answer:
                found += spec.decode(await answer.read(_LARGEST_LIST), _Tags, answer.url).tags or []
                path = self._next_page(answer)
            if not path:
                return found
        raise LimitExceeded("list tags", self.name, f"more than {_MOST_PAGES} pages")

    def _next_page(self, answer: Answer) -> str:
        """The path of the page that follows, within this repository."""
        for link in answer.headers("Link"):
            target, _, parameters = link.strip().removeprefix("<").partition(">")
            if "rel=next" in parameters.replace('"', "").replace(" ", ""):
                list_path = self.url("/tags/list")
                _, found, rest = urljoin(answer.url, target).partition(list_path)
                return list_path + rest if found else ""
        return ""

    # -- blobs ---------------------------------------------------------------------------------------------------------

    async def has(self, digest: Digest) -> bool:
        """Whether this repository has the blob; asked with the right to push it, which comes next."""
        try:
            async with await self.session.ask(Asked("HEAD", self.url(f"/blobs/{digest}"), self.scope(push=True))):
                return True
        except NotFound:
            return False

    async def document(self, digest: Digest, size: int) -> bytes:
        """A small blob, whole and checked: a config."""
        if not 0 <= size <= _LARGEST_LIST:
            raise LimitExceeded("fetch blob", str(digest), f"a document of {size} bytes")
        async with await self.blob(digest, size, 0) as answer:
            data = await answer.read(size)
        if len(data) != size or Digest.of(data, digest.algorithm) != digest:
            raise Corrupt("fetch blob", str(digest), f"the registry sent {len(data)} other bytes", code="blob.digest")
        return data

    async def blob(self, digest: Digest, size: int, offset: int, attempts: int = ATTEMPTS) -> Answer:
        """A blob from `offset` on: status 206, or 200 with all of it from registries that know no ranges."""
        path = self.url(f"/blobs/{digest}")
        if offset:
            headers = {"Range": f"bytes={offset}-"}
            check = _check_blob(digest, size, offset)
            asked = Asked("GET", path, self.scope(), headers, good=(200, 206, 416), check=check, attempts=attempts)
            answer = await self.session.ask(asked)
            if answer.status != 416:
                return answer
            async with answer:  # it thinks that there is no more: its whole blob will show
                pass
        asked = Asked("GET", path, self.scope(), check=_check_blob(digest, size, 0), attempts=attempts)
        return await self.session.ask(asked)


def _media_type(answer: Answer) -> str:
    return answer.header("Content-Type").partition(";")[0].strip().lower()


def _document(answer: Answer, data: bytes, reference: str) -> Document:
    """The answer as a manifest, if it is one and has the digest that the reference or the registry states."""
    kind = _media_type(answer)
    if kind not in ACCEPTED:
        stated = _stated_type(data)
        if kind.startswith(_SCHEMA_1) or (not stated and b'"schemaVersion": 1' in data[:200]):
            cause = "a manifest of the old schema 1, which has not been in use since 2017"
            raise Unsupported("read manifest", reference, cause, hint="push the image anew with a tool of today")
        if stated not in ACCEPTED:
            raise refusals.no_manifest(answer.url, kind, data)
        kind = stated
    expected = Digest.parse(reference) if ":" in reference else _stated_digest(answer)
    found = Digest.of(data, expected.algorithm if expected else "sha256")
    if expected is not None and expected != found:
        raise Corrupt(
            "read manifest", reference, f"its bytes have the digest {found}, not {expected}", code="blob.digest"
        )
    return Document(kind, found, data)


def _stated_type(data: bytes) -> str:
    """The media type inside a document, for registries that do not say it outside."""
    try:
        return msgspec.json.decode(data, type=_Typed).media_type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _stated_digest(answer: Answer) -> Digest | None:
    text = answer.header("Docker-Content-Digest")
    return Digest.parse(text) if text else None


def _check_blob(digest: Digest, size: int, offset: int) -> Check:
    """A check of a blob's head: a page instead of it, another length, another range."""

    def check(answer: Answer) -> None:
        if answer.status == 416:
            return
        if _media_type(answer) == "text/html":
            cause = "the registry answered a web page instead of a blob"
            raise Unavailable("fetch blob", str(digest), cause, code="registry.no-blob", facts={"retry": False})
        begins = offset if answer.status == 206 else 0
        length = answer.header("Content-Length")
        if length.isdigit() and int(length) != size - begins:
            cause = f"the registry has {int(length) + begins} bytes where the manifest says {size}"
            raise Corrupt("fetch blob", str(digest), cause, code="blob.size")
        stated = answer.header("Content-Range")
        if answer.status == 206 and not stated.startswith(f"bytes {offset}-"):
            raise Unavailable("fetch blob", str(digest), f"asked for bytes {offset}-, the registry sent {stated!r}")

    return check
