"""`store/layers`: a layer's tar becomes an overlay's lower directory, and never anything outside of it."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forked import in_child
from harness.imagetar import directory, hard, link, member, packed
from onggi.errors import Corrupt, LimitExceeded, OnggiError
from onggi.kernel import mount, process
from onggi.kernel.fd import Fd
from onggi.kernel.flags import Clone, Ms
from onggi.oci.digest import Digest
from onggi.store.layers import Layers
from onggi.store.limits import Limits
from onggi.store.tree import remove

pytestmark = pytest.mark.root

OPAQUE = "trusted.overlay.opaque"


Apply = Callable[..., Path]


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    """Unpacks members as a layer; its directory. Whatever happens, nothing half-done may be left."""
    layers = Layers(tmp_path)
    layers.prepare()

    def run(
        *members: tuple[tarfile.TarInfo, bytes],
        compress: Callable[[bytes], bytes] = bytes,
        limits: Limits | None = None,
        verified: bool = False,
    ) -> Path:
        layers = Layers(tmp_path, limits)
        data = packed(members)
        digest = Digest.of(data)
        (tmp_path / "blob").write_bytes(compress(data))
        try:
            layers.apply(digest, tmp_path / "blob", verified=verified, progress=lambda count: None)
        except OnggiError:
            assert os.listdir(layers.directory) == []
            raise
        assert os.listdir(layers.directory) == [digest.hex]
        return layers.diff(digest)

    return run


def test_files_have_what_the_archive_says(apply: Apply) -> None:
    """Content, owner, mode with its special bits, and the time to the nanosecond."""
    tree = apply(
        directory("d", 0o1750, uid=7, gid=8, mtime=1234),
        member("d/f", b"hello", mode=0o4755, uid=1000, gid=1001, pax_headers={"mtime": "5.000000007"}),
    )
    file, parent = (tree / "d/f").stat(), (tree / "d").stat()
    assert (tree / "d/f").read_bytes() == b"hello"
    assert (file.st_mode, file.st_uid, file.st_gid, file.st_mtime_ns) == (0o104755, 1000, 1001, 5_000000007)
    assert (parent.st_mode, parent.st_uid, parent.st_gid, parent.st_mtime) == (0o041750, 7, 8, 1234)


def test_special_files_are_made(apply: Apply) -> None:
    """Fifos, block and character devices, links with an owner and a time of their own."""
    tree = apply(
        member("fifo", type=tarfile.FIFOTYPE, mode=0o620),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=1),
        member("s", type=tarfile.SYMTYPE, linkname="nowhere", uid=5, mtime=99),
    )
    assert (tree / "fifo").lstat().st_mode == stat.S_IFIFO | 0o620
    null = (tree / "null").lstat()
    assert (null.st_mode, null.st_rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert stat.S_ISBLK((tree / "disk").lstat().st_mode)
    assert os.readlink(tree / "s") == "nowhere"
    assert ((tree / "s").lstat().st_uid, (tree / "s").lstat().st_mtime) == (5, 99)


def test_file_capabilities_survive_the_change_of_owner(apply: Apply) -> None:
    """chown(2) strips security.capability, so it is set after."""
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    header = {"SCHILY.xattr.security.capability": value.decode("latin-1")}
    tree = apply(member("ping", b"x", uid=1, mode=0o755, pax_headers=header))
    assert os.getxattr(tree / "ping", "security.capability") == value


def test_a_layer_cannot_speak_to_overlayfs(apply: Apply) -> None:
    """A redirect would show any directory of the layers below; such attributes are left out."""
    tree = apply(directory("d", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"}))
    assert os.listxattr(tree / "d") == []


def test_hard_links_share_one_file(apply: Apply) -> None:
    """Also twice, also to oneself, also by an absolute name, which means the layer's root."""
    tree = apply(member("a", b"1"), hard("b", "a"), hard("b", "a"), hard("a", "a"), hard("d/c", "/a"))
    assert (tree / "a").stat().st_nlink == 3
    assert os.path.samefile(tree / "a", tree / "d/c")


def test_whiteouts_become_overlay_whiteouts(apply: Apply) -> None:
    """`.wh.x` is the character device 0:0 named x."""
    there = (apply(member("d/.wh.x")) / "d/x").lstat()
    assert stat.S_ISCHR(there.st_mode)
    assert there.st_rdev == 0


def test_an_opaque_directory_has_the_attribute(apply: Apply) -> None:
    """`.wh..wh..opq` may come before the directory's own entry."""
    tree = apply(member("d/.wh..wh..opq"), directory("d", 0o700), member("d/f"))
    assert os.getxattr(tree / "d", OPAQUE) == b"y"
    assert (tree / "d").stat().st_mode & 0o777 == 0o700


