"""Deleting an image, as Docker does: a name goes first, the image with its last name, its layers with their last image.

Callers: `engine/images`. Read next: `gc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onggi.errors import Conflict
from onggi.oci.digest import Digest, chain_ids
from onggi.oci.image import Descriptor
from onggi.oci.reference import Reference
from onggi.store.images import HOST, Image, Images, name_of


@dataclass(frozen=True, slots=True)
class User:
    """A container made from the image."""

    container: str
    running: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """One line of Docker's answer: either a name that went, or an image or layer."""

    untagged: str = ""
    deleted: str = ""


def delete(
    images: Images,
    name: str,
    *,
    force: bool = False,
    users: Mapping[Digest, Sequence[User]] | None = None,
    used_layers: frozenset[Digest] = frozenset(),
) -> tuple[Removed, ...]:
    """Remove the name, or with its last name (or by its id) the image; what went, in Docker's order.

    `users` are the containers by image id, `used_layers` the layers that containers hold. Conflict as Docker words it.
    Blobs and layers that nobody refers to any more are only named here; `gc.collect` removes them.
    """
    removed: list[Removed] = []

    def change(records: list[Descriptor]) -> list[Descriptor]:
        image, reference = images.find(name)
        mine = list((users or {}).get(image.id, ()))
        going = _going(image, reference, mine, force=force)
        removed.extend(Removed(untagged=one.familiar()) for one in going)
        left = [one for one in image.references if one not in going]
        stays = bool(left) or (reference is not None and bool(_conflict(image, mine, force=force)))
        entries = [record for record in records if images.id_of(record.digest) == image.id]
        others = [record for record in records if images.id_of(record.digest) != image.id]
        if stays:
            return others + _remaining(entries, {str(one) for one in going})
        removed.append(Removed(deleted=str(image.id)))
        kept = [other.layers for other in images.all() if other.id != image.id]
        removed.extend(Removed(deleted=str(one)) for one in _layers_gone(image.layers, kept, used_layers))
        return others

    images.change(change)
    return tuple(removed)


def _layers_gone(layers: Sequence[Digest], kept: Sequence[Sequence[Digest]], used: frozenset[Digest]) -> list[Digest]:
    """The layers that go with their last image, top first, by the chain ids that Docker names them by."""
    held = {chain for others in kept for chain in chain_ids(others)}
    pairs = zip(chain_ids(layers), layers, strict=True)
    return [chain for chain, layer in pairs if chain not in held and layer not in used and layer != HOST][::-1]


def _going(image: Image, reference: Reference | None, users: list[User], *, force: bool) -> list[Reference]:
    """The names that this deletion takes away; Conflict if it may not."""
    if reference is None:
        if not force and not _single(image.references):
            raise _refuse(image, "must be forced", "image is referenced in multiple repositories")
        conflict = _conflict(image, users, force=force)
        if conflict is not None:
            raise conflict
        return list(image.references)
    if not force and users and _single(image.references):
        cause = (
            f'unable to remove repository reference "{reference.familiar()}" (must force) - container '
            f"{users[0].container[:12]} is using its referenced image {image.id.short}"
        )
        raise Conflict("delete image", reference.familiar(), cause, code="image.in-use")
    left = [one for one in image.references if one != reference]
    if all(one.digest for one in left if one.name == reference.name):
        # With its last tag a repository's digests go too: nobody could name them.
        return [reference, *(one for one in left if one.name == reference.name)]
    return [reference]


def _single(references: Sequence[Reference]) -> bool:
    """At most one tag, and all of one repository."""
    return len([one for one in references if not one.digest]) <= 1 and len({one.name for one in references}) <= 1


def _conflict(image: Image, users: list[User], *, force: bool) -> Conflict | None:
    running = [user for user in users if user.running]
    if running:
        cause = f"image is being used by running container {running[0].container[:12]}"
        return _refuse(image, "cannot be forced", cause)
    if users and not force:
        return _refuse(image, "must be forced", f"image is being used by stopped container {users[0].container[:12]}")
    return None


def _refuse(image: Image, how: str, why: str) -> Conflict:
    cause = f"unable to delete {image.id.short} ({how}) - {why}"
    return Conflict("delete image", image.id.short, cause, code="image.in-use")


def _remaining(entries: list[Descriptor], gone: set[str]) -> list[Descriptor]:
    """The image's entries without those names; one nameless entry where no name is left."""
    left = [entry for entry in entries if name_of(entry) not in gone]
    if left:
        return left
    first = entries[0]
    return [Descriptor(first.media_type, first.digest, first.size)]
