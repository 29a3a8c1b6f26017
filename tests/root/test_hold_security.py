"""What a default container cannot do, and what its options give it. Each attack is tried from inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.api import Api
from harness.box import Box, status_of
from harness.engine import EngineProcess


def attempt(api: Api, script: str, host: dict[str, Any] | None = None, **config: Any) -> tuple[int, str]:
    """Run a script; its exit code and all that it said."""
    box = Box.run(api, "sh", "-c", script, host=host, **config)
    code = box.wait()
    out, err = box.output()
    box.remove()
    return code, out + err


@pytest.mark.parametrize(
    ("what", "script"),
    [
        ("a tmpfs", "mount -t tmpfs x /tmp"),
        ("the root again, writable", "mount -o remount,rw /proc/sys"),
        ("a bind", "mount --bind /bin /tmp"),
        ("/proc once more", "mkdir /p; mount -t proc p /p"),
        ("off a mask", "umount /proc/kcore || umount /proc/keys"),
        ("out of a read-only path", "umount /proc/sys"),
    ],
)
def test_it_cannot_mount(api: Api, what: str, script: str) -> None:
    """No capability and no seccomp rule lets it."""
    code, said = attempt(api, script)
    assert code != 0, what
    assert "ermitted" in said or "denied" in said


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/profiling",
        "/sys/power/state",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/devices/devices.allow",
    ],
)
def test_it_cannot_write_the_kernels_switches(api: Api, path: str) -> None:
    """Read-only, or not there at all."""
    code, _ = attempt(api, f"echo 1 >{path}")
    assert code != 0


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware/acpi"])
def test_it_cannot_read_what_is_masked(api: Api, path: str) -> None:
    """Nothing comes out."""
    _, said = attempt(api, f"head -c 10 {path} 2>/dev/null; ls {path}/ 2>/dev/null")
    assert said in ("", f"{path}\n")


def block_device() -> tuple[int, int]:
    """The machine's own disk, or any block device's numbers."""
    for name in sorted(os.listdir("/sys/class/block")):
        major, minor = Path(f"/sys/class/block/{name}/dev").read_text().split(":")
        return int(major), int(minor)
    return 8, 0


def test_it_cannot_open_a_disk(api: Api) -> None:
    """mknod may work (Docker grants CAP_MKNOD); the device group refuses the open."""
    major, minor = block_device()
    code, said = attempt(api, f"mknod /disk b {major} {minor} && head -c 1 /disk >/dev/null")
    assert code != 0
    assert "not permitted" in said


@pytest.mark.parametrize(("name", "numbers"), [("mem", "1 1"), ("port", "1 4"), ("kmsg", "1 11"), ("fuse", "10 229")])
def test_it_cannot_open_a_character_device(api: Api, name: str, numbers: str) -> None:
    """/dev/mem and its like."""
    code, said = attempt(api, f"mknod /{name} c {numbers} && head -c 1 /{name} >/dev/null")
    assert code != 0
    assert "not permitted" in said or "No such device" in said


def test_it_sees_no_process_of_the_host(api: Api) -> None:
    """Its /proc has its own processes only."""
    _, said = attempt(api, "ls /proc | grep -c '^[0-9]'")
    assert int(said) <= 4


def test_it_cannot_reach_the_engines_socket(api: Api, engine: EngineProcess) -> None:
    """The path does not exist inside, nor does any of the engine's directories."""
    code, said = attempt(api, f"ls -d {engine.socket} {engine.root} /run/onggi /dev/shm/og-* 2>/dev/null; true")
    assert (code, said) == (0, "")


def test_it_inherits_no_descriptor(api: Api) -> None:
    """Only 0, 1 and 2 are open, and they are pipes and /dev/null."""
    box = Box.run(api, "sleep", "60")
    found = {name: os.readlink(f"/proc/{box.pid}/fd/{name}") for name in os.listdir(f"/proc/{box.pid}/fd")}
    assert set(found) == {"0", "1", "2"}
    assert found["0"] == "/dev/null"
    assert all(found[name].startswith("pipe:") for name in "12")
    box.remove()


