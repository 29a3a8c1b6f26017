"""The two images that need no network: `hello`, made of this machine's busybox, and `host`, this machine itself.

They come into being when first asked for, unless somebody's own image has the name. `host` has no layers: its lower
layer is `/`, and what a container changes lies in memory. What marks it is not its config alone, which anybody could
copy into an archive, but an annotation that only we write and a secret in the config that makes its id this machine's.
Callers: `store/worker`. Read next: `elf`.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterable
from datetime import UTC, datetime

from onggi.errors import NotFound
from onggi.oci import image as spec
from onggi.oci import platform
from onggi.oci.digest import Digest
from onggi.oci.image import Descriptor, History, ImageConfig, Manifest, RootFs, RunConfig
from onggi.oci.reference import Reference
from onggi.store import elf
from onggi.store.images import BUILTIN, Image
from onggi.store.store import Store

NAMES = ("hello", "host")
LABEL = BUILTIN
_BUSYBOX = "/bin/busybox"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_APPLETS = """
    [ ash awk basename cat chgrp chmod chown clear cp cut date dd df dirname dmesg du echo env expr false find free grep
    gunzip gzip head hostname id ifconfig ip kill killall less ln ls md5sum mkdir mknod mktemp more mount mv nc netstat
    nproc nslookup pgrep pidof ping pkill printenv printf ps pwd readlink realpath renice rm rmdir route sed seq sh
    sha256sum sleep sort stat stty su sync tail tar tee test time timeout top touch tr traceroute true tty umount uname
    uniq uptime vi watch wc wget which whoami xargs yes zcat
"""
_DIRECTORIES = "bin dev etc proc root sys tmp var var/tmp"
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"

_SCRIPT = rb"""#!/bin/sh
# What a container sees of the machine, told by the container itself.
say() { printf '  %-10s %-28s %s\n' "$1" "$2" "$3"; }
addresses=$(ip -o -4 addr show up 2>/dev/null | awk '{printf "%s%s", sep, $4; sep = " "}')
users=$(awk 'NR == 1 {print $1 " is " $2 " outside"}' /proc/self/uid_map)
root=$(awk '$5 == "/" {for (i = 7; i <= NF; i++) if ($i == "-") {print $(i + 1); exit}}' /proc/self/mountinfo)

echo
echo 'Hello from inside a container!'
echo
echo 'It is no virtual machine: it is a process like any other, on the same kernel,'
echo 'with a view of its own. This is the view:'
echo
say kernel "$(uname -sr)" "shared with the machine"
say hostname "$(hostname)" "uts namespace"
say processes "$(ls /proc | grep -c '^[0-9]') to be seen, I am pid $$" "pid namespace"
say addresses "${addresses:-none}" "net namespace"
say users "uid $users" "user namespace"
say root "${root:-not a mount of its own}" "mnt namespace"
say cgroup "$(tail -n 1 /proc/self/cgroup | cut -d: -f3 | cut -c1-28)" "where limits are kept and counted"
echo
echo 'The namespaces have numbers. Two processes with the same number share that view;'
echo 'compare with: ls -l /proc/self/ns   on the machine itself.'
echo
for kind in cgroup ipc mnt net pid time user uts; do
    [ -e "/proc/self/ns/$kind" ] && printf '  %s\n' "$(readlink "/proc/self/ns/$kind")"
done
echo
echo 'To look around yourself, run this image with: sh'
echo
"""
_GREETING = b"""
Hello from inside a container: a process like any other, with a view of its own.
This image holds one program of a few hundred bytes, because the machine has no static busybox.

"""


def is_builtin(reference: Reference) -> str:
    """`hello` or `host` if that is what the reference means here, else empty."""
    reference = reference.with_default_tag()
    name = reference.familiar_name
    return name if name in NAMES and reference.tag == "latest" and not reference.digest else ""


def make(store: Store, name: str) -> Image:
    """The image `hello` or `host`, made now if no image has that name."""
    reference = Reference.parse(name).with_default_tag()
    try:
        return store.images.resolve(str(reference))
    except NotFound:
        if not is_builtin(reference):
            raise
    with store.locks.writing():
        manifest = _hello(store) if name == "hello" else _host(store)
        store.images.register([(manifest, [reference])], builtin=name)
    return store.images.resolve(str(reference))


def _hello(store: Store) -> Digest:
    busybox = _static_busybox()
    layer = _busybox_layer(busybox) if busybox else _tiny_layer()
    digest = store.content.add(layer)
    run = RunConfig(env=[_PATH], cmd=["/hello"], labels={LABEL: "hello"})
    manifest = _register(store, run, [(digest, len(layer))])
    store.layers.apply(digest, store.content.path(digest), verified=True, progress=lambda count: None)
    store.layers.sync()
    return manifest


def _host(store: Store) -> Digest:
    shell = "bash" if shutil.which("bash") else "sh"
    # The value is a secret: an archive that copied the rest would still have another id.
    run = RunConfig(env=[_PATH], cmd=[shell], working_dir="/", labels={LABEL: f"host {secrets.token_hex(16)}"})
    return _register(store, run, [])


def _register(store: Store, run: RunConfig, layers: list[tuple[Digest, int]]) -> Digest:
    """Config and manifest as blobs; the manifest's digest."""
    here = platform.host()
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    config = ImageConfig(
        architecture=here.architecture,
        os=here.os,
        variant=here.variant,
        created=now,
        config=run,
        rootfs=RootFs([str(digest) for digest, _ in layers]),
        history=[History(created=now, created_by="onggi", empty_layer=not layers)],
    )
    data = spec.encode(config)
    descriptors = [Descriptor(spec.LAYER, str(digest), size) for digest, size in layers]
    manifest = Manifest(Descriptor(spec.CONFIG, str(store.content.add(data)), len(data)), descriptors)
    return store.content.add(spec.encode(manifest))


def _static_busybox() -> bytes:
    """This machine's busybox if it needs no library, else nothing."""
    try:
        with open(_BUSYBOX, "rb") as file:
            data = file.read()
    except OSError:
        return b""
    return data if is_static(data) else b""


def is_static(program: bytes) -> bool:
    """Whether the bytes are a 64-bit ELF program for this machine that asks for no interpreter (elf(5), PT_INTERP)."""
    if program[:6] != b"\x7fELF\x02\x01" or len(program) < 64:
        return False
    at = int.from_bytes(program[32:40], "little")
    size, count = int.from_bytes(program[54:56], "little"), int.from_bytes(program[56:58], "little")
    return all(program[place : place + 4] != b"\x03\0\0\0" for place in range(at, at + size * count, size or 1))


def _busybox_layer(busybox: bytes) -> bytes:
    members = [_directory(name) for name in _DIRECTORIES.split()]
    members += [
        _file("bin/busybox", busybox, 0o755),
        _file("etc/passwd", _PASSWD),
        _file("etc/group", _GROUP),
        _file("hello", _SCRIPT, 0o755),
    ]
    members += [_link(f"bin/{applet}", "busybox") for applet in _APPLETS.split()]
    return _tar(members)


def _tiny_layer() -> bytes:
    program = elf.greeting(_GREETING, os.uname().machine)
    return _tar([_file("hello", program, 0o755), _file("etc/passwd", _PASSWD), _file("etc/group", _GROUP)])


_Member = tuple[tarfile.TarInfo, bytes]


def _tar(members: Iterable[_Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _file(name: str, data: bytes, mode: int = 0o644) -> _Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    return info, data


def _directory(name: str) -> _Member:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
    return info, b""


def _link(name: str, target: str) -> _Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info, b""
