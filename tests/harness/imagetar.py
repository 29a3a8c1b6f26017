"""Builders of archives for the tests of the store: members, layers, docker-archives, OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes = b"", **fields: Any) -> Member:
    """A member, root's unless said otherwise."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, mode: int = 0o755, **fields: Any) -> Member:
    """A directory."""
    return member(name, b"", type=tarfile.DIRTYPE, mode=mode, **fields)


def link(name: str, target: str) -> Member:
    """A symbolic link."""
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> Member:
    """A hard link."""
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def packed(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """`sha256:…` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers: Sequence[bytes], **fields: Any) -> bytes:
    """An image config over plain layers."""
    document = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}
    return json.dumps(
        document | {"rootfs": {"type": "layers", "diff_ids": [digest(one) for one in layers]}} | fields
    ).encode()


def docker_files(images: Sequence[tuple[Sequence[bytes], Sequence[str]]]) -> dict[str, bytes]:
    """The files of a docker-archive: (layers, names) for each image."""
    files: dict[str, bytes] = {}
    items = []
    for layers, names in images:
        document = config(layers)
        name = digest(document)[7:] + ".json"
        files[name] = document
        paths = []
        for layer in layers:
            paths.append(f"{digest(layer)[7:]}/layer.tar")
            files[paths[-1]] = layer
            files[f"{digest(layer)[7:]}/VERSION"] = b"1.0"
        items.append({"Config": name, "RepoTags": list(names) or None, "Layers": paths})
    files["manifest.json"] = json.dumps(items).encode()
    return files


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of files by name."""
    return packed(member(name, data) for name, data in files.items())


def docker_archive(*images: tuple[Sequence[bytes], Sequence[str]]) -> bytes:
    """What `docker save` wrote before it knew the OCI."""
    return archive(docker_files(images))


class Layout:
    """An OCI image layout in the making."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.entries: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str, **fields: Any) -> dict[str, Any]:
        """Put in a blob; its descriptor."""
        name = digest(data)
        self.files["blobs/sha256/" + name[7:]] = data
        return {"mediaType": media_type, "digest": name, "size": len(data)} | fields

    def image(self, layers: Sequence[bytes], *, compressed: bool = True, **fields: Any) -> dict[str, Any]:
        """Put in an image; its manifest's descriptor."""
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compressed else "")
        document = {
            "schemaVersion": 2,
            "config": self.blob(config(layers, **fields), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(gzip.compress(one, 1, mtime=0) if compressed else one, kind) for one in layers],
        }
        return self.blob(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")

    def index(self, *entries: dict[str, Any]) -> dict[str, Any]:
        """Put in a nested index; its descriptor."""
        document = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        return self.blob(document, "application/vnd.oci.image.index.v1+json")

    def name(self, entry: dict[str, Any], **annotations: str) -> None:
        """Put a descriptor into index.json."""
        keys = {"name": "io.containerd.image.name", "ref": "org.opencontainers.image.ref.name"}
        self.entries.append(entry | {"annotations": {keys[key]: value for key, value in annotations.items()}})

    def archive(self) -> bytes:
        """The layout as a tar."""
        index = json.dumps({"schemaVersion": 2, "manifests": self.entries}).encode()
        return archive(self.files | {"index.json": index})