def test_it_inherits_no_descriptor_with_a_terminal(api: Api) -> None:
    """Only 0, 1 and 2, all its terminal."""
    box = Box.run(api, "sleep", "60", Tty=True, OpenStdin=True)
    found = {name: os.readlink(f"/proc/{box.pid}/fd/{name}") for name in os.listdir(f"/proc/{box.pid}/fd")}
    assert set(found) == {"0", "1", "2"}
    assert all(place.startswith("/dev/pts/") for place in found.values())
    box.remove()


def test_the_environment_of_the_engine_stays_outside(api: Api) -> None:
    """What the process sees are the image's variables, HOSTNAME and HOME."""
    _, said = attempt(api, "env | cut -d= -f1 | sort | tr '\\n' ' '")
    assert said == "HOME HOSTNAME PATH PWD SHLVL "


def test_its_keyring_is_its_own(api: Api) -> None:
    """A session keyring of its own, so that keys of the host's session are out of reach."""
    box = Box.run(api, "sleep", "60")
    keys = Path("/proc/keys").read_text() if os.path.exists("/proc/keys") else ""
    if keys:
        assert f"_ses.{box.id}"[:20] in keys
    box.remove()


@pytest.mark.parametrize("call", ["unshare -U true", "unshare -m true", "unshare -n true"])
def test_it_cannot_make_namespaces(api: Api, call: str) -> None:
    """The seccomp filter refuses unshare without CAP_SYS_ADMIN."""
    code, said = attempt(api, call)
    assert code != 0
    assert "not permitted" in said


def test_it_has_dockers_capabilities(api: Api) -> None:
    """The fourteen of Docker, in effect, permitted and bounding; nothing ambient, nothing inheritable."""
    box = Box.run(api, "sleep", "60")
    status = status_of(box.pid)
    assert [status[f"Cap{kind}"] for kind in ("Prm", "Eff", "Bnd")] == ["00000000a80425fb"] * 3
    assert [status[f"Cap{kind}"] for kind in ("Inh", "Amb")] == ["0000000000000000"] * 2
    assert status["Seccomp"] == "2"
    box.remove()


def test_without_capabilities(api: Api) -> None:
    """--cap-drop ALL leaves none, not even for root."""
    box = Box.run(api, "sleep", "60", host={"CapDrop": ["ALL"]})
    status = status_of(box.pid)
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0000000000000000"}
    box.remove()
    code, _ = attempt(api, "touch /x && chown 5 /x", {"CapDrop": ["ALL"]})
    assert code != 0


def test_a_user_has_no_capability_in_effect(api: Api) -> None:
    """--user 1000:1000: ids and groups are those, and only the bounding set is left."""
    box = Box.run(api, "sleep", "60", User="1000:1000")
    status = status_of(box.pid)
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4
    assert status["Groups"] in ("", "1000")
    assert status["CapEff"] == status["CapPrm"] == "0000000000000000"
    box.remove()


def test_no_new_privileges(api: Api) -> None:
    """--security-opt no-new-privileges: the kernel's bit is set, and a set-user-ID program gives nothing."""
    host = {"SecurityOpt": ["no-new-privileges"]}
    box = Box.run(api, "sleep", "60", host=host)
    assert status_of(box.pid)["NoNewPrivs"] == "1"
    box.remove()


def test_a_read_only_root(api: Api) -> None:
    """--read-only: no file can be made, in any directory of the image; /dev/shm stays."""
    script = "for d in / /bin /etc /tmp; do touch $d/x 2>/dev/null && echo $d; done; touch /dev/shm/x && echo shm"
    _, said = attempt(api, script, {"ReadonlyRootfs": True})
    assert said == "shm\n"


