"""A classic-BPF interpreter, enough for seccomp programs: what would the kernel answer to this call?"""

from __future__ import annotations

import struct
from collections.abc import Callable

ARCHITECTURES = {"x86_64": 0xC000003E, "x86": 0x40000003}
ALLOW, ERRNO, KILL_THREAD = 0x7FFF0000, 0x00050000, 0


def answer(program: bytes, number: int, arguments: tuple[int, ...] = (), arch: str = "x86_64") -> int:
    """The 32-bit return value of the program for this call."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, ARCHITECTURES[arch], 0, *(a & 0xFFFFFFFFFFFFFFFF for a in padded))
    lines = list(struct.iter_unpack("=HBBI", program))
    accumulator, here = 0, 0
    while True:
        code, yes, no, operand = lines[here]
        here += 1
        if code == 0x20:  # load a word of seccomp_data
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif code == 0x06:  # return
            return int(operand)
        elif code == 0x54:  # and
            accumulator &= operand
        elif code == 0x05:  # jump
            here += operand
        else:
            here += yes if _TESTS[code](accumulator, operand) else no


_TESTS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: bool(a & k),
}
