"""What is said over CRIU's RPC socket: requests, answers, notifications. Pure.

    we                                   criu swrk FD (a seqpacket socket; one message, one protocol buffer)
     │ ── VERSION, keep open ────────────►
     │ ◄──────────────────── 4.1.1 ───── │
     │ ── DUMP or RESTORE, options ──────►
     │ ◄── NOTIFY "pre-dump", pid … ──── │   at each point of its work it stops
     │ ── NOTIFY, success ───────────────►   until we let it go on
     │ ◄── DUMP: success, or errno ───── │

The names and numbers are those of CRIU's images/rpc.proto. CRIU passes over options that its version does not know, so what
must not be passed over is in `SINCE`. Callers: `runtime/criu`, `runtime/dump`, `runtime/restore`. Read next: `protobuf`.
"""

from __future__ import annotations

from onggi.values import dataclass
from onggi.wire.protobuf import Field, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DUMP, RESTORE, CHECK, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 3, 4, 6, 9, 10
"""`criu_req_type`, of requests and answers."""
NAMES = {
    DUMP: "dump",
    RESTORE: "restore",
    CHECK: "check",
    PRE_DUMP: "pre-dump",
    NOTIFY: "notify",
    FEATURE_CHECK: "feature-check",
    VERSION: "version",
}
CGROUP_MODES = {"ignore": 0, "soft": 3, "full": 4, "strict": 5, "": 6}
"""`criu_cg_mode` by the words of `--manage-cgroups-mode`; without one CRIU decides."""
OLDEST = (3, 15, 0)
"""The first that has all that we always ask for: pid namespaces of others, the note that pages can be served."""
SINCE = {"lsm_profile": (3, 16, 0), "lsm_mount_context": (3, 16, 0)}
"""The release that knows an option which nobody may do without once it is given."""

