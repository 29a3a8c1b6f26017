"""Entries of an archive become files below a directory, by descriptors and by nothing else.

Later entries replace earlier ones, owners and modes and attributes are the archive's, and times are set last, because
whatever is put into a directory changes the directory's. An entry that would land outside of the tree is Corrupt.
It knows no layers: what a whiteout means, `store/layers` says by the hooks `special` and `made_over_void`.
Callers: `store/layers`. Read next: `tree`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from onggi.errors import Corrupt, KernelError, LimitExceeded, OnggiError
from onggi.kernel.fd import Fd
from onggi.store import tree
from onggi.store.archive import Entry, Kind, Reader
from onggi.store.limits import Limits, exceeded

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL_BITS = 0o7000
_FAR = 1 << 69  # nanoseconds: seconds beyond any file system's and within the call's 64 bits
_KEPT_DIRECTORIES = 128
_NODES = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}
# overlayfs obeys its own attributes wherever it finds them: a layer that could set them could point anywhere below.
_FOREIGN_XATTRS = ("trusted.overlay.", "user.overlay.")


class Unpacker:
    """Unpacks one archive below the directory `root` (borrowed). The process's umask must be 0."""

    def __init__(self, root: int, limits: Limits) -> None:
        self.root = root
        self.bytes = 0
        """Content written, as the archive states it."""
        self.skipped_attributes: set[str] = set()
        """Extended attributes that this file system does not take."""
        self._limits = limits
        self._owner = (os.geteuid(), os.getegid())
        self._directories: dict[bytes, Fd] = {}
        self._times: dict[bytes, tuple[int, int]] = {}
        self._makers: dict[Kind, Callable[[Entry, Reader, int, bytes], None]] = {
            Kind.FILE: self._file,
            Kind.DIRECTORY: self._directory,
            Kind.SYMLINK: self._symlink,
            Kind.HARD_LINK: self._hard_link,
            Kind.CHARACTER: self._node,
            Kind.BLOCK: self._node,
            Kind.FIFO: self._node,
        }

    def unpack(self, reader: Reader) -> None:
        """All entries, then the directories' times."""
        for entry in reader:
            try:
                self._entry(entry, reader)
            except OnggiError as error:
                error.facts.setdefault("entry", _shown(entry.name))
                raise
            except OSError as error:
                raise _translated(error, entry.name) from None
            except (OverflowError, ValueError) as error:  # an owner, a time or a device beyond what a call can say
                raise Corrupt("unpack", _shown(entry.name), str(error)) from None
        self._finish()

    def special(self, name: bytes, parent: int) -> bool:
        """Whether the last component `name` means something else than a file; it was then done."""
        return False

    def made_over_void(self, name: bytes, parent: int) -> None:
        """The directory `name` was made where the archive had put the character device 0:0 before."""

    # -- one entry -------------------------------------------------------------------------------------------------

    def _entry(self, entry: Entry, reader: Reader) -> None:
        name = entry.name
        if len(name) > self._limits.path:
            raise exceeded("unpack", _shown(name[:80]) + "…", f"a name of {len(name)} bytes")
        if b"\0" in name or b"\0" in entry.link:
            raise Corrupt("unpack", _shown(name), "the name holds a NUL byte")
        directory, _, base = name.rpartition(b"/")
        if not base or base in (b".", b".."):
            parts = tree.split(name)
            if not parts:
                return self._top(entry)
            directory, base = b"/".join(parts[:-1]), parts[-1]
        parent = self._parent(directory)
        if self.special(base, parent):
            return None
        return self._makers[entry.kind](entry, reader, parent, base)

    def _parent(self, directory: bytes) -> int:
        """The directory, from the last few that were used, else resolved; made where it is missing."""
        kept = self._directories.get(directory)
        if kept is not None:
            return kept.fileno()
        parts = tree.split(directory)
        if len(parts) > self._limits.components:
            raise exceeded("unpack", _shown(directory[:80]) + "…", f"a name of {len(parts)} components")
        if len(self._directories) >= _KEPT_DIRECTORIES:
            self._forget_directories()
        try:
            found = tree.open_directory(self.root, parts)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            found = self._make_parents(parts)
        self._directories[directory] = found
        return found.fileno()

    def _make_parents(self, parts: list[bytes]) -> Fd:
        """Every directory on the way, 0755 where it is missing."""
        at = Fd(os.open(".", tree.DIRECTORY, dir_fd=self.root))
        for depth, part in enumerate(parts, 1):
            with at:
                at = self._make_parent(at.fileno(), part, parts[:depth])
        return at

    def _make_parent(self, at: int, part: bytes, so_far: list[bytes]) -> Fd:
        try:
            return Fd(os.open(part, tree.DIRECTORY, dir_fd=at))
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=at)
            return Fd(os.open(part, tree.DIRECTORY, dir_fd=at))
        except NotADirectoryError:
            there = os.stat(part, dir_fd=at, follow_symlinks=False)
        if stat.S_ISLNK(there.st_mode):
            try:
                return tree.open_directory(self.root, so_far)
            except FileNotFoundError:
                raise Corrupt("unpack", _shown(b"/".join(so_far)), "the link leads nowhere in this archive") from None
        if not _is_void(there):
            raise Corrupt("unpack", _shown(b"/".join(so_far)), "it is no directory, but entries lie below it")
        os.unlink(part, dir_fd=at)
        os.mkdir(part, 0o755, dir_fd=at)
        self.made_over_void(part, at)
        return Fd(os.open(part, tree.DIRECTORY, dir_fd=at))

    def _forget_directories(self, but: int = -1) -> None:
        for path, kept in list(self._directories.items()):
            if kept.fileno() != but:
                kept.close()
                del self._directories[path]

    def _clear(self, parent: int, name: bytes) -> bool:
        """Remove what an entry replaces; whether that was a void. No kept directory can be trusted after that."""
        void = _is_void(os.stat(name, dir_fd=parent, follow_symlinks=False))
        tree.remove(parent, name)
        self._forget_directories(but=parent)
        return void

    # -- what entries make -----------------------------------------------------------------------------------------

    def _file(self, entry: Entry, reader: Reader, parent: int, name: bytes) -> None:
        try:
            fd = os.open(name, _CREATE, entry.mode, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            fd = os.open(name, _CREATE, entry.mode, dir_fd=parent)
        try:
            if entry.size:
                reader.copy_to(fd)
                self.bytes += entry.size
            self._finish_open(entry, fd)
            os.utime(fd, ns=_times(entry))
        finally:
            os.close(fd)

    def _directory(self, entry: Entry, reader: Reader, parent: int, name: bytes) -> None:
        try:
            os.mkdir(name, entry.mode, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                void = self._clear(parent, name)
                os.mkdir(name, entry.mode, dir_fd=parent)
                if void:
                    self.made_over_void(name, parent)
            self._finish_directory(entry, parent, name)
        else:
            if entry.xattrs or entry.mode & _SPECIAL_BITS or (entry.uid, entry.gid) != self._owner:
                self._finish_directory(entry, parent, name)
        self._times[entry.name.rstrip(b"/")] = _times(entry)

    def _finish_directory(self, entry: Entry, parent: int, name: bytes) -> None:
        with Fd(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as made:
            os.fchmod(made.fileno(), entry.mode)
            self._finish_open(entry, made.fileno())

    def _top(self, entry: Entry) -> None:
        """The root itself: its owner, mode and attributes."""
        if entry.kind is not Kind.DIRECTORY:
            raise Corrupt("unpack", _shown(entry.name), "the root must be a directory")
        self._finish_directory(entry, self.root, b".")
        self._times[b"."] = _times(entry)

    def _symlink(self, entry: Entry, reader: Reader, parent: int, name: bytes) -> None:
        if not entry.link:
            raise Corrupt("unpack", _shown(entry.name), "a symbolic link without a target")
        try:
            os.symlink(entry.link, name, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            os.symlink(entry.link, name, dir_fd=parent)
        self._finish_named(entry, parent, name)

    def _hard_link(self, entry: Entry, reader: Reader, parent: int, name: bytes) -> None:
        parts = tree.split(entry.link)
        if not parts:
            raise Corrupt("unpack", _shown(entry.name), "a hard link to the root")
        try:
            with tree.open_directory(self.root, parts[:-1]) as directory:
                self._link(directory.fileno(), parts[-1], parent, name)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            cause = f"its link target {_shown(entry.link)} is no file of this archive"
            raise Corrupt("unpack", _shown(entry.name), cause) from None

    def _link(self, directory: int, target: bytes, parent: int, name: bytes) -> None:
        try:
            os.link(target, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            old = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if os.path.samestat(old, os.stat(target, dir_fd=directory, follow_symlinks=False)):
                return  # a link to itself, or the same link twice
            self._clear(parent, name)
            os.link(target, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)

    def _node(self, entry: Entry, reader: Reader, parent: int, name: bytes) -> None:
        mode = _NODES[entry.kind] | entry.mode
        device = os.makedev(entry.major, entry.minor) if entry.kind is not Kind.FIFO else 0
        try:
            os.mknod(name, mode, device, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            os.mknod(name, mode, device, dir_fd=parent)
        self._finish_named(entry, parent, name)

    # -- owners, modes, attributes, times --------------------------------------------------------------------------

    def _finish_open(self, entry: Entry, fd: int) -> None:
        """Owner before mode, which chown(2) would strip; capabilities after both, for the same reason."""
        if (entry.uid, entry.gid) != self._owner:
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
        elif entry.mode & _SPECIAL_BITS:
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            for key, value in self._own(entry.xattrs):
                self._attribute(fd, key, value)

    def _finish_named(self, entry: Entry, parent: int, name: bytes) -> None:
        """The same for what cannot be opened without effects: links, devices, fifos."""
        if (entry.uid, entry.gid) != self._owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.mode & _SPECIAL_BITS and entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=parent)  # just made by us, in a tree where nobody else works
        if entry.xattrs:
            os.fchdir(parent)  # the calls for attributes take no directory
            for key, value in self._own(entry.xattrs):
                self._attribute(name, key, value)
        os.utime(name, ns=_times(entry), dir_fd=parent, follow_symlinks=False)

    def _own(self, attributes: dict[str, bytes]) -> list[tuple[str, bytes]]:
        return [(key, value) for key, value in attributes.items() if not key.startswith(_FOREIGN_XATTRS)]

    def _attribute(self, place: int | bytes, key: str, value: bytes) -> None:
        try:
            os.setxattr(place, key, value, follow_symlinks=isinstance(place, int))
        except OSError as error:
            # As Docker: what the file system cannot hold is left out, and user.* is for files and directories only.
            user = error.errno == errno.EPERM and key.startswith("user.")
            if error.errno != errno.EOPNOTSUPP and not user:
                raise
            self.skipped_attributes.add(key)

    def _finish(self) -> None:
        self._forget_directories()
        for path in sorted(self._times):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # something else took its place
                self._set_time(path)

    def _set_time(self, path: bytes) -> None:
        directory, _, base = path.rpartition(b"/")
        with tree.open_directory(self.root, tree.split(directory)) as parent:
            if stat.S_ISDIR(os.stat(base, dir_fd=parent.fileno(), follow_symlinks=False).st_mode):
                os.utime(base, ns=self._times[path], dir_fd=parent.fileno(), follow_symlinks=False)


def _times(entry: Entry) -> tuple[int, int]:
    """Access and modification, in nanoseconds; the kernel brings them into what the file system can hold."""
    accessed = entry.mtime if entry.atime is None else entry.atime
    return (_within(accessed), _within(entry.mtime))


def _within(time: int) -> int:
    return time if -_FAR < time < _FAR else 0


def _is_void(there: os.stat_result) -> bool:
    """The character device 0:0: overlayfs's whiteout."""
    return stat.S_ISCHR(there.st_mode) and there.st_rdev == 0


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _translated(error: OSError, name: bytes) -> OnggiError:
    """What the kernel said about an entry, as an error that names it."""
    number = error.errno or 0
    if number == errno.ENAMETOOLONG:
        return exceeded("unpack", _shown(name[:80]) + "…", "a component of more than 255 bytes")
    if number in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
        return LimitExceeded("unpack", _shown(name), os.strerror(number).lower(), code="disk.full")
    if number == errno.ELOOP:
        return Corrupt("unpack", _shown(name), "too many symbolic links")
    if number == errno.EINVAL:
        return Corrupt("unpack", _shown(name), "the kernel takes no such entry: " + os.strerror(number).lower())
    return KernelError("unpack", _shown(name), number)
