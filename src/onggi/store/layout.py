"""What the files of an image archive mean: which images they hold, with which layers and names.

    docker-archive      manifest.json → [{Config: file, RepoTags: [name], Layers: [file, …]}]; a layer may be a link to
                        another image's, as old `docker save` wrote it
    OCI image layout    index.json → manifests, or indexes of them for several platforms, in blobs/<algorithm>/<hex>

Pure but for the store's blobs. Callers: `store/load`. Read next: `images`.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

import msgspec

from onggi.errors import Corrupt, Invalid, NotFound, Unsupported
from onggi.oci import choice, platform
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.oci.image import Descriptor, ImageConfig, Index, Manifest
from onggi.oci.reference import Reference
from onggi.store.content import Content
from onggi.store.source import compression

_CONFIGS = frozenset({spec.CONFIG, spec.DOCKER_CONFIG})
_MOST_LINKS = 16
_DEEPEST_INDEX = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the archive, now a blob."""

    digest: Digest
    size: int
    compression: str


@dataclass(slots=True)
class Files:
    """What was in the archive, by name."""

    documents: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, Stored] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def link(self, name: str, target: str) -> None:
        """Take in a link; a relative target starts where the link is."""
        self.links[name] = posixpath.normpath(posixpath.join("/", posixpath.dirname(name), target)).lstrip("/")

    def blob(self, name: str) -> Stored:
        """The blob of that name, through links; Corrupt in Docker's words if the archive lacks it."""
        found = posixpath.normpath(posixpath.join("/", name)).lstrip("/")
        for _ in range(_MOST_LINKS):
            if found in self.blobs:
                return self.blobs[found]
            if found not in self.links:
                break
            found = self.links[found]
        raise Corrupt("load image", name, "no such file or directory", code="load.missing-file", facts={"file": name})


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image to be."""

    diff_id: Digest
    blob: Stored

    @property
    def verified(self) -> bool:
        """Whether the blob's own digest already says what its plain bytes are."""
        return not self.blob.compression and self.blob.digest == self.diff_id


@dataclass(frozen=True, slots=True)
class Found:
    """An image of the archive: its blobs are in the store, its layers are not unpacked yet."""

    id: Digest
    manifest: Digest
    names: tuple[Reference, ...]
    layers: tuple[Layer, ...]


