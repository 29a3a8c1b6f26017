"""C's types and functions by the C half of the standard library's `ctypes`, without its Python half.

`ctypes` makes thirty classes, opens libraries and maps executable memory that nobody here uses: one and a half milliseconds of
each container's start. Its C module has all that counts; here are the few names that `kernel` uses, as `ctypes` has them, and
type checkers see those. An interpreter that lacks the C half's names takes `ctypes` itself. Callers: the files beside this
one, as `ctypes`. Read next: `syscall`.
"""

from __future__ import annotations

__all__ = [
    "CDLL",
    "POINTER",
    "PyDLL",
    "Structure",
    "addressof",
    "byref",
    "c_char",
    "c_char_p",
    "c_int",
    "c_int32",
    "c_long",
    "c_size_t",
    "c_uint",
    "c_uint32",
    "c_uint64",
    "c_ulong",
    "c_ushort",
    "c_void_p",
    "create_string_buffer",
    "get_errno",
    "pythonapi",
    "sizeof",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import CDLL as CDLL
    from ctypes import POINTER as POINTER
    from ctypes import PyDLL as PyDLL
    from ctypes import Structure as Structure
    from ctypes import addressof as addressof
    from ctypes import byref as byref
    from ctypes import c_char as c_char
    from ctypes import c_char_p as c_char_p
    from ctypes import c_int as c_int
    from ctypes import c_int32 as c_int32
    from ctypes import c_long as c_long
    from ctypes import c_size_t as c_size_t
    from ctypes import c_uint as c_uint
    from ctypes import c_uint32 as c_uint32
    from ctypes import c_uint64 as c_uint64
    from ctypes import c_ulong as c_ulong
    from ctypes import c_ushort as c_ushort
    from ctypes import c_void_p as c_void_p
    from ctypes import create_string_buffer as create_string_buffer
    from ctypes import get_errno as get_errno
    from ctypes import pythonapi as pythonapi
    from ctypes import sizeof as sizeof
else:
    try:
        from _ctypes import (
            FUNCFLAG_CDECL,
            FUNCFLAG_PYTHONAPI,
            FUNCFLAG_USE_ERRNO,
            POINTER,
            CFuncPtr,
            Structure,
            _SimpleCData,
            addressof,
            byref,
            dlopen,
            get_errno,
            sizeof,
        )
    except ImportError:
        from ctypes import *  # noqa: F403
        from ctypes import pythonapi
    else:

        def _simple(name, code):
            return type(_SimpleCData)(name, (_SimpleCData,), {"_type_": code, "__module__": __name__})

        c_int, c_uint, c_long, c_ulong, c_ushort, c_char, c_char_p, c_void_p = (
            _simple(name, code)
            for name, code in (
                ("c_int", "i"),
                ("c_uint", "I"),
                ("c_long", "l"),
                ("c_ulong", "L"),
                ("c_ushort", "H"),
                ("c_char", "c"),
                ("c_char_p", "z"),
                ("c_void_p", "P"),
            )
        )
        c_int32, c_uint32 = c_int, c_uint
        c_size_t = c_uint64 = c_ulong  # on every Linux with 64 bits
        assert sizeof(c_ulong) == 8

        class CDLL:
            """A library whose functions let other threads run; None is the process itself."""

            flags = FUNCFLAG_CDECL

            def __init__(self, name, use_errno=False):
                flags = self.flags | (FUNCFLAG_USE_ERRNO if use_errno else 0)
                self._handle = dlopen(name, 0)
                self._kind = type(CFuncPtr)("Function", (CFuncPtr,), {"_flags_": flags, "_restype_": c_int})

            def __getitem__(self, name):
                function = self._kind((name, self))
                function.__name__ = name
                return function

            def __getattr__(self, name):
                if name.startswith("__"):
                    raise AttributeError(name)
                function = self[name]
                setattr(self, name, function)
                return function

        class PyDLL(CDLL):
            """A library whose functions keep the interpreter's lock."""

            flags = FUNCFLAG_CDECL | FUNCFLAG_PYTHONAPI

        pythonapi = PyDLL(None)

        def create_string_buffer(given, size=None):
            """Bytes that C may write: those given, up to `size`, or that many zeros."""
            length = given if isinstance(given, int) else size or len(given) + 1
            buffer = (c_char * length)()
            if not isinstance(given, int):
                buffer.value = given
            return buffer
