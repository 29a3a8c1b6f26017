"""Images on the wire. Data only; `engine/images` fills them."""

# ruff: noqa: RUF012 - msgspec copies a mutable default for each new struct
from __future__ import annotations

from typing import ClassVar

from onggi.wire.containers import ContainerConfig, GraphDriver
from onggi.wire.document import Document


class ImageSummary(Document, frozen=True, kw_only=True):
    """An element of `GET /images/json`; `created` in seconds, `containers` and `shared_size` -1 when not counted."""

    containers: int = -1
    created: int = 0
    id: str = ""
    labels: dict[str, str] | None = None
    parent_id: str = ""
    repo_digests: list[str] = []
    repo_tags: list[str] = []
    shared_size: int = -1
    size: int = 0


class RootFS(Document, frozen=True, kw_only=True):
    """The layers, by the digest of what they unpack to."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"layers"})
    type: str = "layers"
    layers: list[str] = []


class ImageMetadata(Document, frozen=True, kw_only=True):
    """What only this machine knows of an image."""

    last_tag_time: str = "0001-01-01T00:00:00Z"


class ImageInspect(Document, frozen=True, kw_only=True):
    """`GET /images/{name}/json`."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"created", "variant", "os_version"})
    id: str
    repo_tags: list[str] = []
    repo_digests: list[str] = []
    parent: str = ""
    comment: str = ""
    created: str = ""
    docker_version: str = ""
    author: str = ""
    config: ContainerConfig | None = None
    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = ""
    size: int = 0
    graph_driver: GraphDriver = GraphDriver()
    root_fs: RootFS = RootFS()
    metadata: ImageMetadata = ImageMetadata()


class HistoryEntry(Document, frozen=True, kw_only=True):
    """An element of `GET /images/{name}/history`, newest first; `id` is `<missing>` where no image stands for it."""

    comment: str = ""
    created: int = 0
    created_by: str = ""
    id: str = "<missing>"
    size: int = 0
    tags: list[str] | None = None


class ImageDeleted(Document, frozen=True, kw_only=True):
    """An element of the answer to delete: one of the two."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset({"untagged", "deleted"})
    untagged: str = ""
    deleted: str = ""


class ImagesPruned(Document, frozen=True, kw_only=True):
    """The answer to prune."""

    images_deleted: list[ImageDeleted] | None = None
    space_reclaimed: int = 0
