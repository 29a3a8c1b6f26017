"""A registry in memory that serves what a test puts into it, and stumbles where the test says. Callers: tests of pulls.

It reads only, and knows ranges. `asked` has every request; `fault` may change the answer to one.
"""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from harness.imagetar import config, digest
from harness.scripted import Asked, Scripted, answer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
Fault = Callable[[Asked, bytes], "bytes | Iterable[bytes] | None"]


class MemoryRegistry:
    """Repositories do not matter to it: every name has everything."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.fault: Fault = lambda asked, answer: answer
        self.server = Scripted(self._answer, listener)
        self.address = f"localhost:{self.server.port}"

    def close(self) -> None:
        """End it."""
        self.server.__exit__()

    def asked(self, what: str = "/blobs/") -> list[str]:
        """The digests of the blobs that were asked for, in order."""
        return [one.target.partition(what)[2] for one in self.server.asked if what in one.target]

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Put in a blob; its descriptor."""
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def image(
        self,
        tag: str,
        layers: Sequence[bytes],
        *,
        compress: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0),
        kind: str = "+gzip",
        media_type: str = MANIFEST,
        **fields: Any,
    ) -> dict[str, Any]:
        """Put in an image under a tag (or none); its manifest's descriptor."""
        document = config(layers, **fields)
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self.blob(document, "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(compress(layer), LAYER + kind) for layer in layers],
        }
        return self.manifest(tag, manifest, media_type)

    def index(self, tag: str, *entries: dict[str, Any]) -> dict[str, Any]:
        """Put in an index under a tag; its descriptor."""
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
        return self.manifest(tag, document, INDEX)

    def manifest(self, tag: str, document: Any, media_type: str) -> dict[str, Any]:
        """Put in a manifest of any sort."""
        data = json.dumps(document).encode()
        self.manifests[digest(data)] = (media_type, data)
        if tag:
            self.manifests[tag] = (media_type, data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def _answer(self, asked: Asked) -> bytes | Iterable[bytes] | None:
        return self.fault(asked, self._good(asked))

    def _good(self, asked: Asked) -> bytes:
        if asked.target == "/v2/":
            return answer(200, {})
        _, what, name = asked.target.rpartition("/manifests/")
        if what and name in self.manifests:
            media_type, data = self.manifests[name]
            given = {"content_type": media_type, "docker_content_digest": digest(data)}
            whole = answer(200, data, **given)
            return whole[: -len(data)] if asked.method == "HEAD" else whole
        _, what, name = asked.target.rpartition("/blobs/")
        if what and name in self.blobs:
            return _ranged(self.blobs[name], asked.headers.get("range", ""))
        code = "MANIFEST_UNKNOWN" if "/manifests/" in asked.target else "BLOB_UNKNOWN"
        return answer(404, {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]})


def _ranged(data: bytes, wanted: str) -> bytes:
    first = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
    if not first:
        return answer(200, data)
    if first >= len(data):
        return answer(416)
    return answer(206, data[first:], content_range=f"bytes {first}-{len(data) - 1}/{len(data)}")
