"""Names, masks and Docker's choice of capabilities."""

from __future__ import annotations

import pytest

from onggi.engine.capabilities import chosen
from onggi.errors import Invalid
from onggi.kernel import capability


def test_the_kernel_header_s_numbers() -> None:
    """A name stands at the place of its number in linux/capability.h."""
    numbers = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETPCAP": 8, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24}
    numbers |= {"CAP_MKNOD": 27, "CAP_SETFCAP": 31, "CAP_SYSLOG": 34, "CAP_BPF": 39, "CAP_CHECKPOINT_RESTORE": 40}
    assert {name: capability.NAMES.index(name) for name in numbers} == numbers
    assert len(capability.NAMES) == 41


def test_the_default_is_docker_s_mask() -> None:
    """Docker's fourteen are the mask that `CapEff` of every default container shows."""
    assert capability.mask(capability.DEFAULT) == 0xA80425FB


@pytest.mark.parametrize("text", ["NET_ADMIN", "net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"])
def test_any_case_with_and_without_prefix(text: str) -> None:
    """A name is known in any case, with and without its prefix."""
    assert capability.parse(text) == "CAP_NET_ADMIN"


@pytest.mark.parametrize("text", ["", "FOO", "CAP_", "CAP_ALL", "CAP_CHOWN ", "CHOWN,KILL", "CAP_CAP_CHOWN"])
def test_an_unknown_name_is_refused(text: str) -> None:
    """Whatever is no name is refused, `CAP_ALL` among it."""
    with pytest.raises(Invalid, match="unknown capability") as caught:
        capability.parse(text)
    assert caught.value.code == "capability.unknown"


def test_all_without_prefix_is_all() -> None:
    """`all` stands for every capability."""
    assert capability.parse("all") == "ALL"
    assert capability.mask(["all"]) == (1 << 41) - 1


def test_a_mask_and_back() -> None:
    """Names become a mask and a mask the same names; a bit of a later kernel shows by number."""
    assert capability.names(capability.mask(["kill", "chown"])) == ("CAP_CHOWN", "CAP_KILL")
    assert capability.names(1 << 45) == ("CAP_45",)


def test_the_spec_s_sets() -> None:
    """A set that the spec does not name is empty."""
    sets = capability.from_spec({"bounding": ["CAP_KILL"], "ambient": None})  # type: ignore[dict-item]
    assert sets == capability.CapabilitySets(bounding=1 << 5)


def test_add_and_drop() -> None:
    """What is dropped goes from the default, what is added comes to it, adding wins."""
    got = chosen(["SYS_TIME", "MKNOD"], ["mknod", "KILL"])
    assert set(got) == set(capability.DEFAULT) - {"CAP_KILL"} | {"CAP_SYS_TIME"}


def test_drop_all_leaves_what_is_added() -> None:
    """`--cap-drop ALL --cap-add X` is X alone."""
    assert chosen(["chown"], ["ALL"]) == ("CAP_CHOWN",)


def test_add_all_but() -> None:
    """`--cap-add ALL --cap-drop X` is all but X."""
    assert set(chosen(["ALL"], ["SYS_ADMIN"])) == set(capability.NAMES) - {"CAP_SYS_ADMIN"}


def test_all_is_what_the_host_has() -> None:
    """`ALL` and privileged do not promise what the host cannot give."""
    held = [name for name in capability.NAMES if name != "CAP_SYS_RESOURCE"]
    assert chosen(["ALL"], [], held=held) == tuple(held)
    assert chosen([], [], privileged=True, held=held) == tuple(held)


def test_docker_s_sentence_for_an_unknown_name() -> None:
    """The cause is Docker's sentence, with the field and the normalized name."""
    with pytest.raises(Invalid) as caught:
        chosen([], ["foo"])
    assert caught.value.cause == 'invalid CapDrop: unknown capability: "CAP_FOO"'


def test_docker_s_sentence_for_one_that_the_host_lacks() -> None:
    """Asking by name for what the host cannot give is an error in Docker's words."""
    with pytest.raises(Invalid) as caught:
        chosen(["sys_resource"], [], held=["CAP_KILL"])
    assert caught.value.cause == (
        "invalid CapAdd: capability not supported by your kernel or not available in the current environment: "
        '"CAP_SYS_RESOURCE"'
    )
