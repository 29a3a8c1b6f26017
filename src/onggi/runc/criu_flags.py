"""The flags of `checkpoint` and `restore` as CRIU's options. Callers: `checkpoint`, `restore`. Read next: `runtime/dump`."""

from __future__ import annotations

import fcntl
import os

from onggi.errors import Invalid, NotFound
from onggi.runtime.dump import EMPTY_NETWORK, Wish
from onggi.wire.criu import CGROUP_MODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from onggi.runc.words import Options

_IMAGES = "checkpoint"
"""Where the images are unless it is said: below the working directory."""
_YES_OR_NO = {
    "leave-running": "leave_running",
    "tcp-established": "tcp_established",
    "tcp-skip-in-flight": "tcp_skip_in_flight",
    "link-remap": "link_remap",
    "ext-unix-sk": "ext_unix_sk",
    "shell-job": "shell_job",
    "file-locks": "file_locks",
    "auto-dedup": "auto_dedup",
    "lazy-pages": "lazy_pages",
}
_HIGHEST_PORT = 65535


def wish(given: Options) -> Wish:
    """What these flags ask for; Invalid or NotFound say which cannot be meant."""
    images = os.path.abspath(given.get("image-path") or _IMAGES)
    options: dict[str, Any] = {option: True for flag, option in _YES_OR_NO.items() if given.has(flag)}
    options |= _texts(given)
    options["manage_cgroups_mode"] = _mode(given.get("manage-cgroups-mode"))
    options["empty_ns"] = _empty_namespaces(given.every("empty-ns"))
    if given.get("parent-path"):
        options |= {"parent_img": _parent(images, given.get("parent-path")), "track_mem": True}
    if given.get("page-server"):
        options["ps"] = _server(given.get("page-server"))
    work = given.get("work-path")
    return Wish(
        images,
        os.path.abspath(work) if work else "",
        options,
        _status_fd(given),
        given.has("pre-dump"),
    )


def _texts(given: Options) -> dict[str, str]:
    names = ("lsm-profile", "lsm-mount-context")
    return {name.replace("-", "_"): given.get(name) for name in names if given.get(name)}


def _mode(word: str) -> int:
    if word not in CGROUP_MODES:
        known = ", ".join(filter(None, CGROUP_MODES))
        raise Invalid(
            "read", "--manage-cgroups-mode", f"invalid manage-cgroups-mode value: `{word}` is none of {known}"
        )
    return CGROUP_MODES[word]


def _empty_namespaces(words: list[str]) -> int:
    for word in words:
        if word != "network":
            raise Invalid("read", "--empty-ns", f'namespace "{word}" is not supported: only network is')
    return EMPTY_NETWORK  # said or not: links and addresses are never the runtime's


def _parent(images: str, parent: str) -> str:
    if os.path.isabs(parent):
        raise Invalid("read", "--parent-path", "--parent-path must be relative: to the images", hint="../previous")
    path = os.path.join(images, parent)
    if not os.path.exists(images):  # nor can a link lead elsewhere
        path = os.path.normpath(path)
    if not os.path.isdir(path):
        raise NotFound("read", "--parent-path", f"invalid --parent-path: {path} is no directory")
    return parent


def _server(text: str) -> dict[str, Any]:
    address, colon, port = text.rpartition(":")
    if not (address and colon and port):
        raise Invalid("read", "--page-server", f"Use --page-server ADDRESS:PORT to specify page server, not `{text}`")
    if not port.isdecimal() or not 0 < int(port) <= _HIGHEST_PORT:
        raise Invalid("read", "--page-server", f"Invalid port number: {port}")
    return {"address": address.strip("[]"), "port": int(port)}


def _status_fd(given: Options) -> int:
    number = given.number("status-fd", -1)
    if number < 0 or not given.has("lazy-pages"):
        return -1
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
    except OSError as error:
        raise Invalid("read", "--status-fd", f"invalid --status-fd argument {number}: it is not open") from error
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise Invalid("read", "--status-fd", f"invalid --status-fd argument {number}: not writable")
    os.set_inheritable(number, False)  # CRIU does not write to it: we do
    return number
