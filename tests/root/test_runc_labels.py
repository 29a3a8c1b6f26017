"""Profiles and labels of security modules: in force where the kernel has the module, refused where it has not.

AppArmor's part is done by Debian's kernel in the virtual machine; this machine's kernel may have neither module.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from forked import in_child
from harness import plans
from harness.oci import Oci
from harness.probes import needs
from onggi.kernel import lsm, mount, process, procfs
from onggi.kernel.flags import Clone, Ms

PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin") or ""
PROFILE = """
profile onggi-test flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, umount, mount, signal, ptrace, unix,
  deny /tmp/** w,
}
"""
OUR_LABEL = "system_u:system_r:container_t:s0"


@pytest.fixture
def profile() -> Iterator[str]:
    """A loaded profile that forbids to write below /tmp."""
    needs(lsm.has_apparmor() and bool(PARSER), "AppArmor with its parser")
    if not os.path.ismount("/sys/kernel/security"):
        subprocess.run(["mount", "-t", "securityfs", "securityfs", "/sys/kernel/security"], check=True)
    subprocess.run([PARSER, "--replace", "--skip-cache"], input=PROFILE, text=True, check=True)
    yield "onggi-test"
    subprocess.run([PARSER, "--remove"], input=PROFILE, text=True, check=True)


@pytest.mark.parametrize("no_new_privs", [True, False])
@pytest.mark.parametrize("own_ids", [True, False])
def test_the_profile_is_in_force(oci: Oci, profile: str, no_new_privs: bool, own_ids: bool) -> None:
    """For the program and what it executes, in a user namespace too; what the profile forbids is forbidden."""
    changes = {"process.apparmorProfile": profile, "process.noNewPrivileges": no_new_privs}
    if own_ids:
        oci.give_to(3_000_000)
        maps = [{"containerID": 0, "hostID": 3_000_000, "size": 65536}]
        kinds = plans.namespaces("user", "mount", "pid", "ipc", "uts", "network", "cgroup")
        changes |= {"linux.namespaces": kinds, "linux.uidMappings": maps, "linux.gidMappings": maps}
    done = oci.run(
        "/bin/sh", "-c", "cat /proc/1/attr/current; echo x > /tmp/x; echo y > /y && echo wrote", changes=changes
    )
    assert done.stdout.split() == ["onggi-test", "(enforce)", "wrote"]
    assert "/tmp/x: Permission denied" in done.stderr
    assert oci.left() == []


def test_one_more_process_has_the_containers_profile_or_its_own(oci: Oci, profile: str) -> None:
    """`exec`, and its --apparmor."""
    oci.configure("/bin/sleep", "1000", changes={"process.apparmorProfile": profile})
    oci.detached()
    assert oci("exec", "c", "cat", "/proc/self/attr/current").stdout == "onggi-test (enforce)\n"
    own = oci("exec", "--apparmor", "unconfined", "c", "cat", "/proc/self/attr/current").stdout
    assert own.split()[0] in ("unconfined", "onggi-test//&unconfined")
    assert oci("delete", "--force", "c").returncode == 0


def test_a_hook_in_the_runtimes_namespaces_has_no_profile(oci: Oci, profile: str) -> None:
    """It is the program that is confined, not what prepares it."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat /proc/self/attr/current > {oci.place}/said"]}
    changes = {"process.apparmorProfile": profile, "hooks": {"createContainer": [hook], "createRuntime": [hook]}}
    assert oci.run("/bin/true", changes=changes).returncode == 0
    assert (oci.place / "said").read_text() == "unconfined\n"


def test_a_profile_that_is_not_loaded_fails_the_start(oci: Oci) -> None:
    """By name; nothing is left."""
    needs(lsm.has_apparmor(), "AppArmor")
    done = oci.run("/bin/true", changes={"process.apparmorProfile": "onggi-nowhere"})
    assert done.returncode == 1
    assert "unable to apply apparmor profile: no such profile is loaded" in done.stderr
    assert "onggi-nowhere" in done.stderr
    assert oci.left() == []


def test_a_profile_is_refused_where_there_is_no_apparmor(oci: Oci) -> None:
    """Who asks to be confined must not run unconfined; to ask for nothing is no wish."""
    needs(not lsm.has_apparmor(), "kernel without AppArmor")
    done = oci.run("/bin/true", changes={"process.apparmorProfile": "docker-default"})
    assert done.returncode == 1
    assert "process.apparmorProfile: docker-default" in done.stderr
    assert oci.left() == []
    assert oci.run("/bin/true", changes={"process.apparmorProfile": "unconfined"}).stderr == ""


def test_a_label_is_refused_where_there_is_no_selinux(oci: Oci) -> None:
    """In runc's words; also for a process that enters."""
    needs(not lsm.has_selinux(), "kernel without SELinux")
    done = oci.run("/bin/true", changes={"process.selinuxLabel": OUR_LABEL})
    assert done.returncode == 1
    assert "selinux is disabled or not supported" in done.stderr
    assert oci.left() == []
    oci.configure("/bin/sleep", "1000")
    oci.detached()
    entered = oci("exec", "--process-label", OUR_LABEL, "c", "true")
    assert "selinux is disabled or not supported" in entered.stderr
    assert oci("delete", "--force", "c").returncode == 0


def test_a_label_of_mounts_is_told_of_where_there_is_no_selinux(oci: Oci) -> None:
    """Nothing ever looks at it there: the container runs, and its caller knows."""
    needs(not lsm.has_selinux(), "kernel without SELinux")
    done = oci.run("/bin/true", changes={"linux.mountLabel": "system_u:object_r:container_file_t:s0"})
    assert done.returncode == 0
    assert "linux.mountLabel system_u:object_r:container_file_t:s0 is left out" in done.stderr


@pytest.mark.parametrize("trap", ["/dev/null", "/proc/sys/kernel/ns_last_pid", "/proc/{pid}/oom_score_adj"])
def test_what_is_mounted_over_a_file_of_proc_does_not_get_its_write(trap: str, tmp_path: Path) -> None:
    """CVE-2025-52881: a harmless or a harmful file in the place of /proc/PID/attr/…; both are procfs, or look like it."""
    needs(os.geteuid() == 0, "root")

    def act() -> tuple[str, str]:
        process.unshare(Clone.NEWNS)
        mount.set_propagation("/", Ms.SLAVE | Ms.REC)
        place = f"/proc/{os.getpid()}/comm"
        subprocess.run(["mount", "--bind", trap.format(pid=os.getpid()), place], check=True)
        proc = mount.open_path("/proc")
        procfs.write(proc, place.removeprefix("/proc/"), b"renamed")
        os.close(proc)
        return Path("/proc/self/status").read_text().split()[1], Path(trap.format(pid=os.getpid())).read_text()

    name, taken = in_child(act)
    assert name == "renamed"
    assert "renamed" not in taken
