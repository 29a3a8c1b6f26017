"""`store/archive` and `store/unpack` against GNU tar: what it packs, both unpack to the same tree."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from onggi.errors import Corrupt
from onggi.oci.digest import Digest
from onggi.store.layers import Layers

pytestmark = pytest.mark.root

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
FORMATS = {
    "v7": ["--format=v7"],
    "ustar": ["--format=ustar"],
    "oldgnu": ["--format=oldgnu"],
    "gnu": ["--format=gnu"],
    "pax": ["--format=posix", "--xattrs", "--xattrs-include=*"],
}
SPARSE = {
    "old GNU": ["--format=gnu", "--sparse"],
    "0.0": ["--format=posix", "--sparse", "--sparse-version=0.0"],
    "0.1": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    "1.0": ["--format=posix", "--sparse", "--sparse-version=1.0"],
}


def tar(*arguments: str | Path) -> None:
    """GNU tar."""
    subprocess.run([shutil.which("tar") or "/bin/tar", *arguments], check=True, stderr=subprocess.DEVNULL)


def apply(root: Path, archive: Path) -> Path:
    """Unpack with ours."""
    layers = Layers(root / "data")
    layers.prepare()
    digest = Digest.of(archive.read_bytes())
    layers.apply(digest, archive, verified=True, progress=lambda count: None)
    return layers.diff(digest)


def facts(tree: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every entry of a tree that an archive can hold."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[int, str] = {}
    for path in sorted([tree, *tree.rglob("*")]):
        there = path.lstat()
        name = str(path.relative_to(tree))
        kind = stat.S_IFMT(there.st_mode)
        content: object = None
        if kind == stat.S_IFREG:
            content = path.read_bytes()
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = there.st_rdev
        first = inodes.setdefault(there.st_ino, name)
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        found[name] = (oct(there.st_mode), there.st_uid, there.st_gid, there.st_mtime_ns, content, first, attributes)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Something of everything."""
    top = tmp_path / "tree"
    (top / "dir/sub").mkdir(parents=True)
    (top / "dir/file").write_bytes(os.urandom(70_000))
    (top / "empty").touch()
    (top / "suid").write_text("x")
    os.chown(top / "suid", 12, 34)
    (top / "suid").chmod(0o6755)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o1777)
    os.link(top / "dir/file", top / "hard")
    (top / "link").symlink_to("dir/file")
    (top / "dangling").symlink_to("/nowhere")
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 1))
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, ns=(10**18, 1_600_000_000_000_000_000 + number * 1_000_000_007), follow_symlinks=False)
    return top


@pytest.mark.parametrize("form", FORMATS)
def test_a_tree_comes_out_as_from_gnu_tar(tmp_path: Path, tree: Path, form: str) -> None:
    """In every format that GNU tar writes."""
    if form == "v7":
        for name in ("fifo", "null", "disk"):  # the format has no types for them
            (tree / name).unlink()
    tar("-C", tree, *FORMATS[form], "-cf", tmp_path / "a.tar", ".")
    (tmp_path / "theirs").mkdir()
    tar("-C", tmp_path / "theirs", "--xattrs", "--xattrs-include=*", "-xpf", tmp_path / "a.tar")
    assert facts(apply(tmp_path, tmp_path / "a.tar")) == facts(tmp_path / "theirs")


def test_attributes_and_long_names_come_out_as_from_gnu_tar(tmp_path: Path, tree: Path) -> None:
    """User and trusted attributes, capabilities, names beyond what ustar's fields hold."""
    os.setxattr(tree / "dir/file", "user.note", b"\0\xff=\n")
    os.setxattr(tree / "dir", "trusted.note", b"x")
    os.setxattr(tree / "suid", "security.capability", CAPABILITY)
    deep = tree / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_text("long")
    (tree / "longlink").symlink_to("/".join(["t" * 200] * 5))
    tar("-C", tree, *FORMATS["pax"], "-cf", tmp_path / "a.tar", ".")
    assert facts(apply(tmp_path, tmp_path / "a.tar")) == facts(tree)


@pytest.mark.parametrize("form", ["oldgnu", "gnu"])
def test_long_names_in_gnu_format(tmp_path: Path, tree: Path, form: str) -> None:
    """`././@LongLink` for names and for targets."""
    deep = tree / ("d" * 99) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / "f").write_text("long")
    (tree / "longlink").symlink_to("/".join(["t" * 200] * 5))
    os.link(deep / "f", tree / "longhard")
    tar("-C", tree, *FORMATS[form], "-cf", tmp_path / "a.tar", ".")
    (tmp_path / "theirs").mkdir()
    tar("-C", tmp_path / "theirs", "-xpf", tmp_path / "a.tar")
    assert facts(apply(tmp_path, tmp_path / "a.tar")) == facts(tmp_path / "theirs")


@pytest.mark.parametrize("form", SPARSE)
def test_sparse_files_keep_their_bytes_and_their_holes(tmp_path: Path, form: str) -> None:
    """Many parts (an extension block and more), a hole at the end, a hole only, no hole."""
    top = tmp_path / "tree"
    top.mkdir()
    with open(top / "many", "wb") as file:
        for number in range(60):
            file.seek(number * 131_072)
            file.write(b"part %d" % number)
        file.truncate(20_000_000)
    with open(top / "hole", "wb") as file:
        file.truncate(5_000_000)
    (top / "full").write_bytes(os.urandom(50_000))
    for path in (*top.iterdir(), top):
        os.utime(path, (10**9, 10**9))  # the old format has whole seconds only
    tar("-C", top, *SPARSE[form], "-cf", tmp_path / "a.tar", ".")
    assert (tmp_path / "a.tar").stat().st_size < 2_000_000
    unpacked = apply(tmp_path, tmp_path / "a.tar")
    assert facts(unpacked) == facts(top)
    assert (unpacked / "many").stat().st_blocks <= (top / "many").stat().st_blocks
    assert (unpacked / "hole").stat().st_blocks == 0


def test_numbers_beyond_octal_come_out(tmp_path: Path) -> None:
    """A big uid and a time before 1970 are in base 256."""
    top = tmp_path / "tree"
    top.mkdir()
    (top / "f").touch()
    os.chown(top / "f", 3_000_000_000, 4_000_000_000)
    os.utime(top / "f", (-100, -100))
    tar("-C", top, "--format=gnu", "-cf", tmp_path / "a.tar", "f")
    there = (apply(tmp_path, tmp_path / "a.tar") / "f").stat()
    assert (there.st_uid, there.st_gid, there.st_mtime) == (3_000_000_000, 4_000_000_000, -100)


@pytest.mark.parametrize("form", SPARSE)
def test_a_damaged_sparse_map_is_corrupt_or_harmless(tmp_path: Path, form: str) -> None:
    """Every digit of the map changed in turn: never another error, never a byte beyond the file's stated size."""
    top = tmp_path / "tree"
    top.mkdir()
    with open(top / "f", "wb") as file:
        file.seek(100_000)
        file.write(b"data")
        file.truncate(300_000)
    tar("-C", top, *SPARSE[form], "-cf", tmp_path / "a.tar", "f")
    data = (tmp_path / "a.tar").read_bytes()
    places = [at for at in range(len(data)) if data[at : at + 1].isdigit() and data[at : at + 1] != b"9"][::7]
    for at in places:
        (tmp_path / "b.tar").write_bytes(data[:at] + b"9" + data[at + 1 :])
        try:
            unpacked = apply(tmp_path, tmp_path / "b.tar")
        except Corrupt:
            continue
        assert (unpacked / "f").stat().st_size <= 10_000_000 if (unpacked / "f").exists() else True
