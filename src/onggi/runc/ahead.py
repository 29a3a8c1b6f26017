"""All modules of the runtime in one file, read as they are needed: a half of what it costs to look for each of them.

The interpreter looks for each module in each directory and reads a file of its own for each: 11 ms for the fifty that a
container's start needs. From one file with an index, in which the standard library's own are as well, it takes 6. The file
lies beside the `.pyc` files and is made as they are: on the first use, by whoever may write there. A module whose source
has changed since is loaded the usual way, and the file is made anew.

    marshalled index, padded:   name → (source, its time in ns, its size, kind, offset, length)
    marshalled code of each module, one after the other

Callers: `start`, `main`. See importlib's `MetaPathFinder`.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader, PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any, TypeAlias

    Entry: TypeAlias = tuple[str, int, int, int, int, int]

_WANTED = ("onggi.", "_ctypes", "struct", "__future__", "_json", "termios", "resource", "tty")
"""What is kept: our modules, and those of the standard library that a command loads on the way of a start."""
_MODULE, _PACKAGE, _EXTENSION = range(3)
_INDEX = 32 << 10
"""Bytes for the index."""


class Finder:
    """Finds a module in the file, and makes it from there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.stale = False
        try:
            self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.entries = marshal.loads(os.pread(self.file, _INDEX, 0))
        except (OSError, ValueError, EOFError, TypeError):  # none yet, or one that was cut short
            self.stale = True

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Where the module is loaded from; None lets the others look for it."""
        entry = self.entries.get(name)
        if entry is None:
            self.stale = self.stale or name.startswith("onggi.")
            return None
        source, changed, size, kind, _, _ = entry
        found = os.stat(source)
        if found.st_mtime_ns != changed or found.st_size != size:
            self.stale = True
            return None
        loader: Any = ExtensionFileLoader(name, source) if kind == _EXTENSION else self
        spec = ModuleSpec(name, loader, origin=source, is_package=kind == _PACKAGE)
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(source.rpartition("/")[0])
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """A module as usual."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        _, _, _, _, offset, length = self.entries[module.__name__]
        exec(marshal.loads(os.pread(self.file, length, offset)), module.__dict__)


def install() -> None:
    """From here on the runtime's modules come from the file, if there is one."""
    path = f"{__file__.rpartition('/')[0]}/__pycache__/ahead.{sys.implementation.cache_tag}.bin"
    sys.meta_path.insert(0, Finder(path))


def renew() -> None:
    """Make the file anew if it turned out to lack something; who may not write it goes on without."""
    finder = next((found for found in sys.meta_path if isinstance(found, Finder)), None)
    if finder is None or not finder.stale or sys.dont_write_bytecode:
        return
    sys.meta_path.remove(finder)
    entries: dict[str, Entry] = {}
    codes, offset = [], _INDEX
    for name in sorted({*finder.entries, *sys.modules}):
        found = _find(name, finder.entries) if name.startswith(_WANTED) else None
        if found:
            source, changed, size, kind, code = found
            entries[name] = (source, changed, size, kind, offset, len(code))
            codes.append(code)
            offset += len(code)
    index = marshal.dumps(entries)
    if len(index) <= _INDEX:
        _write(finder.path, b"".join((index.ljust(_INDEX, b"\0"), *codes)))


def _write(path: str, data: bytes) -> None:
    new = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(new, path)
    except OSError:  # a read-only installation: every module comes from its own file
        return


def _find(name: str, entries: dict[str, Entry]) -> tuple[str, int, int, int, bytes] | None:
    """A module as the usual finder has it: source, time, size, kind, code."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    known = entries[name][0] if name in entries else getattr(loaded, "origin", None) or ""
    if not known.endswith((".py", ".so")):
        return None
    directory = os.path.dirname(known)
    spec = PathFinder.find_spec(name, [os.path.dirname(directory) if known.endswith("/__init__.py") else directory])
    source, loader = (spec.origin, spec.loader) if spec else (None, None)
    if not source or not loader:
        return None
    found = os.stat(source)
    if source.endswith(".so"):
        return source, found.st_mtime_ns, found.st_size, _EXTENSION, b""
    code: Any = loader.get_code(name)  # type: ignore[attr-defined]
    kind = _PACKAGE if spec and spec.submodule_search_locations else _MODULE
    return source, found.st_mtime_ns, found.st_size, kind, marshal.dumps(code)
