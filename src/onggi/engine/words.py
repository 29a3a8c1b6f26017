"""Sentences about registries that Docker's clients know: they tell from them whether to log in, or to give up.

docker-py takes *repository does not exist* and *not found* in a 404 for an image that is not there.
Callers: `pull`, `push`, `images`.
"""

from __future__ import annotations

from onggi.errors import NotFound, OnggiError
from onggi.oci.platform import Platform
from onggi.oci.reference import Reference


def refused_pull(error: OnggiError, reference: Reference) -> OnggiError:
    """What a pull says when its registry does not give it a manifest; other errors stay as they are."""
    codes = error.facts.get("codes") or []
    if "DENIED" in codes:
        cause = (
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require 'docker login': "
            f"{error.cause}"
        )
    elif "MANIFEST_UNKNOWN" in codes:
        cause = f"manifest for {reference.familiar()} not found: {error.cause}"
    elif "NAME_UNKNOWN" in codes:
        cause = f"repository {reference.familiar_name} not found: {error.cause}"
    else:
        return error
    return NotFound("pull", reference.familiar(), cause, code="text")


def other_platform(name: str, wanted: Platform, found: Platform) -> NotFound:
    """The image is there, for another sort of machine."""
    cause = (
        f"image with reference {name} was found but does not match the specified platform: "
        f"wanted {wanted}, actual: {found}"
    )
    return NotFound("find", f"image {name}", cause, code="text")