ORDERS = {
    "directory first": [directory("x"), member("x/f"), member(".wh.x")],
    "whiteout first": [member(".wh.x"), directory("x"), member("x/f")],
    "implicit directory": [member(".wh.x"), member("x/f")],
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_whiteout_hides_what_lies_below_only(apply: Apply, order: str) -> None:
    """A directory that the layer both removes and has is opaque, whatever the order in the tar."""
    tree = apply(*ORDERS[order])
    assert (tree / "x/f").is_file()
    assert os.getxattr(tree / "x", OPAQUE) == b"y"


@pytest.mark.parametrize("first", [True, False])
def test_a_file_beats_the_whiteout_of_its_name(apply: Apply, first: bool) -> None:
    """A whiteout never removes what its own layer has."""
    members = [member("x", b"here"), member(".wh.x")]
    assert (apply(*(members if first else members[::-1])) / "x").read_bytes() == b"here"


def test_later_entries_replace_earlier_ones(apply: Apply) -> None:
    """Each kind over each other; a directory over a directory keeps its content."""
    tree = apply(
        directory("a"), member("a/x"), member("a", b"file"),
        member("b", b"file"), directory("b"), member("b/x"),
        directory("c"), member("c/x"), directory("c", 0o700),
        link("d", "elsewhere"), directory("d"), member("d/x"),
        member("e", b"1"), hard("f", "e"), member("e", b"2"),
    )  # fmt: skip
    assert (tree / "a").read_bytes() == b"file"
    assert (tree / "b/x").exists()
    assert (tree / "c/x").exists()
    assert (tree / "c").stat().st_mode & 0o777 == 0o700
    assert (tree / "d/x").exists()
    assert ((tree / "e").read_bytes(), (tree / "f").read_bytes()) == (b"2", b"1")


def test_missing_parents_are_made(apply: Apply) -> None:
    """With mode 0755 whatever the umask of the engine is."""
    old = os.umask(0o077)
    try:
        tree = apply(member("a/b/c"))
    finally:
        os.umask(old)
    assert [(tree / p).stat().st_mode & 0o7777 for p in (".", "a", "a/b")] == [0o755] * 3


def test_links_within_the_layer_are_followed(apply: Apply) -> None:
    """As after chroot(2): absolute links start at the layer's root, `..` may go up as far as that."""
    tree = apply(
        directory("usr/lib"), link("lib", "usr/lib"), link("usr/abs", "/usr/lib"), link("usr/lib/up", "../../usr"),
        member("lib/one"), member("usr/abs/two"), member("lib/up/three"),
    )  # fmt: skip
    assert sorted(os.listdir(tree / "usr/lib")) == ["one", "two", "up"]
    assert (tree / "usr/three").exists()


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress])
def test_compression_is_found_by_its_first_bytes(apply: Apply, compress: Callable[[bytes], bytes]) -> None:
    """Plain, gzip, zstd; and the digest is the plain tar's."""
    big = os.urandom(3_000_000)
    assert (apply(member("x", big), compress=compress) / "x").read_bytes() == big


def test_gzip_in_several_members_is_one_stream(apply: Apply) -> None:
    """As pigz, bgzip and eStargz write it."""
    tree = apply(member("x", b"abc"), compress=lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]))
    assert (tree / "x").read_bytes() == b"abc"


def test_a_plain_blob_under_its_own_name_is_not_hashed_again(apply: Apply) -> None:
    """The child then reads the file itself."""
    assert (apply(member("x", b"abc"), verified=True) / "x").read_bytes() == b"abc"


ESCAPES = {
    "dot dot": [member("../evil")],
    "dot dot inside": [member("a/../../evil")],
    "dot dot alone": [directory("..")],
    "absolute with dot dot": [member("/../../evil")],
    "through a link that climbs": [directory("d"), link("d/up", "../../../../.."), member("d/up/evil")],
    "through a link to the host": [link("host", "/tmp"), member("host/evil")],
    "through two links": [link("a", "b"), link("b", "../../"), member("a/evil")],
    "through a loop": [link("a", "b"), link("b", "a"), member("a/evil")],
    "directory through a link": [link("a", "../.."), directory("a/evil")],
    "hard link to the host": [hard("x", "../../../../../../etc/passwd")],
    "hard link to an absolute name": [hard("x", "/etc/passwd")],
    "hard link through a link": [link("a", "/etc"), hard("x", "a/passwd")],
    "hard link through a climbing link": [link("a", "../../../../../../etc"), hard("x", "a/passwd")],
    "hard link to a directory": [directory("a"), hard("x", "a")],
    "hard link to the root": [hard("x", "/")],
    "below a file": [member("a"), member("a/b")],
    "whiteout of dot dot": [member("a/.wh...")],
    "whiteout of the directory itself": [member("a/.wh..")],
    "whiteout of nothing": [member("a/.wh.")],
    "whiteout through a link": [link("a", "../.."), member("a/.wh.etc")],
    "opaque through a link": [link("a", "../.."), member("a/.wh..wh..opq")],
    "the root as a file": [member("./")],
}


