"""The image's users and groups, read as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import StartFailed
from onggi.runtime.passwd import User, resolve

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nwho:x:1234:1235::/home/who:/bin/sh\n7:x:70:71::/seven:/bin/sh\n"
GROUP = b"root:x:0:\nwho:x:1235:\nextra:x:4321:other,who\nwheel:x:10:root\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", User(0, 0, (0, 10), "/root")),
        ("root", User(0, 0, (0, 10), "/root")),
        ("0", User(0, 0, (0, 10), "/root")),
        ("who", User(1234, 1235, (1235, 4321), "/home/who")),
        ("1234", User(1234, 1235, (1235, 4321), "/home/who")),
        ("who:extra", User(1234, 4321, (4321,), "/home/who")),
        ("who:99", User(1234, 99, (99,), "/home/who")),
        ("99:98", User(99, 98, (98,), "/")),
        ("99", User(99, 0, (0,), "/")),
        (":extra", User(0, 4321, (4321,), "/root")),
        ("7", User(70, 71, (71,), "/seven")),
    ],
)
def test_docker_s_forms_of_user(user: str, expected: User) -> None:
    """Names and numbers, with and without a group; a name made of digits is a name first."""
    assert resolve(user, PASSWD, GROUP) == expected


def test_extra_groups_come_last_and_once() -> None:
    """`--group-add` takes names and numbers."""
    assert resolve("who", PASSWD, GROUP, ("wheel", "4321", "77")).groups == (1235, 4321, 10, 77)


@pytest.mark.parametrize(
    ("user", "extra", "code"),
    [("nobody", (), "user.not-found"), ("who:ghosts", (), "group.not-found"), ("who", ("ghosts",), "group.not-found"),
     ("-1", (), "user.not-found"), ("4294967295", (), "user.not-found"), ("0x10", (), "user.not-found")],
)  # fmt: skip
def test_a_name_that_nobody_has_is_refused(user: str, extra: tuple[str, ...], code: str) -> None:
    """Neither -1, which setuid(2) takes for "leave it", nor a number that wraps round to 0 is an id."""
    with pytest.raises(StartFailed) as failure:
        resolve(user, PASSWD, GROUP, extra)
    assert failure.value.code == code


def test_without_files_numbers_still_work() -> None:
    """An image from scratch has neither file."""
    assert resolve("12:13", b"", b"") == User(12, 13, (13,), "/")
    assert resolve("", b"", b"") == User(0, 0, (0,), "/")


def test_broken_lines_are_passed_over() -> None:
    """Comments, short lines, ids that are no numbers, bytes that are no text."""
    passwd = b"# root:x:9:9::/:\nroot\nroot:x:zero:0::/a:\n\xff\xfe:x:5:5::/b:\nroot:x:0:0::/good:\n"
    assert resolve("root", passwd, b"garbage\nx:y\n").home == "/good"


def test_the_first_entry_wins() -> None:
    """As getpwnam(3) finds it."""
    assert resolve("a", b"a:x:1:1::/one:\na:x:2:2::/two:\n", b"").uid == 1


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=20))
def test_any_bytes_give_ids_in_range_or_a_named_failure(passwd: bytes, group: bytes, user: str) -> None:
    """A hostile image can choose the ids, and nothing else."""
    try:
        found = resolve(user, passwd, group)
    except StartFailed as error:
        assert error.code in ("user.not-found", "group.not-found")  # noqa: PT017 - either outcome is right
    else:
        assert all(0 <= number < 2**32 - 1 for number in (found.uid, found.gid, *found.groups))
