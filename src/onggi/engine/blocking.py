"""Work that may block, off the event loop: the one way in which `engine/` uses threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def blocking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a thread and wait for it."""
    return await asyncio.to_thread(function, *args, **kwargs)