@pytest.mark.parametrize("attack", [name for name in ESCAPES if name != "the root as a file"])
def test_a_layer_that_leaves_its_root_is_corrupt(apply: Apply, tmp_path: Path, attack: str) -> None:
    """And nothing of it stays, neither inside nor outside."""
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(Corrupt):
        apply(*ESCAPES[attack])
    assert sorted(os.listdir(tmp_path)) == sorted({*before, "blob"})
    assert not Path("/tmp/evil").exists()


def test_a_directory_that_became_something_else_has_no_time_to_set(apply: Apply) -> None:
    """Nor has what lay in it; the layer is unpacked all the same."""
    tree = apply(directory("d"), directory("d/x"), member("d", b"file"), directory("e/x"), member("e", b"file"))
    assert (tree / "d").read_bytes() == (tree / "e").read_bytes() == b"file"


@pytest.mark.parametrize(
    "odd",
    [
        member("x", uid=2**40),
        member("x", gid=2**33),
        link("x", ""),
        member("x", type=b"3", devmajor=2**20, devminor=2**20),
    ],
)
def test_what_no_call_can_say_is_corrupt(apply: Apply, odd: tuple[tarfile.TarInfo, bytes]) -> None:
    """An owner, a device or a target beyond what the kernel knows."""
    with pytest.raises(Corrupt):
        apply(odd)


@pytest.mark.parametrize("seconds", [10**17, -(10**17), 10**12])
def test_times_beyond_all_clocks_are_harmless(apply: Apply, seconds: int) -> None:
    """They are somewhere; the file is there."""
    assert (apply(member("x", b"1", mtime=seconds)) / "x").read_bytes() == b"1"


def test_a_replaced_directory_is_not_remembered(apply: Apply) -> None:
    """A directory that was used, then replaced by a link, is resolved again."""
    with pytest.raises(Corrupt):
        apply(member("d/a"), link("d", "../../../.."), member("d/b"))


steps = st.lists(st.sampled_from([b"a", b"b", b"..", b".", b"", b".wh.a", b".wh..wh..opq"]), min_size=1, max_size=5)
names = st.builds(lambda parts, top: top + b"/".join(parts), steps, st.sampled_from([b"", b"/", b"./", b"../../"]))
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
hostile = st.lists(st.tuples(names, kinds, names), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=hostile)
def test_no_order_of_links_and_dots_leads_out(tmp_path: Path, entries: list[tuple[bytes, bytes, bytes]]) -> None:
    """Entries, links and whiteouts of a few names in any order: the layer is there or an error of ours, all else as before."""
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "a").write_text("host")
    layers = Layers(outside / "data")
    layers.prepare()
    data = packed(
        member(name.decode(), b"evil" if kind == tarfile.REGTYPE else b"", type=kind, linkname=target.decode())
        for name, kind, target in entries
    )
    digest = Digest.of(data)
    (tmp_path / "blob").write_bytes(data)
    with contextlib.suppress(Corrupt):
        layers.apply(digest, tmp_path / "blob", verified=True, progress=lambda count: None)
    with Fd(os.open(layers.directory, os.O_PATH)) as place:
        remove(place.fileno(), digest.hex)
    assert os.listdir(layers.directory) == []
    assert sorted(os.listdir(outside)) == ["a", "data"]
    assert (outside / "a").read_text() == "host"
    assert sorted(os.listdir(tmp_path)) == ["blob", "outside"]


