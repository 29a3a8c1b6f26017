"""Capabilities: the 41 pieces that root's power was cut into, and the five sets in which a thread holds them.

Sets travel as masks, one bit a capability, as the kernel has them; names are for people and for documents. Works by
capget(2), capset(2) and prctl(2) alone, so that the init may call it after its root has changed: no library, no file.
Not here: which capabilities a container gets (that is the engine's choice). Callers: `runtime/init`, `engine/spec`,
`glass`. Read next: `seccomp`. See capabilities(7).
"""

from __future__ import annotations

from onggi.errors import Invalid, KernelError
from onggi.kernel import c_types as ctypes
from onggi.kernel.syscall import bind, bind_number
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""The name of capability n at place n."""

DEFAULT: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""The fourteen that Docker leaves to a process by default, in its order."""

ALL = "ALL"

_NUMBERS = {name: number for number, name in enumerate(NAMES)}

_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522
_EINVAL = 22
_SETPCAP = 1 << 8


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_TwoData = _Data * 2
_prctl = bind("prctl", ctypes.c_int, ctypes.c_int, *(ctypes.c_ulong,) * 4)
_capget = bind_number("capget", ctypes.POINTER(_Header), ctypes.POINTER(_TwoData))
_capset = bind_number("capset", ctypes.POINTER(_Header), ctypes.POINTER(_TwoData))


@dataclass(frozen=True, slots=True)
class CapabilitySets:
    """The five sets of a thread, as masks."""

    bounding: int = 0
    effective: int = 0
    permitted: int = 0
    inheritable: int = 0
    ambient: int = 0


def names(mask: int) -> tuple[str, ...]:
    """The names in a mask, in the kernel's order; a bit that has no name yet is `CAP_<number>`."""
    return tuple(NAMES[n] if n < len(NAMES) else f"CAP_{n}" for n in range(mask.bit_length()) if mask >> n & 1)


def mask(wanted: Iterable[str]) -> int:
    """The mask of names (each as `parse` takes it); `Invalid` names the first that nobody knows."""
    bits = 0
    for name in wanted:
        canonical = name if name in _NUMBERS else parse(name)
        bits |= (1 << len(NAMES)) - 1 if canonical == ALL else 1 << _NUMBERS[canonical]
    return bits


def parse(text: str) -> str:
    """`net_admin`, `CAP_NET_ADMIN` in any case → `CAP_NET_ADMIN`; `all` → `ALL`.

    `Invalid` with the code `capability.unknown` and the fact `name` (upper case, with its prefix) for anything else;
    `CAP_ALL` is unknown, as it is to Docker.
    """
    upper = text.upper()
    if upper == ALL:
        return ALL
    name = upper if upper.startswith("CAP_") else "CAP_" + upper
    if name not in _NUMBERS:
        raise Invalid(
            "parse capability",
            text,
            f'unknown capability: "{name}"',
            hint="see capabilities(7) for the names",
            code="capability.unknown",
            facts={"name": name},
        )
    return name


def from_spec(capabilities: Mapping[str, Iterable[str]] | None) -> CapabilitySets:
    """The sets of the runtime spec's `process.capabilities`; a set that is not named is empty."""
    given = capabilities or {}
    return CapabilitySets(**{kind: mask(given.get(kind) or ()) for kind in CapabilitySets.__slots__})


def bounded() -> int:
    """PR_CAPBSET_READ of prctl(2), for every capability that this kernel knows."""
    bits = 0
    for n in range(count()):
        bits |= _prctl(_PR_CAPBSET_READ, n, 0, 0, 0) << n
    return bits


_how_many: list[int] = []
"""How many, once somebody has asked: the answer is the same until the machine is booted again."""


def count() -> int:
    """How many capabilities this kernel knows."""
    if not _how_many:
        _how_many.append(_count())
    return _how_many[0]


def _count() -> int:
    for n in range(64):
        try:
            _prctl(_PR_CAPBSET_READ, n, 0, 0, 0)
        except KernelError as error:
            if error.errno != _EINVAL:
                raise
            return n  # one more than the last
    return 64


def current() -> CapabilitySets:
    """The calling thread's bounding, effective, permitted and inheritable sets (ambient is left 0)."""
    return CapabilitySets(bounded(), *_held())


