"""JSON for requests and answers, by the C half of the standard library's `json` alone.

`import json` brings `re` and `enum` along for error messages and pretty printing: 8 ms, of 70 that a whole `onggi run` may
take. The same C functions do the work here; where an interpreter has none, `json` itself does.
Callers: `client`, the files of `commands`. Read next: `client`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

make_scanner: Any
encode_basestring: Any
try:
    from _json import encode_basestring, make_scanner
except ImportError:
    make_scanner = None


class _Context:
    """How the scanner makes Python values: as `json.loads` does without arguments."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012


def loads(data: bytes | str) -> Any:
    """The value of one JSON document; ValueError when it is none."""
    text = (data if isinstance(data, str) else data.decode("utf-8", "surrogatepass")).strip(" \t\n\r")
    if make_scanner is None:
        return _json().loads(text)
    try:
        value, end = make_scanner(_Context)(text, 0)
    except (StopIteration, SystemError):  # the second where the scanner wants json's own error, which nobody has loaded
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("not JSON: more behind the document")
    return value


def dumps(value: Any) -> str:
    """`value` as JSON on one line, nothing escaped that need not be."""
    if make_scanner is None:
        text: str = _json().dumps(value, separators=(",", ":"), ensure_ascii=False)
        return text
    return "".join(_parts(value))


def _parts(value: Any) -> list[str]:
    if value is None or value is True or value is False:
        return ["null" if value is None else "true" if value else "false"]
    if isinstance(value, str):
        return [encode_basestring(value)]
    if isinstance(value, int | float):
        return [repr(value)]
    out: list[str] = []
    if isinstance(value, dict):
        for name, inner in value.items():
            out += [",", encode_basestring(name), ":", *_parts(inner)]
        return ["{", *out[1:], "}"]
    for inner in value:
        out += [",", *_parts(inner)]
    return ["[", *out[1:], "]"]


def _json() -> Any:
    import json

    return json
