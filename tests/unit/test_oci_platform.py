"""`oci/platform`: which of several images suits a machine."""

from __future__ import annotations

import pytest

from onggi.errors import Invalid
from onggi.oci.platform import Platform, best


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("Linux/AArch64", "linux/arm64"),
    ],
)
def test_aliases_are_resolved(text: str, shown: str) -> None:
    """People write platforms in several ways, configs in one."""
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/../etc"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    """Two or three words, nothing else."""
    with pytest.raises(Invalid):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "index"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/amd64", ["linux/386"], 0),
        ("linux/amd64", ["linux/amd64/v3"], None),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], 1),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], 1),
        ("linux/arm64", ["linux/arm/v7"], 0),
        ("linux/386", ["linux/amd64"], None),
    ],
)
def test_the_closest_platform_wins(wanted: str, offered: list[str], index: int | None) -> None:
    """The machine's own kind first, then the best of what it can run, never what it cannot."""
    assert best(Platform.parse(wanted), [Platform.parse(one) for one in offered]) == index
