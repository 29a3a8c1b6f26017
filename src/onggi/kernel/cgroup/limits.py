"""The values that a cgroup's limits are made of: one write to one file, one device program, one thing that is missing.

They can be listed, described and timed one by one, and each can act by itself. Callers: `v1`, `v2`, `layout`,
`runtime/steps`. Read next: `v1`.
"""

from __future__ import annotations

import errno
import os

from onggi.errors import KernelError, Unavailable
from onggi.kernel.cgroup.devices import Devices, parse_list, transition
from onggi.values import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Missing:
    """A limit that this host cannot keep: the runtime spec's name of it, and why."""

    field: str
    cause: str
    must: bool = False
    """Whether a container that asked for it must not start without: its controller is not there."""

    def text(self) -> str:
        """One line for people."""
        return f"limit `{self.field}` is not kept: {self.cause}"


@dataclass(frozen=True, slots=True)
class Write:
    """One value for one file of a cgroup."""

    directory: str
    file: str
    value: str
    field: str = ""
    """The runtime spec's name of what this sets, `memory.limit`; empty for our own housekeeping."""
    otherwise: tuple[str, str] | None = None
    """File and value to try where the kernel has no such file."""
    must: bool = False
    """Whether the group is worthless without it (denials), so that a missing file is an error and no warning."""
    soft: bool = False
    """Whether a missing file is no error even where limits must be kept (`onggi-oci`)."""

    def describe(self) -> str:
        """The nearest shell command."""
        return f"echo {self.value} > {self.directory}/{self.file}"

    def apply(self) -> Missing | None:
        """Do it; the limit's name where the kernel has no such file, `KernelError` where it refuses the value."""
        try:
            write(self.directory, self.file, self.value)
        except KernelError as error:
            if error.errno != errno.ENOENT or not os.path.isdir(self.directory):
                raise
            if not self.otherwise and self.must:
                raise
        else:
            return None
        if self.otherwise:
            file, value = self.otherwise
            return Write(self.directory, file, value, self.field, must=self.must).apply()
        return Missing(self.field, f"the kernel has no {self.file}") if self.field else None


@dataclass(frozen=True, slots=True)
class DeviceProgram:
    """The device rules of a v2 cgroup, which are an eBPF program that the kernel asks at every open and mknod."""

    directory: str
    devices: Devices
    file: str = "(device program)"
    field: str = "devices"

    @property
    def value(self) -> str:
        """The rules in one line."""
        return self.devices.text()

    def describe(self) -> str:
        """The nearest shell command."""
        return f"bpftool cgroup attach {self.directory} cgroup_device  # {self.value}"

    def apply(self) -> Missing | None:
        """Load the program and put it in the place of the group's own earlier one."""
        from onggi.kernel import bpf  # v2 only

        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf.replace_device_program(descriptor, bpf.device_program(self.devices))
        finally:
            os.close(descriptor)
        return None


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """The device rules of a v1 cgroup that has some: as few writes as lead from those to these, so that what both allow is
    allowed all the while."""

    directory: str
    devices: Devices

    def apply(self) -> Missing | None:
        """Read what the group has, and change it."""
        for file, value in transition(parse_list(read(self.directory, "devices.list")), self.devices):
            write(self.directory, file, value)
        return None


class Limits:
    """What `v1` and `v2` fill: the writes in their order, and what this host cannot do."""

    def __init__(self, directories: Mapping[str, str]) -> None:
        self.writes: list[Write | DeviceProgram] = []
        self.missing: list[Missing] = []
        self._directories = directories

    def add(
        self,
        controller: str,
        file: str,
        value: int | str | None,
        field: str,
        *,
        otherwise: tuple[str, str] | None = None,
        must: bool = False,
        soft: bool = False,
    ) -> None:
        """One write, unless the value is None; something missing where the host has no such controller."""
        if value is None:
            return
        directory = self._directories.get(controller)
        if directory is None:
            self.lack(field, f"the host has no {controller} controller", must=not soft)
        else:
            self.writes.append(Write(directory, file, str(value), field, otherwise, must, soft))

    def program(self, devices: Devices) -> None:
        """The device program of a v2 cgroup."""
        self.writes.append(DeviceProgram(self._directories["devices"], devices))

    def insist(self) -> None:
        """Make every limit one that must be kept, but for those that are `soft`; Unavailable names what cannot be."""
        for missing in self.missing:
            if missing.must:
                raise Unavailable("limit container by", missing.field, missing.cause)
        self.writes = [
            item if isinstance(item, DeviceProgram) else replace(item, must=not item.soft) for item in self.writes
        ]

    def lack(self, field: str, cause: str, *, must: bool = False) -> None:
        """Something that this host cannot do."""
        missing = Missing(field, cause, must)
        if field and missing not in self.missing:
            self.missing.append(missing)


def write(directory: str, file: str, value: str) -> None:
    """Write one value with one write(2), which is how the kernel's cgroup files want it."""
    path = f"{directory}/{file}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KernelError("write", path, error.errno or 0, hint=_hint(error.errno or 0, file), detail=value) from error


def read(directory: str, file: str) -> str:
    """The text of one file, without the line end; empty where there is no such file."""
    try:
        descriptor = os.open(f"{directory}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, 65536).decode().rstrip("\n")
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):  # removed since it was opened; a file that does not answer
            return ""
        raise
    finally:
        os.close(descriptor)


def keyed(text: str) -> dict[str, int]:
    """The lines `name number` of a file as a table; other lines are left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def number(text: str) -> int | None:
    """A file's number; None for no limit, which v2 calls `max` and v1 shows as the largest number of whole pages."""
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None


_NO_LIMIT = 1 << 62


def _hint(number: int, file: str) -> str:
    if number == errno.EBUSY and file == "cgroup.subtree_control":
        return "a cgroup with processes of its own cannot have limited children; move them into a child first"
    if number == errno.EBUSY and file.startswith("memory."):
        return "the processes already use more than this limit"
    return ""