def test_ulimits(api: Api) -> None:
    """--ulimit nofile=64:128 is what the process has and cannot raise."""
    host = {"Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}]}
    code, said = attempt(api, "ulimit -Sn; ulimit -Hn; ulimit -Hn 256", host)
    assert said.split()[:2] == ["64", "128"]
    assert code != 0


def test_privileged_may_mount(api: Api) -> None:
    """--privileged: a tmpfs can be mounted, the switches can be written, the devices of the host are there."""
    script = "mount -t tmpfs x /tmp && test -w /proc/sys/kernel/domainname && ls /dev | wc -l"
    code, said = attempt(api, script, {"Privileged": True})
    assert code == 0, said
    assert int(said) > 15


def test_what_a_privileged_container_mounts_stays_inside(api: Api) -> None:
    """Its mounts do not reach the host."""
    before = Path("/proc/self/mountinfo").read_text()
    box = Box.run(api, "sh", "-c", "mount -t tmpfs seen /tmp; echo up; sleep 60", host={"Privileged": True}).says("up")
    assert Path("/proc/self/mountinfo").read_text() == before
    box.remove()


def test_a_link_in_the_image_does_not_lead_out(api: Api, tmp_path: Path) -> None:
    """A volume below a symbolic link of the container's stays below its root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    box = Box.create(api, "true", host={"Binds": [f"{tmp_path}:/escape/v"]})
    upper = box.inspect()["GraphDriver"]["Data"]["UpperDir"]
    os.symlink(str(outside), f"{upper}/escape")
    box.try_start()
    box.wait()
    assert list(outside.iterdir()) == []
    box.remove()


def test_a_removed_container_does_not_take_the_volume_along(api: Api, tmp_path: Path) -> None:
    """rm -f of a running container leaves the bind-mounted directory with all that is in it."""
    (tmp_path / "precious").write_text("kept")
    box = Box.run(api, "sleep", "60", host={"Binds": [f"{tmp_path}:/v"]})
    box.remove()
    assert (tmp_path / "precious").read_text() == "kept"


def test_proc_self_exe_of_the_init_cannot_be_written(api: Api, tmp_path: Path) -> None:
    """CVE-2019-5736: `#!/proc/self/exe` as the command executes our interpreter; it is on a read-only mount."""
    (tmp_path / "trap").write_text("#!/proc/self/exe\n")
    (tmp_path / "trap").chmod(0o755)
    box = Box.create(api, "/v/trap", host={"Binds": [f"{tmp_path}:/v"]})
    box.try_start()
    box.wait()
    box.remove()
    code, said = attempt(api, "echo x >/proc/1/exe")
    assert code != 0
    assert "busy" in said or "denied" in said or "Read-only" in said


def test_limits_are_in_force_and_visible(api: Api) -> None:
    """--cpus, --memory and --pids-limit stand in the container's own group."""
    if not os.path.isdir("/sys/fs/cgroup/memory"):
        files = "cpu.max memory.max pids.max"
        expected = ["50000", "100000", str(64 << 20), "33"]
    else:
        files = "cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes pids/pids.max"
        expected = ["50000", str(64 << 20), "33"]
    host = {"NanoCpus": 500_000_000, "Memory": 64 << 20, "PidsLimit": 33}
    _, said = attempt(api, f"cd /sys/fs/cgroup && cat {files}", host)
    assert said.split() == expected


def test_half_a_cpu_is_half_a_cpu(api: Api) -> None:
    """--cpus 0.5: a busy loop gets no more than about half of the time."""
    script = "timeout 1 sh -c 'while :; do :; done'; cat /sys/fs/cgroup/cpuacct/cpuacct.usage /sys/fs/cgroup/cpu.stat"
    _, said = attempt(api, script + " 2>/dev/null", {"NanoCpus": 500_000_000})
    words = said.replace("usage_usec ", "").split()
    used = int(words[0]) / (1e9 if os.path.isdir("/sys/fs/cgroup/memory") else 1e6)
    assert used < 0.75
