"""Two engines with different roots on one machine: each is blind to the other's things, and harms none of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from harness import image
from harness.box import Box, alive
from harness.engine import EngineProcess
from harness.namespace import NetworkNamespace


class Pair(NamedTuple):
    """Two engines in one network namespace, as on one machine."""

    first: EngineProcess
    second: EngineProcess


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two engines with the image loaded into each."""
    network = NetworkNamespace()
    engines = Pair(EngineProcess(network=network), EngineProcess(network=network))
    try:
        for engine in engines:
            engine.start()
            engine.load_busybox()
        yield engines
    finally:
        for engine in engines:
            engine.close()
        network.close()


def test_each_lists_its_own_containers(pair: Pair) -> None:
    """The same name may be taken in both; neither knows the other's."""
    first, second = (Box.run(engine.api, "sleep", "60", name="same") for engine in pair)
    for engine, box, other in ((pair.first, first, second), (pair.second, second, first)):
        assert [one["Id"] for one in engine.api.ok("GET", "/containers/json")] == [box.id]
        assert engine.api("GET", f"/containers/{other.id}/json").status == 404


def test_images_are_apart(pair: Pair) -> None:
    """What one removes the other still has."""
    pair.first.api.ok("DELETE", f"/images/{image.BUSYBOX}")
    assert pair.first.api("GET", f"/images/{image.BUSYBOX}/json").status == 404
    assert Box.run(pair.second.api, "true").wait() == 0


def test_bridges_and_subnets_are_apart(pair: Pair) -> None:
    """Each has a bridge of its own; no address is in both networks."""
    boxes = [Box.run(engine.api, "sleep", "60") for engine in pair]
    networks = [engine.api.ok("GET", "/networks/bridge") for engine in pair]
    subnets = {network["IPAM"]["Config"][0]["Subnet"] for network in networks}
    assert len(subnets) == 2
    bridges = {link for engine in pair for link in engine.leftovers().links if link.startswith("og")}
    assert len(bridges) == 2
    addresses = {box.inspect()["NetworkSettings"]["IPAddress"] for box in boxes}
    assert len(addresses) == 2


def test_stopping_one_leaves_the_others_things(pair: Pair) -> None:
    """SIGTERM to the first, without containers: the second's container, link, rules and groups stay."""
    Box.run(pair.first.api, "true").wait()
    box = Box.run(pair.second.api, "sleep", "60")
    before = pair.second.leftovers()
    assert pair.first.stop() == 0
    left = pair.second.leftovers()
    assert left.cgroups == before.cgroups
    own = {link for link in before.links if link.startswith(f"og{pair.second.instance[-8:]}")}
    assert own <= left.links
    assert f"table inet {pair.second.instance}" in left.tables
    assert (
        Box.run(pair.second.api, "ping", "-c", "1", "-W", "3", box.inspect()["NetworkSettings"]["IPAddress"]).wait()
        == 0
    )
    pair.first.start()


def test_the_sweep_at_start_up_leaves_the_others_things(pair: Pair) -> None:
    """kill -9 and a start of the first: all that the second has stays as it is, its container reaches the world."""
    Box.run(pair.first.api, "sleep", "60")
    box = Box.run(pair.second.api, "sleep", "60")
    before = pair.second.leftovers()
    pid = box.pid
    pair.first.kill()
    pair.first.start()
    assert pair.second.leftovers().since(before) == {}
    assert before.since(pair.second.leftovers()) == {}
    assert alive(pid)
    assert (
        Box.run(pair.second.api, "ping", "-c", "1", "-W", "3", box.inspect()["NetworkSettings"]["IPAddress"]).wait()
        == 0
    )


def test_removing_all_in_one_leaves_the_others_running(pair: Pair) -> None:
    """rm -f of everything in the first: the second's container does not notice."""
    for _ in range(3):
        Box.run(pair.first.api, "sleep", "60")
    box = Box.run(pair.second.api, "sleep", "60")
    pid = box.pid
    pair.first.remove_containers()
    assert alive(pid)
    assert box.state["Running"]


def test_a_container_does_not_reach_the_other_engines_containers(pair: Pair) -> None:
    """The bridges are apart: no packet crosses from one engine's container to another's."""
    box = Box.run(pair.second.api, "sleep", "60")
    address = box.inspect()["NetworkSettings"]["IPAddress"]
    stranger = Box.run(pair.first.api, "ping", "-c", "1", "-W", "1", address)
    assert stranger.wait() == 1
