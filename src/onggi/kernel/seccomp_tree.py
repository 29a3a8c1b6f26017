"""A small, fast BPF program for calls whose answer depends on their number alone.

A filter with hundreds of comparisons in a row costs twice: the kernel compiles every instruction when the filter is
loaded, and then asks it for every system call number once, to remember constant answers. So numbers with one answer are
gathered into ranges, and the ranges found by a search tree, one instruction a boundary; what also depends on arguments
is left to another program, which stands behind this one:

    load arch ─► x86_64? ── no ─► i386? ── no ─► …  ─► the other program
                    │ yes
                    └► load nr ─► nr ≥ 512? ─► nr ≥ 300? ─► … ─► answer, or the other program

Pure. Callers: `seccomp`. Read next: `bpf`. See seccomp(2), the kernel's Documentation/networking/filter.rst.
"""

from __future__ import annotations

import struct

from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    Answer: TypeAlias = int | None
    """What the kernel is told, or None to ask the other program."""
    Ranges: TypeAlias = Sequence[tuple[int, Answer]]
    """First number and answer of each range; the first one starts at 0, each ends before the next one."""

INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, lines to skip if true, if false, operand
_LOAD, _JUMP, _EQUAL, _GREATER_OR_EQUAL, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
_NARROW = 230
"""Boundaries up to which every jump within an architecture's part fits into the eight bits of a conditional jump."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One instruction; `yes` and `no` name where to go on, empty for the next line."""

    code: int
    yes: str = ""
    no: str = ""
    operand: int = 0


def ranges(answers: Mapping[int, Answer], default: Answer, first: int = 0) -> list[tuple[int, Answer]]:
    """Numbers with their answers, all others with the default, as ranges from `first` on."""
    found: list[tuple[int, Answer]] = []

    def put(number: int, answer: Answer) -> None:
        if found and found[-1][0] == number:
            found.pop()
        if not found or found[-1][1] != answer:
            found.append((number, answer))

    put(first, default)
    for number in sorted(answers):
        put(number, answers[number])
        put(number + 1, default)
    return found


def program(architectures: Sequence[tuple[int, Ranges]], other: bytes) -> bytes:
    """The program for each architecture's ranges, with `other` behind it for all that is left."""
    lines = [_Line(_LOAD, operand=_ARCHITECTURE_AT)]
    labels: dict[str, int] = {}
    for place, (token, given) in enumerate(architectures):
        lines += [_Line(_EQUAL, yes=f"numbers {place}", operand=token), _Line(_JUMP, yes=f"after {place}")]
        labels[f"numbers {place}"] = len(lines)
        lines.append(_Line(_LOAD, operand=_NUMBER_AT))
        if len(given) > _NARROW:
            _wide(lines, labels, given, f"{place}:")
        else:
            _narrow(lines, labels, given, f"{place}:")
        labels[f"after {place}"] = len(lines)
    labels["other"] = len(lines)
    return _assemble(lines, labels) + other


def _narrow(lines: list[_Line], labels: dict[str, int], given: Ranges, prefix: str) -> None:
    """One instruction a boundary; the answers, each once, at the end."""

    def where(part: Ranges) -> str:
        return f"{prefix}={part[0][1]}" if len(part) == 1 else f"{prefix}{part[0][0]}-{part[-1][0]}"

    def node(part: Ranges) -> None:
        if len(part) == 1:
            return
        low, high = part[: len(part) // 2], part[len(part) // 2 :]
        labels[where(part)] = len(lines)
        lines.append(_Line(_GREATER_OR_EQUAL, yes=where(high), no=where(low), operand=high[0][0]))
        node(low)
        node(high)

    node(given)
    for answer in dict.fromkeys(answer for _, answer in given):
        labels[f"{prefix}={answer}"] = len(lines)
        lines.append(_leaf(answer))


def _wide(lines: list[_Line], labels: dict[str, int], given: Ranges, prefix: str) -> None:
    """Two instructions a boundary and an answer wherever it is needed: jumps of any length."""
    if len(given) == 1:
        lines.append(_leaf(given[0][1]))
        return
    low, high = given[: len(given) // 2], given[len(given) // 2 :]
    label = f"{prefix}{high[0][0]}"
    lines.append(_Line(_GREATER_OR_EQUAL, no=f"{label} low", operand=high[0][0]))
    lines.append(_Line(_JUMP, yes=label))
    labels[f"{label} low"] = len(lines)
    _wide(lines, labels, low, prefix)
    labels[label] = len(lines)
    _wide(lines, labels, high, prefix)


def _leaf(answer: Answer) -> _Line:
    return _Line(_JUMP, yes="other") if answer is None else _Line(_RETURN, operand=answer)


def _assemble(lines: Sequence[_Line], labels: Mapping[str, int]) -> bytes:
    code = bytearray()
    for here, line in enumerate(lines):
        yes = labels[line.yes] - here - 1 if line.yes else 0
        no = labels[line.no] - here - 1 if line.no else 0
        if line.code == _JUMP:
            code += INSTRUCTION.pack(_JUMP, 0, 0, yes)
        else:
            code += INSTRUCTION.pack(line.code, yes, no, line.operand)
    return bytes(code)
