"""How a command fails: one exception that carries what to print and the exit status.

It stands beside `onggi.errors` because a command has an exit status and no fields, and because every millisecond of
imports is a millisecond of `onggi run`. Callers: everything in `cli`. Read next: `output`.
"""

from __future__ import annotations


class CommandFailed(Exception):
    """The command ends here: `message` (*verb object: cause*), a `hint` where a person can act, the exit `status`."""

    def __init__(self, message: str, *, hint: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class EngineSaidNo(CommandFailed):
    """The engine answered with an error; `code` is its HTTP status."""

    def __init__(self, message: str, code: int, *, hint: str = "", status: int = 1) -> None:
        super().__init__(message, hint=hint, status=status)
        self.code = code
