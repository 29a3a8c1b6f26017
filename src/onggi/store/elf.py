"""The smallest program: a static ELF file that writes a text and exits, put together by hand.

For machines without a static busybox, so that there is always an image to run. The file is one header, one segment, a
dozen instructions and the text (elf(5)). Callers: `store/builtin`.
"""

from __future__ import annotations

import struct

from onggi.errors import Unsupported

_BASE = 0x400000
_HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_START = _HEADER.size + _SEGMENT.size
_MACHINES = {"x86_64": 62, "aarch64": 183}


def greeting(text: bytes, machine: str) -> bytes:
    """A program for `machine` (as uname(2) names it) that does write(1, text) and exit(0)."""
    if machine not in _MACHINES:
        raise Unsupported("make program", machine, "no instructions are known for this machine")
    code = _x86_64(len(text)) if machine == "x86_64" else _aarch64(len(text))
    size = _START + len(code) + len(text)
    header = _HEADER.pack(
        b"\x7fELF", 2, 1, 1, 0, 0,  # 64 bits, little-endian, version 1, System V
        2, _MACHINES[machine], 1,  # ET_EXEC
        _BASE + _START, _HEADER.size, 0, 0,  # entry, segments, no sections, no flags
        _HEADER.size, _SEGMENT.size, 1, 0, 0, 0,
    )  # fmt: skip
    segment = _SEGMENT.pack(1, 5, 0, _BASE, _BASE, size, size, 0x1000)  # PT_LOAD, read and execute, all of the file
    return header + segment + code + text


def _x86_64(length: int) -> bytes:
    after_lea = (
        b"\xba" + struct.pack("<I", length)  # mov edx, length
        + b"\x0f\x05"  # syscall
        + b"\xb8\x3c\0\0\0"  # mov eax, 60 (exit)
        + b"\x31\xff"  # xor edi, edi
        + b"\x0f\x05"  # syscall
    )  # fmt: skip
    return (
        b"\xb8\x01\0\0\0"  # mov eax, 1 (write)
        b"\xbf\x01\0\0\0"  # mov edi, 1
        b"\x48\x8d\x35" + struct.pack("<i", len(after_lea))  # lea rsi, [rip + behind the code]
        + after_lea
    )  # fmt: skip


def _aarch64(length: int) -> bytes:
    words = (
        0xD2800808,  # mov x8, 64 (write)
        0xD2800020,  # mov x0, 1
        0x10000000 | (6 << 5) | 1,  # adr x1, six instructions on: behind the code; its low two bits are 0
        0xD2800002 | ((length & 0xFFFF) << 5),  # mov x2, length
        0xD4000001,  # svc 0
        0xD2800BA8,  # mov x8, 93 (exit)
        0xD2800000,  # mov x0, 0
        0xD4000001,  # svc 0
    )
    return struct.pack(f"<{len(words)}I", *words)
