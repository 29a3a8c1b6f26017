"""Which ids a container of its own user namespace gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.engine import user_ids
from onggi.engine.instance import Instance
from onggi.errors import Invalid, LimitExceeded, Unsupported
from onggi.wire.host_config import HostConfig


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """An engine whose directories exist."""
    (tmp_path / "run/containers").mkdir(parents=True)
    return Instance(tmp_path / "data", tmp_path / "run")


def first(
    instance: Instance, container_id: str, lines: str = "", *, groups: str | None = None, starting: bool = True
) -> int:
    """The first id, with these lines as /etc/subuid and /etc/subgid."""
    subuid, subgid = instance.exec_root / "subuid", instance.exec_root / "subgid"
    subuid.write_text(lines)
    subgid.write_text(lines if groups is None else groups)
    if starting:
        instance.run_dir(container_id).mkdir(exist_ok=True)
    return user_ids.first_id(instance, container_id, str(subuid), str(subgid))


def test_the_range_lies_where_systemd_keeps_ids_for_containers(instance: Instance) -> None:
    """No line in /etc/subuid: 0x80000 to 0x6fffffff, the lower half of the number zero."""
    found = first(instance, "ab" * 32)
    assert 0x80000 <= found < 0x70000000 - 0xFFFF
    assert found % 0x10000 == 0


@given(st.sets(st.integers(0, 2**64 - 1), min_size=2, max_size=12))
def test_no_two_containers_share_an_id(tmp_path_factory: pytest.TempPathFactory, numbers: set[int]) -> None:
    """Whatever their ids are, also when they begin at the same place."""
    place = tmp_path_factory.mktemp("e")
    (place / "containers").mkdir()
    instance = Instance(place, place)
    found = [first(instance, f"{number % 3:012x}{number:016x}") for number in numbers]
    assert len({start + offset for start in found for offset in (0, 65535)}) == 2 * len(numbers)


def test_a_container_keeps_its_range(instance: Instance) -> None:
    """From one start to the next, as long as it exists."""
    assert first(instance, "a" * 64) == first(instance, "a" * 64, "containers:1000000:655360\n")


def test_a_plan_takes_no_range(instance: Instance) -> None:
    """What is not starting has no run directory: nothing is written."""
    assert first(instance, "a" * 64, starting=False) == first(instance, "a" * 64, starting=False)
    assert list((instance.exec_root / "containers").iterdir()) == []


def test_the_line_of_onggi_comes_before_that_of_containers(instance: Instance) -> None:
    """The administrator's word counts."""
    lines = "alice:100000:65536\ncontainers:200000000:65536\nonggi:300000000:65536\n"
    assert first(instance, "b" * 64, lines) == 300000000


def test_the_ranges_of_a_line_come_to_an_end(instance: Instance) -> None:
    """Two ranges, three containers: the third is told."""
    lines = "containers:1000000:131072\n"
    assert {first(instance, "1" * 64, lines), first(instance, "2" * 64, lines)} == {1000000, 1065536}
    with pytest.raises(LimitExceeded, match="all 2 ranges"):
        first(instance, "3" * 64, lines)


def test_a_range_is_free_again_when_its_container_is_gone(instance: Instance) -> None:
    """The run directory is what holds it."""
    lines = "containers:1000000:65536\n"
    first(instance, "1" * 64, lines)
    (instance.run_dir("1" * 64) / user_ids.FILE).unlink()
    instance.run_dir("1" * 64).rmdir()
    assert first(instance, "2" * 64, lines) == 1000000


@pytest.mark.parametrize("groups", ["", "containers:7:65536\n", "containers:1000000:10\n"])
def test_users_and_groups_must_have_the_same_line(instance: Instance, groups: str) -> None:
    """One map serves both: different lines are an error that names the file."""
    with pytest.raises(Invalid, match="subuid"):
        first(instance, "a" * 64, "containers:1000000:65536\n", groups=groups)


@pytest.mark.parametrize("mode", ["", "host"])
def test_docker_s_modes_stay_as_they_are(mode: str) -> None:
    """No user namespace of its own."""
    assert not user_ids.has_own(HostConfig(userns_mode=mode))


@pytest.mark.parametrize("mode", ["auto", "private"])
def test_podmans_words_mean_ids_of_its_own(mode: str) -> None:
    """Either of them."""
    assert user_ids.has_own(HostConfig(userns_mode=mode))


@pytest.mark.parametrize("mode", ["keep-id", "nomap", "container:x", "auto:size=5"])
def test_another_mode_is_refused_by_name(mode: str) -> None:
    """Podman's other words are not understood, and said so."""
    with pytest.raises(Unsupported, match=r"HostConfig\.UsernsMode"):
        user_ids.has_own(HostConfig(userns_mode=mode))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (HostConfig(userns_mode="auto", privileged=True), "privileged mode is incompatible"),
        (HostConfig(userns_mode="auto", network_mode="host"), "host's network namespace"),
        (HostConfig(userns_mode="auto", pid_mode="host"), "host PID namespace"),
    ],
)
def test_what_the_host_owns_cannot_be_shared(host: HostConfig, words: str) -> None:
    """In Docker's words for its remapped daemon."""
    with pytest.raises(Invalid, match=words):
        user_ids.has_own(host)
