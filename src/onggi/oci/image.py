"""The OCI image spec's documents, and Docker's dialect of them, as data.

What is decoded here is read only: a document is kept and passed on as the bytes that came, because its digest is its
name. Unknown fields are ignored. Callers: `store/`, `engine/images`. Read next: `store/content`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from onggi.errors import Corrupt
from onggi.oci.digest import Digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset({INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})

NAME = "io.containerd.image.name"
"""The annotation of an index entry that carries the full reference."""
REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation that the OCI image layout has for it: a tag, or whatever its writer liked."""


class PlatformFields(msgspec.Struct, frozen=True, omit_defaults=True):
    """The platform of one entry of an index."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename={"media_type": "mediaType"}):
    """A pointer to content: what it is, its digest and its size."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    platform: PlatformFields | None = None


class Referrer(
    msgspec.Struct, frozen=True, omit_defaults=True, rename={"media_type": "mediaType", "artifact_type": "artifactType"}
):
    """A descriptor in a list of referrers, which also says what sort of thing it is."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True, rename={"schema_version": "schemaVersion", "media_type": "mediaType"}):
    """One image for one platform: its config and its layers, bottom first."""

    config: Descriptor
    layers: list[Descriptor]
    schema_version: int = 2
    media_type: str = MANIFEST


class Index(msgspec.Struct, frozen=True, rename={"schema_version": "schemaVersion", "media_type": "mediaType"}):
    """Several images: for several platforms, or all that a layout holds."""

    manifests: list[Descriptor]
    schema_version: int = 2
    media_type: str = INDEX


class HealthConfig(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """HEALTHCHECK: the command, and times in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """What a container of this image runs unless told otherwise (the image config's `config`)."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any]] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    healthcheck: HealthConfig | None = None


class RootFs(msgspec.Struct, frozen=True):
    """The layers as they are once unpacked: digests of the plain tars, bottom first."""

    diff_ids: list[str] = []
    type: str = "layers"


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of how the image was built."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename={"os_version": "os.version"}):
    """The image config; its digest is the image's id."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = ""
    created: str | None = None
    author: str = ""
    docker_version: str = ""
    config: RunConfig | None = None
    rootfs: RootFs = RootFs()
    history: list[History] | None = None

    @property
    def run(self) -> RunConfig:
        """The `config` part, empty where the document has none."""
        return self.config or RunConfig()

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The layers' digests, checked; Invalid if one is none."""
        return tuple(Digest.parse(text) for text in self.rootfs.diff_ids)


_Document = TypeVar("_Document")


def decode(data: bytes, kind: type[_Document], what: str) -> _Document:
    """`data` as a document of `kind`; Corrupt names `what` and the field that is wrong."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt("read image document", what, str(error), code="image.bad-document") from None


def encode(document: msgspec.Struct) -> bytes:
    """The document as JSON, without spaces, fields in the order of their declaration."""
    return msgspec.json.encode(document)
