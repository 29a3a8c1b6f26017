"""Slotted classes that hold values, and flags: what `dataclasses` and `enum` do, as far as we use it, at a tenth of the cost.

The standard library writes the source of five methods for each class and compiles it; with some eighty classes that is half
of the time that a runtime takes to load. Here the methods are written once and read a class's list of fields. Type checkers
see a dataclass all the same (typing.dataclass_transform). Only what is loaded in a hurry needs this: `kernel`, `runtime`,
`oci/runtime` and `trace`. Left out: ClassVar, inheritance, `__post_init__`, keyword-only fields.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import IntFlag as IntFlag
    from typing import Any, NoReturn, TypeVar, dataclass_transform
    from typing import Protocol as Protocol

    T = TypeVar("T")
else:

    def dataclass_transform(**_):
        """Something that only a type checker reads."""
        return lambda function: function

    class Protocol:
        """What something must have to be used as that; nobody asks at run time."""

        __slots__ = ()

    class IntFlag(int):
        """`enum.IntFlag` as far as we use it: members that are numbers, and know their class when they are combined."""

        __slots__ = ()

        def __init_subclass__(cls):
            for name, value in list(vars(cls).items()):
                if isinstance(value, int):
                    setattr(cls, name, cls(value))

        def __or__(self, other):
            return type(self)(int(self) | int(other))

        def __and__(self, other):
            return type(self)(int(self) & int(other))

        def __invert__(self):
            return type(self)(~int(self))

        __ror__, __rand__ = __or__, __and__


class _Made:
    """The default of a field that each object has of its own."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], T]) -> T:
    """A default that is made anew for each object."""
    return _Made(default_factory)  # type: ignore[return-value]  # what the class shows is the field's own type


@dataclass_transform(field_specifiers=(field,))
def dataclass(*, frozen: bool = False, slots: bool = True) -> Callable[[type[T]], type[T]]:
    """The class with slots for its annotated names, and the methods that follow from them."""
    assert slots, "a class of values has slots"

    def decorate(plain: type[T]) -> type[T]:
        return _build(plain, frozen=frozen)

    return decorate


def replace(value: T, **changes: Any) -> T:
    """A copy with some fields changed."""
    made = object.__new__(type(value))
    for name in _fields(value):
        object.__setattr__(made, name, changes.pop(name) if name in changes else getattr(value, name))
    if changes:
        raise TypeError(f"{type(value).__name__} has no field {', '.join(changes)}")
    return made


def _fields(value: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = type(value).__match_args__
    return names


def _build(plain: type[T], *, frozen: bool) -> type[T]:
    body = dict(vars(plain))
    names = tuple(body.get("__annotations__", ()))
    defaults = {name: body.pop(name) for name in names if name in body}
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    body |= {"__slots__": names, "__match_args__": names, "__eq__": _equal, "__repr__": _show}
    body["__hash__"] = _hash if frozen else None
    if frozen:
        body |= {"__setattr__": _refuse, "__delattr__": _refuse}
    metaclass: Any = type(plain)
    made: Any = metaclass(plain.__name__, plain.__bases__, body)
    made.__qualname__ = plain.__qualname__
    made.__init__ = _initializer(made, names, defaults)
    return made  # type: ignore[no-any-return]


def _initializer(made: type, names: tuple[str, ...], defaults: dict[str, Any]) -> Callable[..., None]:
    setters = tuple(vars(made)[name].__set__ for name in names)  # past the __setattr__ of a frozen class
    count = len(names)

    def initialize(self: Any, *given: Any, **named: Any) -> None:
        if len(given) != count:
            given = _complete(made.__name__, names, defaults, given, named)
        elif named:
            raise TypeError(f"{made.__name__} got {', '.join(named)} twice, or has no such field")
        for setter, value in zip(setters, given, strict=True):
            setter(self, value)

    return initialize


def _complete(
    what: str, names: tuple[str, ...], defaults: dict[str, Any], given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, ...]:
    """All values in order: those given by place, then by name, then by default."""
    values = list(given)
    for name in names[len(given) :]:
        if name in named:
            values.append(named.pop(name))
        elif name in defaults:
            default = defaults[name]
            values.append(default.make() if type(default) is _Made else default)
        else:
            raise TypeError(f"{what} needs {name}")
    if named or len(values) > len(names):
        raise TypeError(f"{what} got {', '.join(named) or 'a value'} twice, or has no such field")
    return tuple(values)


def _values(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, name) for name in _fields(value)])


def _equal(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _show(self: Any) -> str:
    pairs = ", ".join(f"{name}={getattr(self, name)!r}" for name in _fields(self))
    return f"{type(self).__qualname__}({pairs})"


def _refuse(self: Any, name: str, *_value: Any) -> NoReturn:
    raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be changed")
