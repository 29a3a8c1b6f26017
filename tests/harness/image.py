"""Images made on the spot: a docker-archive with the machine's static busybox. Callers: `conftest`, tests of `load`."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

BUSYBOX = "busybox:test"


@cache
def applets() -> list[str]:
    """The names that busybox answers to."""
    done = subprocess.run([busybox_path(), "--list"], check=True, capture_output=True, text=True)
    return done.stdout.split()


def busybox_path() -> str:
    """The machine's static busybox."""
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if Path(path).exists():
            return path
    raise FileNotFoundError("busybox-static is not installed")


@cache
def busybox_layer() -> bytes:
    """A layer with busybox, its applets, and the few files that a root needs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var"):
            _directory(tar, name, 0o1777 if name == "tmp" else 0o755)
        _file(tar, "bin/busybox", Path(busybox_path()).read_bytes(), 0o755)
        for applet in applets():
            if applet != "busybox":
                _link(tar, f"bin/{applet}", "busybox")
        _file(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nwho:x:1234:1234::/home/who:/bin/sh\n", 0o644)
        _file(tar, "etc/group", b"root:x:0:\nwho:x:1234:\nextra:x:4321:who\n", 0o644)
    return out.getvalue()


def layer_of(files: Mapping[str, bytes]) -> bytes:
    """A layer with these files and the directories above them."""
    out = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            parts = name.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                directory = "/".join(parts[:depth])
                if directory not in made:
                    made.add(directory)
                    _directory(tar, directory, 0o755)
            _file(tar, name, data, 0o644)
    return out.getvalue()


def docker_archive(tags: list[str], layers: list[bytes], config: Mapping[str, Any] | None = None) -> bytes:
    """What `docker save` writes: manifest.json, the image's config, and a tar for each layer."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
        | dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "made for a test"} for _ in layers],
    }
    blob = json.dumps(document, sort_keys=True).encode()
    name = hashlib.sha256(blob).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": tags, "Layers": [f"{digest}/layer.tar" for digest in digests]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for digest, layer in dict(zip(digests, layers, strict=True)).items():
            _file(tar, f"{digest}/layer.tar", layer, 0o644)
        _file(tar, f"{name}.json", blob, 0o644)
        _file(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return out.getvalue()


def busybox_archive(tag: str = BUSYBOX) -> bytes:
    """A docker-archive of busybox under `tag`."""
    return docker_archive([tag], [busybox_layer()])


def _directory(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, mode, 1_700_000_000
    tar.addfile(entry)


def _file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), mode, 1_700_000_000
    tar.addfile(entry, io.BytesIO(data))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mtime = tarfile.SYMTYPE, target, 1_700_000_000
    tar.addfile(entry)
