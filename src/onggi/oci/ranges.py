"""Lists of numbers as the kernel writes them, `0-3,7`: of processors and of memory nodes. Pure. See cpuset(7)."""

from __future__ import annotations

from onggi.errors import Invalid

LARGEST = 64 << 10
"""The largest number that is taken: far above what kernels have, far below what a mask could not be made of."""


def parse_ranges(text: str) -> int:
    """The numbers as a mask, one bit each; 0 for an empty list.

    Blanks around an entry and empty entries count for nothing; Invalid says what is wrong with the rest.
    """
    mask = 0
    for entry in text.split(","):
        word = entry.strip()
        if not word:
            continue
        first, dash, last = word.partition("-")
        start = _number(first, text)
        end = _number(last, text) if dash else start
        if start > end:
            raise Invalid("read list", text, f"invalid range: {word}")
        mask |= ((1 << end - start + 1) - 1) << start
    if text.strip() and not mask:
        raise Invalid("read list", text, "it has no members")
    return mask


def _number(word: str, text: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise Invalid("read list", text, f"{word!r} is no number")
    if len(word) > len(str(LARGEST)) or int(word) > LARGEST:
        raise Invalid("read list", text, f"values larger than {LARGEST} are not supported")
    return int(word)
