"""Documents of the API: typed in Python, JSON with Docker's names on the wire.

A `Document` is a frozen msgspec struct with snake_case attributes; `docker_name` says what each is called on the wire.
`decode` is as lenient as Go's `encoding/json`, which every Docker client was written against: keys match whatever their
case, unknown keys are ignored, `null` leaves a field at its zero value. `encode` leaves out what Go marks `omitempty`.
It checks form only; whether a value makes sense is decided in `engine/spec`. Only the engine and the API import this
file (msgspec is slow to load). Read next: `containers`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import inspect

from onggi.errors import Invalid

_WORDS = {
    "ip": "IP",
    "ipv4": "IPv4",
    "ipv6": "IPv6",
    "ips": "IPs",
    "ids": "IDs",
    "ipam": "IPAM",
    "dns": "DNS",
    "uts": "UTS",
    "oom": "OOM",
    "io": "IO",
    "cpu": "CPU",
    "os": "Os",
    "tcp": "TCP",
    "iops": "IOps",
    "cdi": "CDI",
    "api": "API",
}
"""Parts of names that are not written with one capital. `id` is `Id` alone and `ID` as the last part."""

_NAMES = {
    "rw": "RW",
    "dns": "Dns",
    "dns_options": "DnsOptions",
    "dns_search": "DnsSearch",
    "host_ip": "HostIp",
    "oom_score_adj": "OomScoreAdj",
    "oom_kill_disable": "OomKillDisable",
    "cpu_shares": "CpuShares",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_realtime_period": "CpuRealtimePeriod",
    "cpu_realtime_runtime": "CpuRealtimeRuntime",
    "cpu_count": "CpuCount",
    "cpu_percent": "CpuPercent",
    "container_id_file": "ContainerIDFile",
    "parent_id": "ParentId",
    "root_fs": "RootFS",
}
"""Names that Docker spells by no rule."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that Go's int64 holds."""
StrSlice = Annotated[list[str] | None, msgspec.Meta(extra={"strslice": True})]
"""Docker's list of words: a client may send one string for a list of one."""

_SURROGATE = re.compile("[\ud800-\udfff]")
D = TypeVar("D", bound="Document")
_SHAPES: dict[type[Any], dict[str, _Field]] = {}


def docker_name(attribute: str) -> str:
    """Docker's name on the wire of a snake_case attribute: `ip_address` is `IPAddress`."""
    if attribute in _NAMES:
        return _NAMES[attribute]
    parts = attribute.split("_")
    if len(parts) > 1 and parts[-1] == "id":
        parts[-1] = "ID"
    return "".join(_WORDS.get(part, part[:1].upper() + part[1:]) for part in parts)