def _held() -> tuple[int, int, int]:
    """capget(2): effective, permitted, inheritable."""
    data = _TwoData()
    _capget(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data))
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def of_process(pid: int | str) -> CapabilitySets:
    """The sets of another process, as `/proc/PID/status` shows them."""
    found: dict[str, int] = {}
    with open(f"/proc/{pid}/status", "rb") as status:
        for line in status:
            if line.startswith(b"Cap"):
                key, _, value = line.partition(b":")
                found[key.decode()] = int(value, 16)
    return CapabilitySets(found["CapBnd"], found["CapEff"], found["CapPrm"], found["CapInh"], found["CapAmb"])


def keep_over_setuid(*, keep: bool = True) -> None:
    """PR_SET_KEEPCAPS of prctl(2): whether the permitted set outlives a setuid(2) away from 0.

    The effective set is emptied by the kernel in any case, and `apply` fills it again; execve(2) turns this off.
    """
    _prctl(_PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def drop_bounding(keep: int) -> None:
    """PR_CAPBSET_DROP of prctl(2) for everything that is not in `keep`.

    Needs CAP_SETPCAP in effect, unless nothing is left to drop; so it comes before a setuid away from 0, or goes through
    `apply`.
    """
    for n in range(64):
        if keep >> n & 1:
            continue
        try:
            _prctl(_PR_CAPBSET_DROP, n, 0, 0, 0)
        except KernelError as error:
            if error.errno == _EINVAL:
                return  # n is one more than the kernel's last capability
            if not bounded() & ~keep:
                return
            raise


def apply(
    bounding: Iterable[str],
    effective: Iterable[str],
    permitted: Iterable[str],
    inheritable: Iterable[str],
    ambient: Iterable[str],
) -> tuple[str, ...]:
    """Give the calling thread exactly these sets; returns a warning for each capability that had to be left out.

    What we do not hold ourselves cannot be given, and a name that nobody knows means nothing: neither fails the start.
    Names are the specification's, exactly: `ALL` or `chown` are none. The words are runc's.
    """
    unknown: dict[str, None] = {}
    sets = CapabilitySets(*(_known(given, unknown) for given in (bounding, effective, permitted, inheritable, ambient)))
    lacking, not_raised = apply_sets(sets)
    found = [f"capability {name} is left out: the engine does not have it itself" for name in names(lacking)]
    if unknown:
        found.insert(0, f"ignoring unknown or unavailable capabilities: [{' '.join(sorted(unknown))}]")
    why = "operation not permitted, since it is not both permitted and inheritable"
    return (*found, *(f"can't raise ambient capability {name}: {why}" for name in names(not_raised)))


def _known(given: Iterable[str], unknown: dict[str, None]) -> int:
    bits = 0
    for name in given:
        if name in _NUMBERS:
            bits |= 1 << _NUMBERS[name]
        else:
            unknown[name] = None
    return bits


def apply_sets(sets: CapabilitySets) -> tuple[int, int]:
    """`apply` with masks; returns those that were asked for and left out because we lack them ourselves, and those that
    could not be ambient.

    The order is the kernel's: the bounding set first, while CAP_SETPCAP is still ours; then capset(2), since an ambient
    capability must be permitted and inheritable already; the ambient set last.
    """
    effective, ours, inherited = _held()
    reachable = sum(1 << n for n in _bits(sets.bounding) if _in_bounding(n))  # only what is wanted: each costs a call
    if not effective & _SETPCAP and ours & _SETPCAP:
        _set(ours, ours, inherited)  # a setuid with KEEPCAPS emptied the effective set
    drop_bounding(sets.bounding)
    permitted = sets.permitted & ours
    inheritable = sets.inheritable & (inherited | ours) & reachable
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _set(sets.effective & permitted, permitted, inheritable)
    for n in _bits(sets.ambient & permitted & inheritable):
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, n, 0, 0)
    return sets.permitted & ~permitted | sets.bounding & ~reachable, sets.ambient & ours & ~(permitted & inheritable)


def _bits(given: int) -> tuple[int, ...]:
    return tuple(n for n in range(given.bit_length()) if given >> n & 1)


def _in_bounding(number: int) -> bool:
    try:
        return bool(_prctl(_PR_CAPBSET_READ, number, 0, 0, 0))
    except KernelError as error:
        if error.errno != _EINVAL:
            raise
        return False  # this kernel does not know it yet


def _set(effective: int, permitted: int, inheritable: int) -> None:
    low = 0xFFFFFFFF
    data = _TwoData(
        _Data(effective & low, permitted & low, inheritable & low),
        _Data(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    _capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data))
