"""What the engine says of itself and its machine, against the machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from onggi.engine.events import Events
from onggi.engine.instance import Instance
from onggi.engine.system import Counts, System
from onggi.kernel.cgroup.detect import detect

# The keys of the real Docker 26's /info.
INFO = """
Architecture BridgeNfIp6tables BridgeNfIptables CDISpecDirs CPUSet CPUShares CgroupDriver CgroupVersion ContainerdCommit
Containers ContainersPaused ContainersRunning ContainersStopped CpuCfsPeriod CpuCfsQuota Debug DefaultRuntime
DockerRootDir Driver DriverStatus ExperimentalBuild GenericResources HttpProxy HttpsProxy ID IPv4Forwarding Images
IndexServerAddress InitBinary InitCommit Isolation KernelMemoryTCP KernelVersion Labels LiveRestoreEnabled LoggingDriver
MemTotal MemoryLimit NCPU NEventsListener NFd NGoroutines Name NoProxy OSType OSVersion OomKillDisable OperatingSystem
PidsLimit Plugins RegistryConfig RuncCommit Runtimes SecurityOptions ServerVersion SwapLimit Swarm SystemTime Warnings
"""


@pytest.fixture
def system() -> Iterator[System]:
    """A system with three containers on a tmpfs."""

    async def count() -> Counts:
        return Counts(running=1, paused=0, stopped=2, images=4)

    with TemporaryDirectory(prefix="onggi-api-", dir="/dev/shm") as directory:
        instance = Instance(Path(directory) / "data", Path(directory) / "run")
        instance.prepare()
        yield System(instance, detect(), Events(), count)


def info(system: System) -> Mapping[str, Any]:
    """The info document."""
    return asyncio.run(system.info())


def test_info_has_dockers_keys(system: System) -> None:
    """Key for key as Docker's."""
    assert sorted(info(system)) == sorted(INFO.split())


def test_info_tells_the_truth(system: System) -> None:
    """Kernel, memory, processors, file system, cgroups and counts are this machine's."""
    told = info(system)
    assert told["KernelVersion"] == os.uname().release
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    assert f"{told['MemTotal'] // 1024} kB" in meminfo.splitlines()[0]
    assert told["NCPU"] == len(os.sched_getaffinity(0))
    assert told["DriverStatus"][0] == ["Backing Filesystem", "tmpfs"]
    assert told["CgroupVersion"] == ("2" if detect().mode == "v2" else "1")
    assert (told["Containers"], told["ContainersStopped"], told["Images"]) == (3, 2, 4)


def test_the_engines_id_is_kept(system: System) -> None:
    """The id is made once for a data root, and nothing is left beside it."""
    first = info(system)
    assert info(system)["ID"] == first["ID"]
    assert [path for path in os.listdir(first["DockerRootDir"]) if path.startswith("engine-id")] == ["engine-id"]


def test_version_names_both(system: System) -> None:
    """The version document names the Docker release for clients, and Onggi for people."""
    told = asyncio.run(system.version())
    assert (told["ApiVersion"], told["MinAPIVersion"], told["Os"]) == ("1.51", "1.24", "linux")
    assert told["Platform"]["Name"].startswith("Onggi ")
    assert told["Components"][0]["Details"]["ApiVersion"] == told["ApiVersion"]