def test_overlayfs_shows_what_the_layers_mean(tmp_path: Path) -> None:
    """Two layers, mounted: removed, replaced, hidden and merged as the OCI says."""
    layers = Layers(tmp_path)
    layers.prepare()
    base = [
        *(member(name, b"base") for name in ("gone", "kept", "changed", "merged/old", "opaque/old", "again/old")),
        directory("dir"), member("dir/x"), link("link", "kept"),
    ]  # fmt: skip
    top = [
        member(".wh.gone"), member("changed", b"top"), member("merged/new"), member("opaque/new"),
        member("opaque/.wh..wh..opq"), member("again/new"), member(".wh.again"), member("dir", b"now a file"),
        directory("link"), member("link/y"),
    ]  # fmt: skip
    lowers: list[str] = []
    for number, members in enumerate((base, top)):
        data = packed(members)
        digest = Digest.of(data)
        (tmp_path / f"blob{number}").write_bytes(data)
        layers.apply(digest, tmp_path / f"blob{number}", verified=True, progress=lambda count: None)
        lowers.insert(0, str(layers.diff(digest)))
    (tmp_path / "merged").mkdir()

    def mounted() -> dict[str, str | list[str]]:
        process.unshare(Clone.NEWNS)
        mount.set_propagation("/", Ms.PRIVATE | Ms.REC)
        command = ["mount", "-t", "overlay", "-o", f"lowerdir={':'.join(lowers)}", "overlay", str(tmp_path / "merged")]
        subprocess.run(command, check=True)
        seen = sorted((tmp_path / "merged").iterdir())
        return {one.name: sorted(os.listdir(one)) if one.is_dir() else one.read_text() for one in seen}

    assert in_child(mounted) == {
        "again": ["new"], "changed": "top", "dir": "now a file", "kept": "base", "link": ["y"],
        "merged": ["new", "old"], "opaque": ["new"],
    }  # fmt: skip


def test_a_wrong_diff_id_is_corrupt(tmp_path: Path) -> None:
    """What was unpacked meanwhile goes away."""
    layers = Layers(tmp_path)
    layers.prepare()
    (tmp_path / "blob").write_bytes(packed([member("x", b"abc")]))
    wrong = Digest.of(b"other")
    with pytest.raises(Corrupt, match="invalid diffID"):
        layers.apply(wrong, tmp_path / "blob", verified=False, progress=lambda count: None)
    assert os.listdir(layers.directory) == []


@pytest.mark.parametrize("cut", [100, 600, 1100, 1 << 20])
def test_a_truncated_layer_is_corrupt(apply: Apply, cut: int) -> None:
    """Plain bytes that end in a header or in a content."""
    with pytest.raises(Corrupt):
        apply(member("x", bytes(2_000_000)), compress=lambda data: data[:cut])


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_truncated_compressed_layer_is_corrupt(apply: Apply, compress: Callable[[bytes], bytes]) -> None:
    """The compressed stream ends before its end."""
    with pytest.raises(Corrupt, match="unexpected EOF"):
        apply(member("x", os.urandom(200_000)), compress=lambda data: compress(data)[:-50])


def test_a_gzip_bomb_stops(apply: Apply) -> None:
    """Zeros that compress a thousandfold, beyond what the limits give away for nothing."""
    with pytest.raises(LimitExceeded, match="grew to more than"):
        apply(member("x", bytes(30_000_000)), compress=gzip.compress, limits=Limits(expanded=1_000_000))


def test_zeros_after_the_end_of_the_archive_stop_too(apply: Apply) -> None:
    """The tar is over, but its digest is not: an endless tail is a bomb as well."""
    with pytest.raises(LimitExceeded):
        apply(
            member("x"),
            compress=lambda data: gzip.compress(data + bytes(30_000_000)),
            limits=Limits(expanded=1_000_000),
        )


def test_too_many_entries_stop(apply: Apply) -> None:
    """And those that were made go away."""
    with pytest.raises(LimitExceeded, match="more than 100 entries"):
        apply(*(member(str(n)) for n in range(101)), limits=Limits(entries=100))


@pytest.mark.parametrize("name", ["a/" * 10_000 + "x", "a/" * 1500 + "x", "n" * 300, "n" * 5000])
def test_names_beyond_what_a_kernel_opens_stop(apply: Apply, name: str) -> None:
    """10,000 components, a component of more than 255 bytes, a name beyond PATH_MAX."""
    with pytest.raises(LimitExceeded):
        apply(member(name))


def test_a_deep_tree_is_removed(apply: Apply, tmp_path: Path) -> None:
    """A thousand directories deep, without a thousand descriptors."""
    tree = apply(member("a/" * 1000 + "x"))
    with Fd(os.open(tree.parent.parent, os.O_PATH)) as layers:
        remove(layers.fileno(), tree.parent.name)
    assert os.listdir(tree.parent.parent) == []


def test_the_layer_is_unpacked_once(apply: Apply) -> None:
    """A second time finds it there and does nothing."""
    assert apply(member("x")).stat().st_ino == apply(member("x")).stat().st_ino


def test_the_hosts_mounts_do_not_change(apply: Apply) -> None:
    """The unpacking child's mounts are its own."""
    before = Path("/proc/self/mountinfo").read_text()
    apply(member("x"))
    assert Path("/proc/self/mountinfo").read_text() == before
