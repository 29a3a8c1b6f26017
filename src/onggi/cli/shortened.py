"""Steps made short enough to read: one name for the long id, one line for ten paths that differ in one word. Pure.

What comes out is still shell: `$ID` is set in the first line, and braces mean what bash means by them.
Caller: `glass`. Read next: `output`.
"""

from __future__ import annotations

_ID_DIGITS = 64
_HEX = frozenset("0123456789abcdef")


def container_id(descriptions: list[str]) -> str:
    """The id that the most steps name; empty when there is none."""
    counts: dict[str, int] = {}
    for text in descriptions:
        for word in text.replace(" ", "/").replace(",", "/").split("/"):
            if len(word) == _ID_DIGITS and set(word) <= _HEX:
                counts[word] = counts.get(word, 0) + 1
    return max(counts, key=lambda word: counts[word]) if counts else ""


def shorten(text: str, identifier: str) -> str:
    """One step's description, with `$ID` for the id and braces for what differs in one place."""
    if identifier:
        text = text.replace(identifier, "$ID")
    statements = text.split("; ")
    if len(statements) > 2 and (folded := fold(statements)):
        return folded
    words = text.split(" ")
    for start in range(1, len(words) - 1):
        paths = words[start:]
        if all(path.startswith("/") for path in paths) and (folded := fold(paths)):
            return " ".join([*words[:start], folded])
    return text


def fold(texts: list[str]) -> str:
    """`/a/{x,y}/b` for `/a/x/b` and `/a/y/b`; empty when they differ in more than one part, or not at all."""
    parts = [text.split("/") for text in texts]
    if len(texts) < 2 or len({len(one) for one in parts}) != 1:
        return ""
    differing = [index for index, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1]
    if len(differing) != 1:
        return ""
    (index,) = differing
    choices = ",".join(one[index] for one in parts)
    return "/".join([*parts[0][:index], "{" + choices + "}", *parts[0][index + 1 :]])
