"""Which containers there are: by id, by name, by the beginning of an id.

Names are reserved before the work of a create begins, so that two creates at once cannot both have one. Callers:
`containers`, `views`.
"""

from __future__ import annotations

from collections.abc import Iterator

from onggi.engine.container import Container
from onggi.errors import Conflict, Invalid, NotFound
from onggi.wire import names


class Directory:
    """All containers of the engine."""

    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._ids_by_name: dict[str, str] = {}

    def __iter__(self) -> Iterator[Container]:
        return iter(self._by_id.values())

    def get(self, container_id: str) -> Container | None:
        """The container of this full id."""
        return self._by_id.get(container_id)

    def find(self, ref: str) -> Container:
        """By full id, name, or a beginning of an id that only one has; NotFound, or Invalid when several have it."""
        if found := self._by_id.get(ref):
            return found
        named = self._ids_by_name.get(ref.removeprefix("/"))
        if named and (found := self._by_id.get(named)):
            return found
        hits = [c for key, c in self._by_id.items() if ref and key.startswith(ref)]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise Invalid("find", ref, "several ids begin so", code="container.ambiguous", facts={"name": ref})
        raise NotFound.of("container", ref)

    def reserve(self, name: str | None, container_id: str) -> str:
        """Take a name, a random one for None; Invalid if it is no name, Conflict if another container has it."""
        if name:
            wanted = names.check(name)
            self._check_free(wanted)
        else:
            wanted = names.random_name()
            while wanted in self._ids_by_name:
                wanted = names.random_name(attempt=1)
        self._ids_by_name[wanted] = container_id
        return wanted

    def _check_free(self, name: str, code: str = "container.name-in-use") -> None:
        holder = self._ids_by_name.get(name)
        if holder:
            facts = {"name": name, "id": holder}
            raise Conflict("name", name, "the name is taken", code=code, facts=facts)

    def release(self, name: str, container_id: str) -> None:
        """Give a name back."""
        if self._ids_by_name.get(name) == container_id:
            del self._ids_by_name[name]

    def add(self, container: Container) -> None:
        """A container that is whole."""
        self._by_id[container.id] = container
        self._ids_by_name[container.name] = container.id

    def remove(self, container: Container) -> None:
        """Forget it."""
        self._by_id.pop(container.id, None)
        self.release(container.name, container.id)

    def rename(self, container: Container, name: str) -> str:
        """Change its name; returns the new one."""
        wanted = names.check(name)
        self._check_free(wanted, "container.rename-in-use")
        self.release(container.name, container.id)
        self._ids_by_name[wanted] = container.id
        return wanted
