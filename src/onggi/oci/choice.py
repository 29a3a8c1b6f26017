"""Which manifest of an index a machine runs. Pure. Callers: `store/layout`, `engine/pull`. Read next: `platform`."""

from __future__ import annotations

from collections.abc import Iterable

from onggi.errors import NotFound
from onggi.oci import platform
from onggi.oci.image import Descriptor, ImageConfig
from onggi.oci.platform import Platform

_ATTESTATION = "vnd.docker.reference.type"
"""The annotation of what BuildKit puts beside the images: not an image, whatever its media type says."""


def images(entries: Iterable[Descriptor]) -> list[Descriptor]:
    """The entries of an index that are images, or further indexes."""
    return [one for one in entries if not is_attestation(one)]


def choose(entries: Iterable[Descriptor], wanted: Platform) -> Descriptor:
    """The image that suits `wanted` best; NotFound in Docker's words if none does."""
    offered = images(entries)
    chosen = platform.best(wanted, [stated(one) or wanted for one in offered])
    if chosen is None:
        cause = f"no matching manifest for {wanted} in the manifest list entries"
        raise NotFound("choose image", str(wanted), cause, code="image.platform")
    return offered[chosen]


def stated(entry: Descriptor) -> Platform | None:
    """The platform that an entry says it is for; where nothing is said, nothing speaks against any."""
    fields = entry.platform
    return Platform(fields.os, fields.architecture, fields.variant) if fields is not None else None


def of_config(config: ImageConfig) -> Platform:
    """The platform that an image itself says it is for."""
    return Platform(config.os, config.architecture, config.variant)


def is_attestation(entry: Descriptor) -> bool:
    """Whether an entry only says something about another one."""
    unknown = entry.platform is not None and entry.platform.os == "unknown"
    return unknown or _ATTESTATION in (entry.annotations or {})
