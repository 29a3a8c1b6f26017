"""nftables by libnftables, loaded at the first transaction; by the `nft` command where the library is missing.

One `run` is one transaction: the kernel takes all of its commands or none. The library's context holds a netlink socket
of the network namespace in which the first `run` was called. A transaction takes well below a millisecond; one that the
kernel refuses, or that deletes a table, waits for an RCU grace period (10 to 20 ms).
Callers: `network/bridge`. Read next: `netlink`. nft(8), libnftables(3).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

from onggi.errors import KernelError, Unavailable
from onggi.kernel.fd import Fd
from onggi.unwinding import ExitStack

LIBRARY = "libnftables.so.1"
COMMAND = "nft"
_OUTPUT_TERSE = 1 << 11
"""NFT_CTX_OUTPUT_TERSE, libnftables.h."""
_NETLINK_NETFILTER = 12
"""linux/netlink.h."""
_HINT = "install the package `libnftables1` or `nftables`"
_ERRNO_OF = {os.strerror(number): number for number in errno.errorcode}


class Nft:
    """Runs transactions; for one thread at a time. `library` and `command` are where to find what does the work."""

    def __init__(self, *, library: str = LIBRARY, command: str = COMMAND) -> None:
        self._library_name = library
        self._command = command
        self._context: _Library | None = None
        self._tried = False

    def run(self, text: str, *, is_terse: bool = False) -> str:
        """Carry out `text` (the language of nft(8)) as one transaction; what it printed.

        `is_terse` lists sets and maps without their elements.
        KernelError with the errno that nft worded (EINVAL for bad syntax), Unavailable when there is no nft here.
        """
        if not self._tried:
            _check_kernel()
            self._tried = True
            self._context = _load(self._library_name)
        status, output, errors = (
            self._context.run(text, is_terse) if self._context else _spawn(self._command, text, is_terse)
        )
        if status != 0:
            raise _error(text, errors)
        return output

    def close(self) -> None:
        """Free the library's context; a later `run` makes a new one."""
        if self._context:
            self._context.close()
        self._context = None
        self._tried = False


class _Library:
    """A context of libnftables that keeps output and errors in buffers."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        new = _bind(library, "nft_ctx_new", pointer, ctypes.c_uint32)
        self._free = _bind(library, "nft_ctx_free", None, pointer)
        self._flags = _bind(library, "nft_ctx_output_set_flags", None, pointer, ctypes.c_uint)
        self._run = _bind(library, "nft_run_cmd_from_buffer", ctypes.c_int, pointer, text)
        self._output = _bind(library, "nft_ctx_get_output_buffer", text, pointer)
        self._errors = _bind(library, "nft_ctx_get_error_buffer", text, pointer)
        self._context = new(0)
        if not self._context:
            raise KernelError("nft_ctx_new", "", errno.ENOMEM)
        _bind(library, "nft_ctx_buffer_output", ctypes.c_int, pointer)(self._context)
        _bind(library, "nft_ctx_buffer_error", ctypes.c_int, pointer)(self._context)

    def run(self, text: str, is_terse: bool) -> tuple[int, str, str]:
        self._flags(self._context, _OUTPUT_TERSE if is_terse else 0)
        status: int = self._run(self._context, text.encode())
        return status, _text(self._output(self._context)), _text(self._errors(self._context))

    def close(self) -> None:
        self._free(self._context)


def _check_kernel() -> None:
    """Unavailable where the kernel has no netfilter: the library would end the whole process (mnl.c, netlink_open_error)."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER).close()
    except OSError as error:
        reason = f"the kernel has no netfilter: {error.strerror}"
        raise Unavailable("run nft transaction", "nf_tables", reason, hint="modprobe nf_tables") from error


def _load(name: str) -> _Library | None:
    """The library, or None where it is not installed."""
    try:
        return _Library(ctypes.CDLL(name))  # CDLL: the interpreter lock is released while the kernel works
    except OSError:
        return None


def _bind(library: ctypes.CDLL, name: str, result: type | None, *parameters: type) -> ctypes._NamedFuncPointer:
    function = library[name]
    function.restype = result
    function.argtypes = parameters
    return function


def _spawn(command: str, text: str, is_terse: bool) -> tuple[int, str, str]:
    """`nft -f -`: its status, output and errors. Files in memory, so that no pipe can fill up on either side."""
    with ExitStack() as stack:
        files = [stack.enter_context(Fd(os.memfd_create(name))) for name in ("commands", "output", "errors")]
        os.write(files[0].fileno(), text.encode())
        os.lseek(files[0].fileno(), 0, os.SEEK_SET)
        arguments = [command, *(("-t",) if is_terse else ()), "-f", "-"]
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), number) for number, file in enumerate(files)]
        try:
            pid = os.posix_spawnp(command, arguments, os.environ, file_actions=actions)
        except FileNotFoundError as error:
            raise Unavailable(
                "run nft transaction", command, "neither library nor command found", hint=_HINT
            ) from error
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        output, errors = (_whole(file.fileno()) for file in files[1:])
        return status, output, errors


def _whole(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _error(text: str, errors: str) -> KernelError:
    """nft's first complaint as an error: the command it points at, and its reason as an errno where it is one."""
    lines = errors.strip().splitlines() or ["nft said nothing"]
    place, _, reason = lines[0].rpartition("Error: ")
    reason = reason.partition(";")[0].strip()
    known = reason.removeprefix("Could not process rule: ")
    shown = text.strip()
    if "\n" in shown:  # reading from a buffer, libnftables names no line and shows the first one whichever it was
        shown = lines[1].strip() if place and len(lines) > 1 else f"transaction of {shown.count(chr(10)) + 1} lines"
    number = _ERRNO_OF.get(known, errno.EINVAL)
    return KernelError("nft", shown, number, detail="" if known in _ERRNO_OF else f"{place}{reason}")
