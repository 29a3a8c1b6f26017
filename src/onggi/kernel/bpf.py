"""eBPF programs for cgroup v2's device rules, assembled by hand: the only eBPF that containers need.

The kernel asks a program of the type BPF_PROG_TYPE_CGROUP_DEVICE at every open and mknod of a device; it sees

    u32 access_type   access << 16 | kind   (kind: 1 block, 2 character; access: 1 mknod, 2 read, 4 write)
    u32 major
    u32 minor

and answers 1 to allow, 0 to deny. `device_program` is pure; the rest is bpf(2). Callers: `cgroup/write`. Read next:
`cgroup/devices`. See bpf(2), the kernel's Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import errno
import os
import struct

from onggi.errors import KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel.cgroup.devices import ANY, DeviceException, Devices
from onggi.kernel.syscall import bind_number

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
_MOST_PROGRAMS = 64  # the kernel lets no more be attached to one cgroup

_KINDS = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

_INSTRUCTION = struct.Struct("=BBhi")  # operation, source << 4 | destination, offset, immediate
_LOAD_U32, _AND, _SHIFT_RIGHT, _MOVE, _SET, _SKIP_UNLESS, _EXIT = 0x61, 0x54, 0x74, 0xBC, 0xB4, 0x56, 0x95
_SKIP_IF_EQUAL = 0x16
_CONTEXT, _RESULT, _KIND, _ASKED, _MAJOR, _MINOR, _SCRATCH = 1, 0, 2, 3, 4, 5, 6

_attributes_call = bind_number("bpf", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


def device_program(devices: Devices) -> bytes:
    """The rules as eBPF instructions.

    Under *deny all*, one exception must cover all that is asked for; under *allow all*, one that forbids any part of it
    is enough to deny: as the v1 controller decides.
    """
    code = [
        _instruction(_LOAD_U32, _KIND, _CONTEXT, 0),
        _instruction(_MOVE, _ASKED, _KIND),
        _instruction(_AND, _KIND, immediate=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ASKED, immediate=16),
        _instruction(_LOAD_U32, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_U32, _MINOR, _CONTEXT, 8),
    ]
    for rule in devices.exceptions:
        code += _exception(rule, allow=not devices.allowed_by_default)
    code += [_instruction(_SET, _RESULT, immediate=int(devices.allowed_by_default)), _instruction(_EXIT, 0)]
    return b"".join(code)


def _exception(rule: DeviceException, *, allow: bool) -> list[bytes]:
    """The instructions for one exception: every test that fails skips to its end."""
    bits = sum(_ACCESS[letter] for letter in rule.access)
    tests = [(_SKIP_UNLESS, _KIND, _KINDS[rule.kind])]
    if rule.major != ANY:
        tests.append((_SKIP_UNLESS, _MAJOR, rule.major))
    if rule.minor != ANY:
        tests.append((_SKIP_UNLESS, _MINOR, rule.minor))
    before: list[bytes] = []
    if bits != 7:
        # allow: nothing beyond `bits` may be asked for; deny: something of `bits` is asked for
        before = [
            _instruction(_MOVE, _SCRATCH, _ASKED),
            _instruction(_AND, _SCRATCH, immediate=~bits & 7 if allow else bits),
        ]
        tests.append((_SKIP_UNLESS if allow else _SKIP_IF_EQUAL, _SCRATCH, 0))
    count = len(tests)
    body = [
        _instruction(operation, register, offset=count - n - 1 + 2, immediate=value)
        for n, (operation, register, value) in enumerate(tests)
    ]
    return [*before, *body, _instruction(_SET, _RESULT, immediate=int(allow)), _instruction(_EXIT, 0)]


def _instruction(operation: int, to: int, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    if immediate > 0x7FFFFFFF:
        immediate -= 1 << 32
    return _INSTRUCTION.pack(operation, source << 4 | to, offset, immediate)


def replace_device_program(cgroup: int, program: bytes) -> None:
    """Attach `program` to the cgroup of that descriptor, then detach what was attached to it before.

    In this order no moment is without rules: while both are attached, both must allow.
    """
    before = attached(cgroup)
    loaded = _load(program)
    try:
        _attach(cgroup, loaded)
    finally:
        os.close(loaded)
    for identity in before:
        _detach(cgroup, identity)


def attached(cgroup: int) -> tuple[int, ...]:
    """BPF_PROG_QUERY: the ids of the device programs attached to the cgroup itself."""
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    attributes = bytearray(64)
    struct.pack_into(
        "=IIIIQI", attributes, 0, cgroup, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MOST_PROGRAMS
    )
    answer = _bpf(_PROG_QUERY, attributes)
    (count,) = struct.unpack_from("=I", answer, 24)
    return tuple(ids[:count])


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = bytearray(128)
    count = len(program) // _INSTRUCTION.size
    addresses = (ctypes.addressof(code), ctypes.addressof(licence))
    struct.pack_into("=IIQQ", attributes, 0, _TYPE_CGROUP_DEVICE, count, *addresses)
    struct.pack_into("=16s", attributes, 48, b"onggi_devices")  # prog_name, after log_* (32), kern_version, prog_flags
    return _call(_PROG_LOAD, attributes)


def _attach(cgroup: int, program: int) -> None:
    attributes = bytearray(32)
    struct.pack_into("=IIII", attributes, 0, cgroup, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
    _call(_PROG_ATTACH, attributes)


def _detach(cgroup: int, identity: int) -> None:
    wanted = bytearray(16)
    struct.pack_into("=I", wanted, 0, identity)
    try:
        program = _call(_PROG_GET_FD_BY_ID, wanted)
    except KernelError as error:
        if error.errno == errno.ENOENT:  # it went away by itself
            return
        raise
    try:
        attributes = bytearray(32)
        struct.pack_into("=III", attributes, 0, cgroup, program, _ATTACH_CGROUP_DEVICE)
        _call(_PROG_DETACH, attributes)
    finally:
        os.close(program)


def _call(command: int, attributes: bytearray) -> int:
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    return _attributes_call(command, ctypes.addressof(buffer), len(attributes))


def _bpf(command: int, attributes: bytearray) -> bytes:
    _call(command, attributes)
    return bytes(attributes)