class Document(msgspec.Struct, frozen=True, kw_only=True, rename=docker_name):
    """A JSON object of the API."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset()
    """Attributes that are left out on the wire when they are zero, empty or None (Go's `omitempty` on a value)."""
    OMIT_NONE: ClassVar[frozenset[str]] = frozenset()
    """Attributes that are left out when they are None, and sent when they are zero (`omitempty` on a pointer)."""


class _Field:
    """What `_shaped` knows of one field: its name on the wire and what may stand in it."""

    __slots__ = ("is_slice", "item", "name", "nullable", "struct")

    def __init__(self, name: str, kind: inspect.Type) -> None:
        self.name = name
        self.is_slice = False
        if isinstance(kind, inspect.Metadata):
            self.is_slice = bool(kind.extra and kind.extra.get("strslice"))
            kind = kind.type
        kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        self.nullable = any(isinstance(k, inspect.NoneType | inspect.AnyType) for k in kinds)
        kind = next((k for k in kinds if not isinstance(k, inspect.NoneType)), kinds[0])
        self.struct = kind.cls if isinstance(kind, inspect.StructType) else None
        self.item: _Field | None = None
        if isinstance(kind, inspect.ListType):
            self.item = _Field("", kind.item_type)
        elif isinstance(kind, inspect.DictType):
            self.item = _Field("", kind.value_type)


def encode(value: Any) -> bytes:
    """JSON as the API sends it, without the final newline; bytes that are no UTF-8 (a path, a command) are replaced."""
    plain = to_wire(value)
    try:
        return msgspec.json.encode(plain)
    except UnicodeEncodeError:
        return msgspec.json.encode(_printable(plain))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value


def to_wire(value: Any) -> Any:
    """A document as plain dicts and lists, without what Go would leave out."""
    if isinstance(value, Document):
        fields = {}
        for attribute, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            item = getattr(value, attribute)
            if (not item and attribute in value.OMIT_EMPTY) or (item is None and attribute in value.OMIT_NONE):
                continue
            fields[name] = to_wire(item)
        return fields
    if isinstance(value, dict):
        return {name: to_wire(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_wire(item) for item in value]
    return value


def decode(raw: bytes, kind: type[D]) -> D:
    """A document from a request's body; `Invalid` in Docker's words if it is none."""
    return convert(parse(raw), kind)


def convert(value: Any, kind: type[D]) -> D:
    """A document from decoded JSON, with Go's leniency."""
    try:
        return msgspec.convert(_shaped(value, kind), kind)
    except msgspec.ValidationError as error:
        raise _invalid(_mismatch(str(error), kind)) from error


def parse(raw: bytes) -> Any:
    """One JSON value; `Invalid` for bad syntax, an empty body or anything that trails it."""
    if not raw.strip():
        raise _invalid("invalid JSON: got EOF while reading request body")
    try:
        return msgspec.json.decode(raw)
    except RecursionError as error:
        raise _invalid("invalid JSON: exceeded max depth") from error
    except UnicodeDecodeError:
        return parse(raw.decode(errors="replace").encode())  # as Go does
    except msgspec.DecodeError as error:
        raise _invalid(_syntax(raw, str(error))) from error


def _invalid(text: str) -> Invalid:
    return Invalid("read", "request body", text, code="text")


def _syntax(raw: bytes, reason: str) -> str:
    """Go's words for a syntax error; the standard library's parser knows where it is."""
    text = raw.decode(errors="replace").lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return "invalid JSON: exceeded max depth"
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or error.msg.startswith("Unterminated"):
            return "invalid JSON: unexpected EOF"
        where = _LOOKING_FOR.get(error.msg, "looking for beginning of value")
        return f"invalid JSON: invalid character '{text[error.pos]}' {where}"
    return "unexpected content after JSON" if text[end:].strip() else f"invalid JSON: {reason}"


_LOOKING_FOR = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
}
_GO_TYPES = {"str": "string", "int": "int64", "array": "[]string", "object": "map[string]string", "bool": "bool"}
_GO_VALUES = {"str": "string", "int": "number", "float": "number", "array": "array", "object": "object", "bool": "bool"}


_MISMATCH = re.compile(r"Expected `([^`|]+)[^`]*`(?:, got `(\w+)`)?[^$]*(?:`\$\.?([^`]*)`)?$")


def _mismatch(reason: str, kind: type[Any]) -> str:
    """Go's words for a value of the wrong type; `reason` is msgspec's: "Expected `str`, got `int` - at `$.Image`"."""
    found = _MISMATCH.match(reason)
    if found is None:
        return f"invalid JSON: {reason}"
    wanted, got, path = found[1].strip(), found[2] or "int", found[3]
    field = f"Go struct field {kind.__name__}.{path}" if path else "Go value"
    value, wanted = _GO_VALUES.get(got, got), _GO_TYPES.get(wanted, wanted)
    return f"invalid JSON: json: cannot unmarshal {value} into {field} of type {wanted}"


def _shape(kind: type[Any]) -> dict[str, _Field]:
    if kind not in _SHAPES:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)  # only documents are shaped
        _SHAPES[kind] = {f.encode_name.lower(): _Field(f.encode_name, f.type) for f in info.fields}
    return _SHAPES[kind]


def _shaped(value: Any, kind: type[Any]) -> Any:
    """`value` with the keys that `kind` knows, spelled its way, and without nulls that mean zero."""
    if not isinstance(value, dict):
        return value
    shape = _shape(kind)
    found = {}
    for key, item in value.items():
        field = shape.get(key.lower())
        if field is None or (item is None and not field.nullable):
            continue
        found[field.name] = _shaped_field(item, field)
    return found


def _shaped_field(item: Any, field: _Field) -> Any:
    if field.is_slice and isinstance(item, str):
        return [item]
    if field.struct is not None:
        return _shaped(item, field.struct)
    if field.item is None:
        return item
    if isinstance(item, dict):
        return {k: _shaped_item(v, field.item) for k, v in item.items()}
    if isinstance(item, list):
        return [_shaped_item(v, field.item) for v in item]
    return item


def _shaped_item(item: Any, field: _Field) -> Any:
    if item is None and not field.nullable:
        return {} if field.struct is not None else [] if field.item is not None else ""
    return _shaped_field(item, field)
