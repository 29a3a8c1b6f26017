"""What refers to an image: signatures, SBOMs, attestations, by the registry's list or by the tag that stands in for it.

A registry that knows the distribution spec 1.1 answers `/referrers/<digest>` with an index. For others, who pushes a manifest
with a `subject` keeps that index under the tag `sha256-<hex>`, as the spec's fallback has it.
Callers: `engine/`. Read next: `client`.
"""

from __future__ import annotations

import msgspec

from onggi.errors import NotFound
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.oci.image import Referrer
from onggi.registry.client import Repository
from onggi.registry.session import Asked

_LARGEST = 4 << 20


class _Subject(msgspec.Struct, rename={"artifact_type": "artifactType"}):
    subject: spec.Descriptor | None = None
    artifact_type: str = ""
    annotations: dict[str, str] | None = None
    config: spec.Descriptor | None = None


class _List(msgspec.Struct):
    manifests: list[Referrer]


async def referrers(repository: Repository, digest: Digest, artifact_type: str = "") -> list[Referrer]:
    """The descriptors of what refers to `digest`, of one type if it is given; none is no error."""
    query = f"?artifactType={artifact_type}" if artifact_type else ""
    path = repository.url(f"/referrers/{digest}{query}")
    try:
        asked = Asked("GET", path, repository.scope(), {"Accept": spec.INDEX})
        async with await repository.session.ask(asked) as answer:
            kind = answer.header("Content-Type").partition(";")[0].strip()
            data = await answer.read(_LARGEST) if kind == spec.INDEX else b""
    except NotFound:
        data = b""
    found = _listed(data, path) if data else await _by_tag(repository, digest)
    return [one for one in found if artifact_type in ("", one.artifact_type)]


async def note_subject(repository: Repository, manifest: bytes, media_type: str) -> None:
    """After a manifest was pushed to a registry that took no note of its `subject`: note it under the fallback tag."""
    fields = spec.decode(manifest, _Subject, "manifest")
    if fields.subject is None:
        return
    subject = Digest.parse(fields.subject.digest)
    digest = str(Digest.of(manifest))
    known = await _by_tag(repository, subject)
    if any(one.digest == digest for one in known):
        return
    kind = fields.artifact_type or (fields.config.media_type if fields.config else "")
    new = Referrer(media_type, digest, len(manifest), fields.annotations, artifact_type=kind)
    data = msgspec.json.encode({"schemaVersion": 2, "mediaType": spec.INDEX, "manifests": [*known, new]})
    await repository.put_manifest(fallback_tag(subject), data, spec.INDEX)


def fallback_tag(digest: Digest) -> str:
    """The tag under which a digest's referrers are kept (distribution spec, "Referrers Tag Schema")."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


async def _by_tag(repository: Repository, digest: Digest) -> list[Referrer]:
    try:
        found = await repository.manifest(fallback_tag(digest))
    except NotFound:
        return []
    return _listed(found.data, str(found.digest)) if found.media_type == spec.INDEX else []


def _listed(data: bytes, what: str) -> list[Referrer]:
    return spec.decode(data, _List, what).manifests