_PAIR = {"key": Field(1, "string"), "val": Field(2, "string")}
_INHERITED = {"key": Field(1, "string"), "fd": Field(2, "int32")}
_GROUP = {"ctrl": Field(1, "string"), "path": Field(2, "string")}
_JOINED = {"ns": Field(1, "string"), "ns_file": Field(2, "string")}
_SERVER = {"address": Field(1, "string"), "port": Field(2, "int32")}
_OPTIONS = {
    "images_dir_fd": Field(1, "int32"),
    "pid": Field(2, "int32"),
    "leave_running": Field(3, "bool"),
    "ext_unix_sk": Field(4, "bool"),
    "tcp_established": Field(5, "bool"),
    "evasive_devices": Field(6, "bool"),
    "shell_job": Field(7, "bool"),
    "file_locks": Field(8, "bool"),
    "log_level": Field(9, "int32"),
    "log_file": Field(10, "string"),
    "ps": Field(11, "message", _SERVER),
    "notify_scripts": Field(12, "bool"),
    "root": Field(13, "string"),
    "parent_img": Field(14, "string"),
    "track_mem": Field(15, "bool"),
    "auto_dedup": Field(16, "bool"),
    "work_dir_fd": Field(17, "int32"),
    "link_remap": Field(18, "bool"),
    "ext_mnt": Field(23, "message", _PAIR, repeated=True),
    "manage_cgroups": Field(24, "bool"),
    "cg_root": Field(25, "message", _GROUP, repeated=True),
    "rst_sibling": Field(26, "bool"),
    "inherit_fd": Field(27, "message", _INHERITED, repeated=True),
    "manage_cgroups_mode": Field(34, "int32"),
    "external": Field(37, "string", repeated=True),
    "empty_ns": Field(38, "uint32"),
    "join_ns": Field(39, "message", _JOINED, repeated=True),
    "freeze_cgroup": Field(44, "string"),
    "tcp_skip_in_flight": Field(46, "bool"),
    "lazy_pages": Field(48, "bool"),
    "orphan_pts_master": Field(50, "bool"),
    "config_file": Field(51, "string"),
    "lsm_profile": Field(53, "string"),
    "lsm_mount_context": Field(63, "string"),
}
_FEATURES = {"mem_track": Field(1, "bool"), "lazy_pages": Field(2, "bool")}
_REQUEST = {
    "type": Field(1, "int32"),
    "opts": Field(2, "message", _OPTIONS),
    "notify_success": Field(3, "bool"),
    "keep_open": Field(4, "bool"),
    "features": Field(5, "message", _FEATURES),
}
_VERSION = {
    "major_number": Field(1, "int32"),
    "minor_number": Field(2, "int32"),
    "sublevel": Field(4, "int32"),
}
_ANSWER = {
    "type": Field(1, "int32"),
    "success": Field(2, "bool"),
    "restore": Field(4, "message", {"pid": Field(1, "int32")}),
    "notify": Field(5, "message", {"script": Field(1, "string"), "pid": Field(2, "int32")}),
    "cr_errno": Field(7, "int32"),
    "features": Field(8, "message", _FEATURES),
    "cr_errmsg": Field(9, "string"),
    "version": Field(10, "message", _VERSION),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What CRIU said: the end of a request, or a notification."""

    type: int
    success: bool
    errno: int = 0
    message: str = ""
    """Its first error, where it tells it."""
    pid: int = 0
    """Of the restored process, or what a notification is about, as the caller's pid namespace has it."""
    script: str = ""
    """A notification's point: `pre-dump`, `setup-namespaces`, `post-restore`, … (criu(8), --action-script)."""
    features: tuple[str, ...] = ()
    version: tuple[int, int, int] = (0, 0, 0)


def request(kind: int, options: Mapping[str, Any] | None = None, *, keep_open: bool = False) -> bytes:
    """A request; its options by the names of rpc.proto, those that are None are not set."""
    return encode(_REQUEST, {"type": kind, "opts": options, "keep_open": keep_open or None})


def feature_check(*names: str) -> bytes:
    """A request to say which of these features kernel and CRIU have; the next request may follow."""
    return encode(_REQUEST, {"type": FEATURE_CHECK, "keep_open": True, "features": dict.fromkeys(names, True)})


def go_on(*, success: bool) -> bytes:
    """The answer to a notification: go on, or give up."""
    return encode(_REQUEST, {"type": NOTIFY, "notify_success": success})


def answer(data: bytes) -> Answer:
    """CRIU's message; Corrupt when it is none."""
    found = decode(_ANSWER, data)
    version, notify = found.get("version", {}), found.get("notify", {})
    return Answer(
        type=found.get("type", 0),
        success=found.get("success", False),
        errno=found.get("cr_errno", 0),
        message=found.get("cr_errmsg", ""),
        pid=notify.get("pid") or found.get("restore", {}).get("pid", 0),
        script=notify.get("script", ""),
        features=tuple(name for name, there in found.get("features", {}).items() if there),
        version=(version.get("major_number", 0), version.get("minor_number", 0), version.get("sublevel", 0)),
    )


_WORDS = {"ext_unix_sk": "ext-unix-sk", "log_file": "log-file", "parent_img": "prev-images-dir", "pid": "tree"}
"""Where the command line's word is not the option's."""
_UNTOLD = {"notify_scripts", "manage_cgroups", "rst_sibling", "images_dir_fd", "work_dir_fd", "evasive_devices"}
"""What only the socket has, or what is told otherwise."""


def command(kind: int, options: Mapping[str, Any], images: str, work: str) -> str:
    """The nearest command line (criu(8)), for people."""
    words = ["criu", NAMES[kind], "--images-dir", images]
    words += ["--work-dir", work] if work else []
    for name, value in options.items():
        if name in _UNTOLD or value is None or value is False or value == []:
            continue
        words += _words(_WORDS.get(name, name.replace("_", "-")), name, value)
    return " ".join(words)


def _words(flag: str, name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{flag}"]
    if name == "log_level":
        return [f"-v{value}"]
    if name == "empty_ns":
        return ["--empty-ns", "net"]
    if name == "manage_cgroups_mode":
        return [f"--manage-cgroups={next(word for word, number in CGROUP_MODES.items() if number == value) or 'soft'}"]
    if name == "ps":
        return ["--page-server", "--address", value["address"], "--port", str(value["port"])]
    if name == "config_file":
        return ["--config", value]
    if not isinstance(value, list):
        return [f"--{flag}", str(value)]
    found = []
    for item in value:
        found += [f"--{_LISTED.get(name, ('external', ''))[0]}", _item(name, item)]
    return found


_LISTED = {
    "ext_mnt": ("external", "mnt[{key}]:{val}"),
    "inherit_fd": ("inherit-fd", "fd[{fd}]:{key}"),
    "cg_root": ("cgroup-root", "{ctrl}:{path}"),
    "join_ns": ("join-ns", "{ns}:{ns_file}"),
}


def _item(name: str, item: Any) -> str:
    return str(item) if name not in _LISTED else _LISTED[name][1].format(**item)
