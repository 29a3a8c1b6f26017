"""Fixtures for every ring, and the rule about skips.

`engine` is shared by the tests of one file; `new_engine` makes one for a single test (to be killed, or to stand beside
another). Both live in network namespaces and scratch directories of their own and are gone afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from harness import image
from harness.api import Api
from harness.cli import Onggi
from harness.engine import EngineProcess
from harness.peer import Peer
from harness.probes import REASON, is_root, needs

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With CI=true, a skip that no probe justified is a failure."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if REASON not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped, but no probe justified it: {reason}"
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a whole file that skips itself."""
    report: pytest.CollectReport = yield  # type: ignore[assignment]
    if os.environ.get("CI") == "true" and report.outcome == "skipped" and REASON not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, but no probe justified it: {report.longrepr}"
    return report  # type: ignore[return-value]


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess | Peer]:
    """A running engine for the tests of this file, with the busybox image loaded."""
    needs(is_root(), "root")
    peer = os.environ.get("ONGGI_TEST_PEER")
    made = Peer(peer) if peer else EngineProcess().start()
    try:
        made.load_busybox()
        yield made
    finally:
        made.close()


@pytest.fixture
def new_engine() -> Iterator[Callable[..., EngineProcess]]:
    """Makes engines for one test: `new_engine("--bip", "10.9.0.1/24")`, started, with nothing loaded."""
    needs(is_root(), "root")
    made: list[EngineProcess] = []

    def make(*options: str) -> EngineProcess:
        made.append(EngineProcess(*options))
        return made[-1].start()

    try:
        yield make
    finally:
        for one in made:
            one.close()


@pytest.fixture
def api(engine: EngineProcess | Peer) -> Api:
    """Requests to this file's engine."""
    return engine.api


@pytest.fixture
def busybox_image(engine: EngineProcess | Peer) -> str:
    """The name of the busybox image, loaded into this file's engine."""
    assert engine.api("GET", f"/images/{image.BUSYBOX}/json").status == 200
    return image.BUSYBOX


@pytest.fixture
def docker(engine: EngineProcess | Peer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., object]:
    """The real docker CLI against this file's engine: `docker("run", "--rm", IMAGE, "true")`."""
    program = shutil.which("docker")
    assert program, "the docker command is missing: run the tests through ./test"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("docker")),
        "DOCKER_HOST": engine.host,
    }

    def run(
        *words: str, input: str | None = None, timeout: float = 30, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            engine.network.words(program, *words),
            pass_fds=engine.network.descriptors,
            env=environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"docker {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture
def onggi(engine: EngineProcess | Peer) -> Onggi:
    """Our own command against this file's engine: `onggi("run", "--rm", IMAGE, "true")`."""
    return Onggi(engine.host)