class _Item(msgspec.Struct, rename="pascal", frozen=True):
    """One element of manifest.json."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


def images_in(files: Files, content: Content) -> list[Found]:
    """The images of an archive, in its order; Corrupt if it is none."""
    if "manifest.json" in files.documents:
        items = spec.decode(files.documents["manifest.json"], list[_Item], "manifest.json")
        return [_docker_image(item, files, content) for item in items]
    if "index.json" in files.documents:
        index = spec.decode(files.documents["index.json"], Index, "index.json")
        return _joined([_oci_image(entry, content) for entry in choice.images(index.manifests)])
    raise Corrupt(
        "load image",
        "",
        "open manifest.json: no such file or directory",
        hint="this is no image archive; `docker import` takes the tar of a file system",
        code="load.no-manifest",
    )


# -- docker-archive ------------------------------------------------------------------------------------------------


def _docker_image(item: _Item, files: Files, content: Content) -> Found:
    config = files.blob(item.config)
    document = _config(content, config.digest)
    blobs = [files.blob(name) for name in item.layers or []]
    layers = _layers(document, blobs)
    names = tuple(_tag(name) for name in item.repo_tags or [])
    return Found(config.digest, _make_manifest(content, config, blobs), names, layers)


def _make_manifest(content: Content, config: Stored, blobs: list[Stored]) -> Digest:
    """An OCI manifest for an image that came without one."""
    layers = [Descriptor(_media_type(blob.compression), str(blob.digest), blob.size) for blob in blobs]
    manifest = Manifest(Descriptor(spec.CONFIG, str(config.digest), config.size), layers)
    return content.add(spec.encode(manifest))


def _media_type(kind: str) -> str:
    return f"{spec.LAYER}+{kind}" if kind else spec.LAYER


def _tag(name: str) -> Reference:
    reference = Reference.parse(name)
    if not reference.tag or reference.digest:
        raise Invalid("load image", name, f"invalid tag {name!r}", code="reference.invalid")
    return reference


# -- OCI image layout ----------------------------------------------------------------------------------------------


def _oci_image(entry: Descriptor, content: Content) -> Found:
    manifest = _for_this_machine(entry, content)
    digest = Digest.parse(manifest.digest)
    document = spec.decode(_blob(content, digest), Manifest, str(digest))
    if document.config.media_type not in _CONFIGS:
        raise Unsupported("load image", str(digest), f"it is no container image but {document.config.media_type}")
    config = Digest.parse(document.config.digest)
    blobs = [_layer_blob(content, layer) for layer in document.layers]
    layers = _layers(_config(content, config), blobs)
    return Found(config, digest, _names(entry), layers)


def _for_this_machine(entry: Descriptor, content: Content, depth: int = 0) -> Descriptor:
    """The manifest that an entry means here: itself, or of an index the one that this machine runs best."""
    if entry.media_type in spec.MANIFESTS:
        return entry
    if entry.media_type not in spec.INDEXES or depth == _DEEPEST_INDEX:
        raise Unsupported("load image", entry.digest, f"media type {entry.media_type} is no image")
    digest = Digest.parse(entry.digest)
    index = spec.decode(_blob(content, digest), Index, str(digest))
    # An archive of one platform keeps the whole index but only that platform's blobs.
    present = [one for one in index.manifests if content.has(Digest.parse(one.digest))]
    return _for_this_machine(choice.choose(present, platform.host()), content, depth + 1)


def _names(entry: Descriptor) -> tuple[Reference, ...]:
    """The name of an entry: containerd's annotation, or the OCI's where it is more than a bare tag."""
    annotations = entry.annotations or {}
    name = annotations.get(spec.NAME, "")
    short = annotations.get(spec.REF_NAME, "")
    if not name and (":" in short or "/" in short):
        name = short
    if not name:
        return ()
    reference = Reference.parse(name).with_default_tag()
    return (reference,) if reference.tag else ()


def _layer_blob(content: Content, layer: Descriptor) -> Stored:
    digest = Digest.parse(layer.digest)
    size = _size(content, digest)
    if size != layer.size:
        raise Corrupt("load image", str(digest), f"expected {layer.size} bytes, got {size}", code="blob.size")
    return Stored(digest, size, compression(content.head(digest)))


def _joined(found: list[Found]) -> list[Found]:
    """One image with all its names where the index has it several times."""
    together: dict[Digest, Found] = {}
    for image in found:
        before = together.get(image.manifest)
        names = (*before.names, *image.names) if before else image.names
        together[image.manifest] = Found(image.id, image.manifest, tuple(dict.fromkeys(names)), image.layers)
    return list(together.values())


# -- both ----------------------------------------------------------------------------------------------------------


def _config(content: Content, digest: Digest) -> ImageConfig:
    config = spec.decode(_blob(content, digest), ImageConfig, str(digest))
    if config.os not in ("", "linux"):
        raise Unsupported("load image", str(digest), f"cannot load {config.os} image on linux", code="load.os")
    return config


def _layers(config: ImageConfig, blobs: list[Stored]) -> tuple[Layer, ...]:
    diff_ids = config.diff_ids
    if len(diff_ids) != len(blobs):
        cause = f"invalid manifest, layers length mismatch: expected {len(blobs)}, got {len(diff_ids)}"
        raise Corrupt("load image", "", cause, code="load.layers")
    for number, (diff_id, blob) in enumerate(zip(diff_ids, blobs, strict=True)):
        if diff_id.algorithm != "sha256":
            raise Unsupported("load image", str(diff_id), "a layer's digest must be sha256")
        if not blob.compression and blob.digest.algorithm == "sha256" and blob.digest != diff_id:
            raise wrong_diff_id(number, diff_id, blob.digest)
    return tuple(Layer(diff_id, blob) for diff_id, blob in zip(diff_ids, blobs, strict=True))


def wrong_diff_id(number: int, expected: Digest, found: object) -> Corrupt:
    """The error of a layer that is not the one that the config names, in Docker's words."""
    cause = f'invalid diffID for layer {number}: expected "{expected}", got "{found}"'
    return Corrupt("load image", "", cause, code="layer.diff-id")


def _blob(content: Content, digest: Digest) -> bytes:
    _size(content, digest)
    return content.read(digest)


def _size(content: Content, digest: Digest) -> int:
    try:
        return content.size(digest)
    except NotFound:
        raise Corrupt("load image", str(digest), "the archive lacks this blob", code="load.missing-blob") from None
