"""`store/builtin` and `store/elf`: the images that need no network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from onggi.errors import NotFound, Unsupported
from onggi.oci.reference import Reference
from onggi.store import elf
from onggi.store.builtin import is_builtin, is_static, make
from onggi.store.store import Store

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    made = Store(tmp_path / "data")
    made.start()
    return made


def test_the_program_of_our_own_making_runs(tmp_path: Path) -> None:
    """It writes its text and exits with 0."""
    program = tmp_path / "hello"
    program.write_bytes(elf.greeting(b"Hello, kernel\n", os.uname().machine))
    program.chmod(0o755)
    done = subprocess.run([program], capture_output=True, check=True)
    assert done.stdout == b"Hello, kernel\n"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_is_static(machine: str) -> None:
    """And small: a header, a segment, a few instructions and the text."""
    program = elf.greeting(b"text", machine)
    assert is_static(program)
    assert len(program) < 200


def test_the_instructions_for_arm_are_those_of_the_manual() -> None:
    """mov x8,64; mov x0,1; adr x1,behind; mov x2,5; svc; mov x8,93; mov x0,0; svc."""
    program = elf.greeting(b"12345", "aarch64")
    words = [int.from_bytes(program[at : at + 4], "little") for at in range(120, len(program) - 5, 4)]
    assert [f"{word:08x}" for word in words] == [
        "d2800808", "d2800020", "100000c1", "d28000a2", "d4000001", "d2800ba8", "d2800000", "d4000001",
    ]  # fmt: skip


def test_other_machines_are_named() -> None:
    """Rather than given a program that they cannot run."""
    with pytest.raises(Unsupported, match="riscv64"):
        elf.greeting(b"", "riscv64")


def test_a_program_with_an_interpreter_is_not_static() -> None:
    """A dynamically linked busybox would find no library in the image."""
    assert not is_static(Path("/proc/self/exe").resolve().read_bytes())
    assert not is_static(b"#!/bin/sh\n")


@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("hello", "hello"),
        ("hello:latest", "hello"),
        ("docker.io/library/host", "host"),
        ("hello:2", ""),
        ("me/hello", ""),
        ("x", ""),
    ],
)
def test_which_names_are_ours(name: str, which: str) -> None:
    """Two, with the tag latest."""
    assert is_builtin(Reference.parse(name)) == which


def test_nothing_else_is_made(store: Store) -> None:
    """An unknown name is not found."""
    with pytest.raises(NotFound):
        make(store, "nginx")


def test_hello_tells_its_own_view(store: Store) -> None:
    """Run with its root as the root: it names the namespaces and the pid that it sees."""
    layer = store.layers.diff(make(store, "hello").layers[0])
    script = f"mount -t proc proc {layer}/proc && exec chroot {layer} /hello"
    done = subprocess.run(["unshare", "-mpuinf", "sh", "-c", script], capture_output=True, check=True, text=True)
    assert "It is no virtual machine" in done.stdout
    assert "pid namespace" in done.stdout
    assert done.stderr == ""
    assert f"user:[{os.stat('/proc/self/ns/user').st_ino}]" in done.stdout
    assert f"pid:[{os.stat('/proc/self/ns/pid').st_ino}]" not in done.stdout


def test_hello_has_a_shell_and_users(store: Store) -> None:
    """So that people can look around."""
    layer = store.layers.diff(make(store, "hello").layers[0])
    assert (layer / "etc/passwd").read_text().startswith("root:x:0:0:")
    assert os.readlink(layer / "bin/sh") == "busybox"
    assert (layer / "tmp").stat().st_mode & 0o7777 == 0o1777
