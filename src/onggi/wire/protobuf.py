"""Protocol buffers' wire format, as far as one small protocol needs it: whole numbers, booleans, strings, messages.

A message is a run of fields, each a tag (its number and how it is stored) and a value. What is stored in 4 or 8 bytes
(`fixed32`, `double`) and packed repeated numbers are passed over when they come, and are never written. Pure; why not the
`protobuf` package: docs/decisions/0006. Caller: `criu`. See https://protobuf.dev/programming-guides/encoding/.

    tag = number << 3 | 0   varint: 7 bits a byte, the lowest first, the eighth bit says that more follow
                        | 1   8 bytes
                        | 2   a length as a varint, then so many bytes: string, message
                        | 5   4 bytes
"""

from __future__ import annotations

from onggi.errors import Corrupt
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeAlias

    Schema: TypeAlias = "Mapping[str, Field]"

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_STORED = {"int32": _VARINT, "uint32": _VARINT, "bool": _VARINT, "string": _BYTES, "message": _BYTES}
_LONGEST = 10
"""Bytes of a varint of 64 bits."""
_WRAP = 1 << 64


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: its number, `int32` (`enum` too), `uint32`, `bool`, `string` or `message`, and whose."""

    number: int
    kind: str
    schema: Schema | None = None
    repeated: bool = False


def encode(schema: Schema, values: Mapping[str, Any]) -> bytes:
    """The message with these fields; what is None is not set. KeyError for a field that the schema lacks."""
    parts = bytearray()
    for name, value in values.items():
        field = schema[name]
        for item in value if field.repeated else (value,):
            if item is not None:
                parts += _varint(field.number << 3 | _STORED[field.kind])
                parts += _value(field, item)
    return bytes(parts)


def _value(field: Field, value: Any) -> bytes:
    if _STORED[field.kind] == _VARINT:
        return _varint(int(value) % _WRAP)  # a negative int32 is stored as the 64 bits of its two's complement
    data = encode(field.schema, value) if field.schema else str(value).encode(errors="surrogateescape")
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def decode(schema: Schema, data: bytes) -> dict[str, Any]:
    """The fields that are set, by name; those that the schema lacks are passed over. Corrupt for anything else."""
    by_number = {field.number: (name, field) for name, field in schema.items()}
    found: dict[str, Any] = {}
    for number, stored, value in _fields(data):
        name, field = by_number.get(number, ("", None))
        if field is None:
            continue
        if stored != _STORED[field.kind]:
            raise _corrupt(f"field {name} is stored in another way ({stored}) than {field.kind} is")
        read = _read(field, value)
        if field.repeated:
            found.setdefault(name, []).append(read)
        else:
            found[name] = read  # of several the last counts
    return found


def _read(field: Field, value: Any) -> Any:
    if field.schema:
        return decode(field.schema, value)
    if field.kind == "string":
        return value.decode(errors="surrogateescape")
    if field.kind == "bool":
        return bool(value)
    low: int = value & 0xFFFFFFFF
    return low - (1 << 32) if field.kind == "int32" and low >> 31 else low


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Each field's number, how it is stored, and its value: a number or bytes."""
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        number, stored = tag >> 3, tag & 7
        if not number:
            raise _corrupt("a field has the number 0")
        if stored == _VARINT:
            value, at = _number(data, at)
            yield number, stored, value
            continue
        if stored == _BYTES:
            size, at = _number(data, at)
        elif stored in (_EIGHT, _FOUR):
            size = 8 if stored == _EIGHT else 4
        else:
            raise _corrupt(f"field {number} is stored in a way that is not known ({stored})")
        if size > len(data) - at:
            raise _corrupt(f"field {number} of {size} bytes is cut short")
        yield number, stored, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The varint at this place, and the place after it."""
    number = 0
    for place, byte in enumerate(data[at : at + _LONGEST]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number % _WRAP, at + place + 1
    raise _corrupt("a number is cut short or too long")


def _corrupt(cause: str) -> Corrupt:
    return Corrupt("read", "protocol buffer", cause)
