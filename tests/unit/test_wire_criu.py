"""CRIU's messages: against bytes that Google's library made of rpc.proto, and bytes that CRIU 3.17 and 4.1 sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Corrupt
from onggi.wire import criu, protobuf
from onggi.wire.protobuf import Field

INNER = {"word": Field(1, "string"), "number": Field(200, "int32")}
SCHEMA = {
    "flag": Field(1, "bool"),
    "signed": Field(2, "int32"),
    "unsigned": Field(3, "uint32"),
    "text": Field(16, "string"),
    "many": Field(17, "string", repeated=True),
    "inner": Field(18, "message", INNER),
    "inners": Field(2047, "message", INNER, repeated=True),
}
INT32 = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MESSAGES = st.fixed_dictionaries({}, optional={"word": TEXT, "number": INT32})
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "flag": st.booleans(),
        "signed": INT32,
        "unsigned": st.integers(0, 2**32 - 1),
        "text": TEXT,
        "many": st.lists(TEXT, min_size=1, max_size=3),
        "inner": MESSAGES,
        "inners": st.lists(MESSAGES, min_size=1, max_size=3),
    },
)


def test_a_dump_is_what_googles_library_makes_of_it() -> None:
    """Numbers, a negative one, strings, messages in messages, lists."""
    made = criu.request(
        criu.DUMP,
        {
            "images_dir_fd": 7,
            "pid": 4711,
            "leave_running": True,
            "log_level": 4,
            "log_file": "dump.log",
            "ps": {"address": "::1", "port": 27277},
            "work_dir_fd": -1,
            "ext_mnt": [{"key": "/conf", "val": "/real/conf"}, {"key": "/dev/null", "val": "/dev/null"}],
            "manage_cgroups_mode": criu.CGROUP_MODES["ignore"],
            "external": ["net[4026531840]:extRootNetNS"],
            "empty_ns": 0x40000000,
            "lsm_profile": None,
        },
    )
    assert made.hex() == (
        "0801128201080710e72418014804520864756d702e6c6f675a090a033a3a31108dd5018801ffffffffffffffffff01ba01130a052f636f6e"
        "66120a2f7265616c2f636f6e66ba01160a092f6465762f6e756c6c12092f6465762f6e756c6c900200aa021c6e65745b3430323635333138"
        "34305d3a657874526f6f744e65744e53b0028080808004"
    )


def test_a_restore_is_what_googles_library_makes_of_it() -> None:
    """Inherited descriptors, groups, namespaces to join, a name that is not ASCII."""
    made = criu.request(
        criu.RESTORE,
        {
            "images_dir_fd": 3,
            "root": "/온기",
            "cg_root": [{"ctrl": "name=systemd", "path": "/o/c"}],
            "rst_sibling": True,
            "inherit_fd": [{"key": "pipe:[12345]", "fd": 1}],
            "join_ns": [{"ns": "ipc", "ns_file": "/proc/1/ns/ipc"}],
        },
    )
    assert made.hex() == (
        "0802125008036a072fec98a8eab8b0ca01140a0c6e616d653d73797374656d6412042f6f2f63d00101da01100a0c706970653a5b31323334"
        "355d1001ba02150a03697063120e2f70726f632f312f6e732f697063"
    )


def test_small_requests_are_what_googles_library_makes_of_them() -> None:
    """A question that keeps the connection open, and the two answers to a notification."""
    assert criu.feature_check("mem_track").hex() == "080920012a020801"
    assert criu.request(criu.VERSION, keep_open=True).hex() == "080a2001"
    assert criu.go_on(success=False).hex() == "08061800"
    assert criu.go_on(success=True).hex() == "08061801"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("080a10015206080310112001", criu.Answer(criu.VERSION, success=True, version=(3, 17, 1))),
        ("080a10015206080410012001", criu.Answer(criu.VERSION, success=True, version=(4, 1, 1))),
        ("08091000", criu.Answer(criu.FEATURE_CHECK, success=False)),
        ("080910014206080010001800", criu.Answer(criu.FEATURE_CHECK, success=True)),
        ("080910014206080110001800", criu.Answer(criu.FEATURE_CHECK, success=True, features=("mem_track",))),
        ("080610012a0a0a087072652d64756d70", criu.Answer(criu.NOTIFY, success=True, script="pre-dump")),
        (
            "080610012a160a1073657475702d6e616d6573706163657310dec201",
            criu.Answer(criu.NOTIFY, success=True, script="setup-namespaces", pid=24926),
        ),
        ("080110001a0208003838", criu.Answer(criu.DUMP, success=False, errno=56)),
        ("08021001220408dec2014a0345720a", criu.Answer(criu.RESTORE, success=True, pid=24926, message="Er\n")),
    ],
)
def test_what_criu_sends_is_understood(sent: str, expected: criu.Answer) -> None:
    """As captured on the socket of both releases."""
    assert criu.answer(bytes.fromhex(sent)) == expected


@given(VALUES)
def test_what_is_encoded_can_be_decoded(values: dict[str, Any]) -> None:
    """Whatever is set comes back, nothing else does."""
    assert protobuf.decode(SCHEMA, protobuf.encode(SCHEMA, values)) == values


@given(st.binary(max_size=60))
def test_garbage_is_corrupt_or_a_message_and_never_anything_else(data: bytes) -> None:
    """No other exception, whatever comes."""
    try:
        criu.answer(data)
    except Corrupt:
        return


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08", "cut short"),
        (b"\x08" + b"\x80" * 10, "cut short or too long"),
        (b"\x12\x05ab", "5 bytes is cut short"),
        (b"\x00\x01", "number 0"),
        (b"\x0b", "not known (3)"),
        (b"\x0a\x01a", "stored in another way"),
    ],
)
def test_what_is_no_message_is_corrupt(data: bytes, why: str) -> None:
    """With the reason."""
    with pytest.raises(Corrupt) as found:
        protobuf.decode(SCHEMA, data)
    assert why in str(found.value)


def test_fields_that_are_not_known_are_passed_over() -> None:
    """Of every way in which one can be stored: a newer CRIU has more to tell."""
    unknown = b"\xf8\x07\x05" + b"\xf9\x07" + b"8" * 8 + b"\xfa\x07\x02ab" + b"\xfd\x07" + b"4444"
    assert protobuf.decode(SCHEMA, unknown + b"\x08\x01" + unknown) == {"flag": True}


def test_an_option_that_rpc_proto_lacks_is_an_error() -> None:
    """A slip of ours is not passed over."""
    with pytest.raises(KeyError):
        criu.request(criu.DUMP, {"leave_runing": True})


def test_the_command_line_says_what_the_socket_is_told() -> None:
    """For people: the nearest words of criu(8)."""
    options = {
        "pid": 7,
        "log_level": 4,
        "shell_job": True,
        "notify_scripts": True,
        "manage_cgroups_mode": 0,
        "ext_mnt": [{"key": "/a", "val": "/b"}],
        "inherit_fd": [{"fd": 1, "key": "pipe:[5]"}],
        "empty_ns": 0x40000000,
        "ps": {"address": "10.0.0.1", "port": 99},
        "lsm_profile": None,
    }
    assert criu.command(criu.DUMP, options, "/images", "/work") == (
        "criu dump --images-dir /images --work-dir /work --tree 7 -v4 --shell-job --manage-cgroups=ignore"
        " --external mnt[/a]:/b --inherit-fd fd[1]:pipe:[5] --empty-ns net --page-server --address 10.0.0.1 --port 99"
    )
