"""Descriptors with one owner.

A bare int is a borrowed descriptor; an `Fd` owns its number and closes it once. Every descriptor that the kernel gives us
is close-on-exec from its birth. Callers: every storey. Read next: `path`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Fd:
    """An owned descriptor; a context manager."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The number, borrowed; ValueError once closed or released."""
        if self._number < 0:
            raise ValueError("descriptor is closed")
        return self._number

    def release(self) -> int:
        """The number, and the duty to close it."""
        number, self._number = self.fileno(), -1
        return number

    def close(self) -> None:
        """Close now; a second call does nothing."""
        if self._number >= 0:
            number, self._number = self._number, -1
            os.close(number)

    def __enter__(self) -> Fd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Fd({self._number})"
