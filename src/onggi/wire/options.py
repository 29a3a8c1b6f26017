"""What attach and logs are asked for: values that the API makes from a query and the engine obeys. Data only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """Which streams, whether from now on (`stream`), from the log (`logs`), or both; no `detach_keys` mean Docker's."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    detach_keys: str = ""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which lines of the log: times in nanoseconds since 1970, 0 for no limit; `tail` None for all lines."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    since_ns: int = 0
    until_ns: int = 0
    timestamps: bool = False
    details: bool = False
    tail: int | None = None
