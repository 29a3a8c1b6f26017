"""Which capabilities a container gets: Docker's default, what is added, what is dropped.

Pure. Callers: `engine/spec`. Read next: `kernel/capability`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from onggi.errors import Invalid
from onggi.kernel import capability


def chosen(
    add: Sequence[str] | None,
    drop: Sequence[str] | None,
    *,
    privileged: bool = False,
    held: Collection[str] = capability.NAMES,
) -> tuple[str, ...]:
    """The canonical names, by Docker's rules: `ALL` in one list makes the other list the exceptions.

    `held` are those that this host can give (`capability.names(capability.bounded())`): `ALL` and `privileged` mean all
    of them, and asking for another by name is an error. `Invalid` has Docker's sentence as its cause, to be said
    as it is (code `text`), and the facts `field` (`CapAdd` or `CapDrop`) and `name`.
    """
    added, dropped = _parsed("CapAdd", add, held), _parsed("CapDrop", drop, held)
    if privileged:
        return tuple(name for name in capability.NAMES if name in held)
    if capability.ALL in added:
        return tuple(name for name in capability.NAMES if name in held and name not in dropped)
    if capability.ALL in dropped:
        return added
    kept = tuple(name for name in capability.DEFAULT if name not in dropped)
    return kept + tuple(name for name in added if name not in kept)


def _parsed(field: str, given: Sequence[str] | None, held: Collection[str]) -> tuple[str, ...]:
    found = []
    for text in given or ():
        try:
            name = capability.parse(text)
        except Invalid as error:
            raise _refused(field, error.facts["name"], "unknown capability") from error
        if name != capability.ALL and name not in held:
            cause = "capability not supported by your kernel or not available in the current environment"
            raise _refused(field, name, cause)
        found.append(name)
    return tuple(dict.fromkeys(found))


def _refused(field: str, name: str, cause: str) -> Invalid:
    facts = {"field": field, "name": name}
    return Invalid("read", field, f'invalid {field}: {cause}: "{name}"', code="text", facts=facts)
