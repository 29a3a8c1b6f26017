"""The docker command says and does the same with Onggi as with Docker.

Against Onggi, always, with what was recorded. With ONGGI_TEST_DOCKER_HOST=unix:///… that Docker is asked the same, so that
the expectations are tested too; with ONGGI_RECORD=1 besides, its answers become the expectations. Where Docker answers
differently from one time to the next (it can lose the output of a short container), three times are asked for.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from conformance import scripts
from harness.engine import EngineProcess
from harness.peer import Peer
from harness.probes import needs

SCRIPTS = scripts.read()
DOCKER = os.environ.get("ONGGI_TEST_DOCKER_HOST", "")
EXPECTED: dict[str, scripts.Outcome] = json.loads(scripts.EXPECTED.read_text()) if scripts.EXPECTED.exists() else {}


def name_of(key: str) -> str:
    """A container's name that no other test uses."""
    return f"conform{secrets.token_hex(3)}{len(key)}"


@pytest.mark.parametrize("key", sorted(SCRIPTS))
def test_onggi_answers_as_docker_did(engine: EngineProcess, key: str) -> None:
    """Output, errors and exit status of the script are those that were recorded from Docker."""
    if "/sys/fs/cgroup/" in SCRIPTS[key]:
        needs(os.path.isdir("/sys/fs/cgroup/memory"), "cgroup v1, with which this was recorded")
    found = scripts.run(SCRIPTS[key], engine.host, engine.network.words(), engine.network.descriptors, name_of(key))
    assert found == EXPECTED[key]


@pytest.fixture(scope="module")
def docker_peer() -> Iterator[Peer]:
    """The Docker that ONGGI_TEST_DOCKER_HOST names."""
    peer = Peer(DOCKER)
    peer.load_busybox()
    yield peer
    peer.close()


def ask_docker(key: str) -> list[scripts.Outcome]:
    """Three answers to one script."""
    return [scripts.run(SCRIPTS[key], DOCKER, [], [], name_of(key)) for _ in range(3)]


if DOCKER and not os.environ.get("ONGGI_RECORD"):

    @pytest.mark.parametrize("key", sorted(SCRIPTS))
    def test_docker_answers_as_it_did(docker_peer: Peer, key: str) -> None:
        """The expectations are Docker's."""
        assert EXPECTED[key] in ask_docker(key)


if DOCKER and os.environ.get("ONGGI_RECORD"):

    def test_record(docker_peer: Peer) -> None:
        """Write the most frequent of three answers to each script as what is expected."""
        found = {}
        for key in sorted(SCRIPTS):
            answers = Counter(json.dumps(answer, sort_keys=True) for answer in ask_docker(key))
            found[key] = json.loads(answers.most_common(1)[0][0])
        scripts.EXPECTED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
