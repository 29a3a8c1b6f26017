"""JSON by the C half of the standard library's `json`, without its Python half.

`json` loads `re`, and so `enum`, `functools` and `collections`, five milliseconds, to find white space and to give
errors a line number; a container starts in twenty. The two C functions that do the work are used as `json` uses them; an
interpreter that has not got them takes `json` itself. Callers: `runtime`, `runc`. Read next: `values`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLANK = " \t\n\r"


def _nan(word: str) -> float:
    return float(word.replace("Infinity", "inf"))


_scan: Any
make_encoder: Any
try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    class _Choices:
        """What `make_scanner` asks its decoder for."""

        strict = True
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = staticmethod(_nan)
        memo: dict[str, str] = {}  # noqa: RUF012 - the scanner's own

    _scan = make_scanner(_Choices())  # type: ignore[arg-type]  # a JSONDecoder by what it has
except ImportError:  # another interpreter than CPython
    _scan = make_encoder = None


def loads(data: bytes | str) -> Any:
    """The value of a JSON document; ValueError says what is wrong and where."""
    text = data if isinstance(data, str) else data.decode()
    start, end = 0, len(text)
    while start < end and text[start] in _BLANK:
        start += 1
    try:
        value, stop = _scan(text, start)
    except (TypeError, StopIteration, SystemError, ValueError):  # no scanner; or an error that only `json` can word
        return _slow(text)
    return value if stop == end or not text[stop:].strip(_BLANK) else _slow(text)


def _slow(text: str) -> Any:
    import json

    return json.loads(text)


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is no JSON value")


def dumps(value: Any, indent: int | None = None, *, sort_keys: bool = False) -> bytes:
    """The value as a JSON document in ASCII, on one line unless `indent` says how far to set in."""
    if make_encoder is None or indent is not None:
        import json

        return json.dumps(value, indent=indent, sort_keys=sort_keys).encode()
    encoder = make_encoder({}, _refuse, encode_basestring_ascii, None, ": ", ", ", sort_keys, False, True)
    return "".join(encoder(value, 0)).encode()
