"""Execs on the wire: what create and start take. Data only. Callers: `engine/execs`, the API. Read next: `document`."""

from __future__ import annotations

from onggi.wire.document import Document, Int64, StrSlice


class ExecCreate(Document, frozen=True, kw_only=True):
    """`POST /containers/{id}/exec`: what runs in the container, as whom, and which of its streams are wanted."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: list[Int64] | None = None
    """Rows, columns."""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: StrSlice = None


class ExecStart(Document, frozen=True, kw_only=True):
    """`POST /exec/{id}/start`: whether to leave it to itself. Whether it has a terminal was said when it was made."""

    detach: bool = False
    tty: bool = False
    console_size: list[Int64] | None = None
    """Rows, columns."""
