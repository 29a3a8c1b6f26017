"""Undoing in reverse order: what `contextlib` does, as far as we use it, at a tenth of its cost at import.

`contextlib` loads `collections`, `functools` and `types`, four milliseconds, half as much as the interpreter itself. Type
checkers see the standard library's own names. Callers: `kernel`, `runtime`, `runc`. Read next: `values`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack as ExitStack
    from contextlib import contextmanager as contextmanager
    from contextlib import suppress as suppress
else:

    class ExitStack:
        """Callbacks, run in reverse order at the end of the `with`; `pop_all` moves them away on success."""

        __slots__ = ("_exits",)

        def __init__(self):
            self._exits = []

        def callback(self, function, /, *arguments, **named):
            """Call `function` at the end."""
            self._exits.append(lambda *_: function(*arguments, **named) and None)
            return function

        def enter_context(self, manager):
            """Enter `manager` now, leave it at the end."""
            entered = manager.__enter__()
            self._exits.append(manager.__exit__)
            return entered

        def pop_all(self):
            """Another stack with all that was registered here."""
            moved = ExitStack()
            moved._exits, self._exits = self._exits, []
            return moved

        def close(self):
            """Run everything now."""
            self.__exit__(None, None, None)

        def __enter__(self):
            return self

        def __exit__(self, kind, error, traceback):
            first = error
            while self._exits:
                leave = self._exits.pop()
                try:
                    if leave(type(error) if error else None, error, error.__traceback__ if error else None):
                        error = None
                except BaseException as failed:  # noqa: BLE001 - raised below, when all the others have had their turn
                    if failed is not error and failed.__context__ is None:
                        failed.__context__ = error
                    error = failed
            if error is not None and error is not first:
                raise error
            return first is not None and error is None

    class suppress:  # noqa: N801 - the standard library's name
        """Errors of these classes end the body and nothing else."""

        __slots__ = ("_classes",)

        def __init__(self, *classes):
            self._classes = classes

        def __enter__(self):
            return None

        def __exit__(self, kind, error, traceback):
            return kind is not None and issubclass(kind, self._classes)

    class _Generated:
        __slots__ = ("_generator",)

        def __init__(self, generator):
            self._generator = generator

        def __enter__(self):
            return next(self._generator)

        def __exit__(self, kind, error, traceback):
            if error is None:
                next(self._generator, None)
                return False
            try:
                self._generator.throw(error)
            except StopIteration as ended:
                return ended is not error
            except BaseException as raised:
                if raised is error:
                    return False
                raise
            raise RuntimeError("the context manager went on after an error")

    def contextmanager(function):
        """A generator function with one `yield` as a context manager."""

        def make(*arguments, **named):
            return _Generated(function(*arguments, **named))

        make.__doc__ = function.__doc__
        make.__name__ = function.__name__
        return make
