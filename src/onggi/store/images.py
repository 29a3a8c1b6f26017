"""Images: names for manifests, in the OCI layout's `index.json`.

An entry of the index is a manifest under one name, or without a name when a tag moved on (dangling). The image's id is
its config's digest, so two manifests with one config are one image with two copies. What a reader finds is whole at any
time: the index is replaced by a rename, and written only when everything that it refers to is on the disk.
Callers: `engine/images`, `store/load`, `store/gc`. Read next: `deletion`, `load`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from onggi.errors import Corrupt, Invalid, NotFound
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.oci.image import Descriptor, ImageConfig, Index
from onggi.oci.reference import Reference
from onggi.store.content import Content, write_whole
from onggi.store.layers import Layers
from onggi.store.lock import Locks

TAGGED = "dev.onggi.tagged"
"""The annotation of an index entry that says when it got its name."""
BUILTIN = "dev.onggi.builtin"
"""The annotation of an index entry that Onggi made itself: hello or host. No archive can set it."""
HOST = Digest.of(b"the host's own files")
"""Stands for the layers of the image `host`, whose only layer is the machine itself."""

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")


@dataclass(frozen=True, slots=True)
class Image:
    """One image as people see it: an id with all its names."""

    id: Digest
    manifest: Digest
    names: tuple[Reference, ...]
    """With tags; several, or none (dangling)."""
    digests: tuple[Reference, ...]
    """With digests: where it was pulled from."""
    config: ImageConfig
    layers: tuple[Digest, ...]
    """Diff ids, bottom first; `(HOST,)` for the machine's own files."""
    size: int
    """Bytes of all layers, unpacked."""
    tagged: str
    """When it last got a name, RFC 3339; empty if never."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """All names, tags first."""
        return self.names + self.digests


@dataclass(frozen=True, slots=True)
class _Parsed:
    """What a manifest and its config say; never changes, so it is kept."""

    id: Digest
    config: ImageConfig
    diff_ids: tuple[Digest, ...]
    media_type: str


class Images:
    """The images below one data root. Safe for several threads and processes."""

    def __init__(self, root: Path, content: Content, layers: Layers, locks: Locks) -> None:
        self.content = content
        self.layers = layers
        self.locks = locks
        self._path = root / "index.json"
        self._parsed: dict[str, _Parsed] = {}
        self._seen: tuple[tuple[int, int, int], tuple[Image, ...]] | None = None

    def all(self) -> tuple[Image, ...]:
        """All images, the newest first; one whose blobs are damaged or gone is left out."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return ()
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        seen = self._seen
        if seen is None or seen[0] != version:
            seen = self._seen = (version, self._images(self.records()))
        return seen[1]

    def resolve(self, name: str) -> Image:
        """The image of a reference, an id, a prefix of an id that is unique, or `name@digest`; NotFound, Invalid.

        As in Docker, a name wins over a prefix that looks the same.
        """
        return self.find(name)[0]

    def find(self, name: str) -> tuple[Image, Reference | None]:
        """As `resolve`, and the reference by which it was found; None if that was an id."""
        images = self.all()
        by_id = _ID.fullmatch(name)
        if by_id and len(by_id[1]) == 64:
            for image in images:
                if by_id[1] in (image.id.hex, image.manifest.hex):
                    return image, None
            raise NotFound.of("image", f"sha256:{by_id[1]}")
        reference = Reference.parse(name).with_default_tag()
        for image in images:
            if (found := _matching(image, reference)) is not None:
                return image, found
        if by_id:
            prefixed = [image for image in images if image.id.hex.startswith(by_id[1])]
            if len(prefixed) == 1:
                return prefixed[0], None
        raise NotFound.of("image", reference.familiar())

    def get(self, digest: Digest) -> Image:
        """The image with exactly this id."""
        for image in self.all():
            if image.id == digest:
                return image
        raise NotFound.of("image", str(digest))

    def manifest_of(self, image: Image) -> spec.Manifest:
        """The manifest, for whoever copies the image elsewhere."""
        return spec.decode(self.content.read(image.manifest), spec.Manifest, str(image.manifest))

    def tag(self, image: Image, reference: Reference) -> None:
        """Give `image` a further name; another image that had it becomes dangling unless it has others."""
        if reference.digest:
            raise Invalid("tag image", str(reference), "refusing to create a tag with a digest reference")
        self.register([(image.manifest, [reference])])

    def register(self, added: Iterable[tuple[Digest, Sequence[Reference]]], builtin: str = "") -> None:
        """Take in manifests whose blobs and layers are here, each under its names; all of them or none.

        A name with a digest says where it was pulled from: the digest is the manifest's, or that of an index with it.
        """
        added = list(added)

        def change(records: list[Descriptor]) -> list[Descriptor]:
            for manifest, references in added:
                records = _named(records, self._entry(manifest, builtin), [r.with_default_tag() for r in references])
            return records

        self.change(change)

    def records(self) -> list[Descriptor]:
        """The entries of the index as they are."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        return spec.decode(data, Index, "index.json").manifests

    def change(self, change: Callable[[list[Descriptor]], list[Descriptor]]) -> None:
        """Replace the entries by what `change` makes of them, while nobody else does."""
        with self.locks.records():
            old = self.records()
            new = change(old)
            if new != old:
                write_whole(self._path, spec.encode(Index(new)), mode=0o600)

    def layers_of(self, manifest: Digest) -> tuple[Digest, ...]:
        """The diff ids of a manifest's layers."""
        return self._parse(str(manifest)).diff_ids

    def id_of(self, manifest: str) -> Digest | None:
        """The id of the image that a manifest's digest stands for; None if its blobs are damaged or gone."""
        try:
            return self._parse(manifest).id
        except (NotFound, Corrupt, Invalid):
            return None

    # -- from entries to images ------------------------------------------------------------------------------------

    def _entry(self, manifest: Digest, builtin: str) -> Descriptor:
        parsed = self._parse(str(manifest))  # refuses now what nobody could read later
        annotations = {TAGGED: datetime.now(UTC).isoformat().replace("+00:00", "Z")}
        if builtin:
            annotations[BUILTIN] = builtin
        return Descriptor(parsed.media_type, str(manifest), self.content.size(manifest), annotations)

    def _images(self, records: list[Descriptor]) -> tuple[Image, ...]:
        together: dict[Digest, list[Descriptor]] = {}
        for record in records:
            if (digest := self.id_of(record.digest)) is not None:
                together.setdefault(digest, []).append(record)
        for gone in self._parsed.keys() - {record.digest for record in records}:
            self._parsed.pop(gone, None)
        images: list[Image] = []
        for digest, entries in together.items():
            with contextlib.suppress(NotFound, Corrupt, Invalid):  # one damaged image must not hide the others
                images.append(self._image(digest, entries))
        return tuple(sorted(images, key=lambda image: image.config.created or "", reverse=True))

    def _image(self, digest: Digest, entries: list[Descriptor]) -> Image:
        parsed = self._parsed[entries[0].digest]
        references = [Reference.parse(name) for entry in entries if (name := name_of(entry))]
        layers = parsed.diff_ids
        host = not layers and any((entry.annotations or {}).get(BUILTIN) == "host" for entry in entries)
        return Image(
            id=digest,
            manifest=Digest.parse(entries[0].digest),
            names=tuple(sorted(one for one in references if one.tag and not one.digest)),
            digests=tuple(sorted((one for one in references if one.digest), key=str)),
            config=parsed.config,
            layers=(HOST,) if host else layers,
            size=sum(self.layers.size(layer) for layer in layers),
            tagged=max((entry.annotations or {}).get(TAGGED, "") for entry in entries),
        )

    def _parse(self, manifest: str) -> _Parsed:
        known = self._parsed.get(manifest)
        if known is None:
            document = spec.decode(self.content.read(Digest.parse(manifest)), spec.Manifest, manifest)
            digest = Digest.parse(document.config.digest)
            config = spec.decode(self.content.read(digest), ImageConfig, str(digest))
            known = self._parsed[manifest] = _Parsed(digest, config, config.diff_ids, document.media_type)
        return known


