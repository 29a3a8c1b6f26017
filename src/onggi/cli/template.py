"""`--format`: `json`, or a template of plain fields such as `{{.ID}} {{.State.Pid}}`.

Go's template language is larger; what is not understood is refused by name, never printed half. Pure.
Callers: `commands/ps`, `commands/images`, `commands/inspect` and others. Read next: `output`.
"""

from __future__ import annotations

from onggi.cli.document import dumps
from onggi.cli.failure import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HINT = (
    "this client knows {{.Field}}, {{.Outer.Inner}}, {{json .Field}} and {{json .}}; `--format json` gives everything"
)
_ESCAPES = (("\\t", "\t"), ("\\n", "\n"))


def render(template: str, value: Any) -> str:
    """`value` as one line of `template`; `json` gives all of it."""
    if template == "json":
        return dumps(value)
    for written, meant in _ESCAPES:
        template = template.replace(written, meant)
    out, rest = [], template
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        action, closed, rest = rest.partition("}}")
        if not closed:
            raise CommandFailed(f"read format `{template}`: `{{{{` without `}}}}`", hint=_HINT, status=64)
        out += [before, _action(action.strip(), value)]
    return "".join([*out, rest])


def headings(template: str, names: dict[str, str]) -> tuple[str, str]:
    """(template, heading line) of `table {{.ID}}\\t{{.Names}}`; the heading is empty without the word `table`."""
    if not template.startswith("table "):
        return template, ""
    body = template.removeprefix("table ")
    return body, render(body, {field: names.get(field, field.upper()) for field in _fields(body)})


def _fields(template: str) -> list[str]:
    return [
        part.partition("}}")[0].strip().removeprefix("json ").strip().lstrip(".") for part in template.split("{{")[1:]
    ]


def _action(action: str, value: Any) -> str:
    encode = action.startswith("json ")
    path = action.removeprefix("json ").strip()
    if not path.startswith(".") or not all(c.isalnum() or c in "._-" for c in path):
        raise CommandFailed(f"read format: `{{{{{action}}}}}` is not a plain field", hint=_HINT, status=64)
    found = _look_up(path, value)
    return dumps(found) if encode else _plain(found)


def _look_up(path: str, value: Any) -> Any:
    for name in path.split(".")[1:]:
        if not name:
            continue
        if not isinstance(value, dict) or name not in value:
            known = f"there are {', '.join(sorted(value))}" if isinstance(value, dict) else ""
            raise CommandFailed(f"read format: no field `{path}`", hint=known, status=64)
        value = value[name]
    return value


def _plain(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else dumps(value)
