"""Steps are made short without losing what they say."""

from __future__ import annotations

from onggi.cli.shortened import container_id, fold, shorten

ID = "0123456789abcdef" * 4


def test_paths_that_differ_in_one_part_are_folded() -> None:
    """As bash would expand it again."""
    assert fold(["/a/x/b", "/a/y/b", "/a/z/b"]) == "/a/{x,y,z}/b"


def test_what_differs_in_two_parts_is_left_alone() -> None:
    """Nothing is said that was not there."""
    assert fold(["/a/x/b", "/c/y/b"]) == ""
    assert fold(["/a/x", "/a/x"]) == ""
    assert fold(["/a/x", "/a/x/y"]) == ""


def test_the_commonest_id_gets_a_name() -> None:
    """Other long numbers, such as a layer's, keep theirs."""
    other = "f" * 64
    steps = [f"mkdir /g/{ID}", f"mount -o lower=/l/{other},upper=/c/{ID}/upper overlay"]
    assert container_id(steps) == ID
    assert shorten(steps[1], ID) == f"mount -o lower=/l/{other},upper=/c/$ID/upper overlay"


def test_a_command_over_many_paths_is_one_short_line() -> None:
    """mkdir over ten hierarchies, and a write to each of them."""
    assert shorten(f"mkdir -p /g/cpu/{ID} /g/pids/{ID}", ID) == "mkdir -p /g/{cpu,pids}/$ID"
    text = "; ".join(f"echo $$ > /g/{name}/{ID}/p" for name in ("cpu", "pids", "io"))
    assert shorten(text, ID) == "echo $$ > /g/{cpu,pids,io}/$ID/p"


def test_a_short_command_stays_as_it_is() -> None:
    """Nothing to shorten, nothing changed."""
    for text in ("cd /", "mount -t proc proc /proc", "pivot_root . . && umount -l .", "mount --bind /a /b/c"):
        assert shorten(text, "") == text