def name_of(entry: Descriptor) -> str:
    """The full reference of an index entry, empty if it is dangling."""
    return (entry.annotations or {}).get(spec.NAME, "")


def reference_of(entry: Descriptor) -> Reference | None:
    """The same, taken apart; None if it is dangling, or nothing that anybody could have written."""
    try:
        return Reference.parse(name_of(entry)) if name_of(entry) else None
    except Invalid:
        return None


def _named(records: list[Descriptor], entry: Descriptor, references: list[Reference]) -> list[Descriptor]:
    """`records` with `entry` under `references`, and without what that makes superfluous."""
    taken = {str(reference) for reference in references}
    left = [record for record in records if name_of(record) not in taken]
    moved = [record.digest for record in records if name_of(record) in taken and record.digest != entry.digest]
    new = [_with_name(entry, reference) for reference in references]
    present = {record.digest for record in left + new}
    dangling = [_without_name(r) for r in records if r.digest in moved and r.digest not in present]
    if not new and entry.digest not in present:
        new = [entry]
    if any(name_of(record) for record in new):  # what has a name now is not dangling any more
        left = [record for record in left if record.digest != entry.digest or name_of(record)]
    return left + list({record.digest: record for record in dangling}.values()) + new


def _with_name(entry: Descriptor, reference: Reference) -> Descriptor:
    names = {spec.NAME: str(reference)} | ({spec.REF_NAME: reference.tag} if reference.tag else {})
    return Descriptor(entry.media_type, entry.digest, entry.size, (entry.annotations or {}) | names)


def _without_name(entry: Descriptor) -> Descriptor:
    rest = {key: value for key, value in (entry.annotations or {}).items() if key not in (spec.NAME, spec.REF_NAME)}
    return Descriptor(entry.media_type, entry.digest, entry.size, rest or None)


def _matching(image: Image, reference: Reference) -> Reference | None:
    """The name of `image` that `reference` means."""
    if reference.digest is None:
        return reference if reference in image.names else None
    for one in image.digests:
        if one.name == reference.name and one.digest == reference.digest:
            return one
    for one in image.names:
        if one.name == reference.name and reference.digest == image.manifest:
            return one
    return None
