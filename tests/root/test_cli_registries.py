"""`onggi pull`, `run` that pulls, `login`, `logout`, `search`, `prune`; and the real docker command doing the same."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import image
from harness.cli import Onggi
from harness.engine import EngineProcess
from harness.memory_registry import Holding, MemoryRegistry
from harness.registry import PASSWORD, USER, Registry
from harness.scripted import answer

pytestmark = pytest.mark.root
BASE = image.busybox_layer()
HELPER = """#!/bin/sh
input=$(cat)
echo "$1 $input" >> "$0.log"
case $1 in
    get) cat "$0.kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
    store) echo "$input" > "$0.kept" ;;
    erase) rm "$0.kept" ;;
esac
"""


class World:
    """An engine, registries beside it, and a home of one's own."""

    def __init__(self, engine: EngineProcess, home: Path) -> None:
        self.engine = engine
        self.home = home
        self.registry = MemoryRegistry(engine.network.listen())
        self.locked = Registry(network=engine.network, port=5010, password=True).start()
        self.environment = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
        self.onggi = Onggi(engine.host, self.environment)

    @property
    def config(self) -> Any:
        """The docker config."""
        return json.loads((self.home / ".docker/config.json").read_text())

    def docker(self, *words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """The real command."""
        environment = self.environment | {"DOCKER_HOST": self.engine.host}
        return subprocess.run(
            ["docker", *words], env=environment, input=input, capture_output=True, text=True, timeout=60, check=False
        )

    def close(self) -> None:
        """End all."""
        self.registry.close()
        self.locked.close()
        self.engine.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for this file."""
    made = World(EngineProcess().start(), tmp_path_factory.mktemp("home"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def world(shared: World) -> World:
    """Without images, logins and requests."""
    shared.engine.remove_containers()
    shared.engine.api.ok("POST", '/images/prune?filters={"dangling":["false"]}')
    shared.registry.server.asked.clear()
    shared.registry.fault = lambda asked, good: good
    (shared.home / ".docker/config.json").unlink(missing_ok=True)
    return shared


def test_pull_prints_the_name(world: World) -> None:
    """On stdout; what happens on the way on stderr, or nothing of it."""
    world.registry.image("1", [BASE])
    name = f"{world.registry.address}/team/app:1"
    done = world.onggi("pull", name)
    assert done.stdout == f"{name}\n"
    assert "Pull complete" in done.stderr
    assert f"Status: Downloaded newer image for {name}" in done.stderr
    again = world.onggi("pull", "-q", name)
    assert (again.stdout, again.stderr) == (f"{name}\n", "")


def test_pull_fails_with_the_registrys_words(world: World) -> None:
    """And status 1."""
    done = world.onggi("pull", f"{world.registry.address}/team/app:none", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "manifest for" in done.stderr
    assert "not found: manifest unknown" in done.stderr


def test_pull_on_a_terminal_draws_bars(world: World) -> None:
    """And takes them away again: what is left are words."""
    holding = world.registry.fault = Holding()
    world.registry.image("1", [BASE])
    terminal = world.onggi.on_terminal("pull", f"{world.registry.address}/team/app:1")
    try:
        terminal.wait_for("Downloading")
        holding.let_go.set()
        assert terminal.wait(30) == 0
        assert "━" in terminal.shown or "╌" in terminal.shown
        assert terminal.shown.rstrip().endswith(f"{world.registry.address}/team/app:1")
        assert "\x1b[J" in terminal.shown
    finally:
        terminal.close()


def test_run_pulls_what_is_not_here(world: World) -> None:
    """Unless it may not; always, if it must."""
    world.registry.image("1", [BASE])
    name = f"{world.registry.address}/team/app:1"
    words = ("run", "--rm", "--network", "none")
    refused = world.onggi(*words, "--pull", "never", name, "true", check=False)
    assert (refused.returncode, "No such image" in refused.stderr) == (125, True)
    done = world.onggi(*words, name, "echo", "hi")
    assert (done.stdout, f"Unable to find image '{name}' locally" in done.stderr) == ("hi\n", True)
    asked = len(world.registry.server.asked)
    world.onggi(*words, name, "true")
    assert len(world.registry.server.asked) == asked
    world.onggi(*words, "--pull", "always", "--quiet", name, "true")
    assert len(world.registry.server.asked) > asked
    missing = world.onggi(*words, f"{name}2", "true", check=False)
    assert (missing.returncode, "manifest unknown" in missing.stderr) == (125, True)


def push_to_locked(world: World) -> str:
    """An image in the registry that wants a password."""
    (world.home / "x.tar").write_bytes(image.busybox_archive())
    target = f"docker://{world.locked.address}/kim/app:1"
    words = ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}"]
    world.engine.network.run(*words, f"docker-archive:{world.home}/x.tar", target)
    return f"{world.locked.address}/kim/app:1"


@pytest.mark.parametrize("command", ["onggi", "docker"])
def test_login_pull_logout(world: World, command: str) -> None:
    """Either command keeps the password where the other one finds it."""
    name = push_to_locked(world)
    run: Callable[..., subprocess.CompletedProcess[str]] = world.docker
    if command == "onggi":
        run = lambda *words, input="": world.onggi(*words, input=input, check=False)  # noqa: E731
    refused = run("pull", name)
    assert (refused.returncode, "no basic auth credentials" in refused.stderr) == (1, True)
    wrong = run("login", "-u", USER, "--password-stdin", world.locked.address, input="wrong")
    assert wrong.returncode == 1
    assert "auth" in wrong.stderr.lower()
    done = run("login", "-u", USER, "--password-stdin", world.locked.address, input=PASSWORD + "\n")
    assert (done.returncode, "Login Succeeded" in done.stdout) == (0, True), done.stderr
    kept = world.config["auths"][world.locked.address]["auth"]
    assert base64.b64decode(kept).decode() == f"{USER}:{PASSWORD}"
    assert (world.home / ".docker/config.json").stat().st_mode & 0o777 == 0o600
    assert run("pull", name).returncode == 0
    assert world.onggi("pull", "-q", name).returncode == 0
    assert world.docker("pull", "-q", name).returncode == 0
    assert run("logout", world.locked.address).returncode == 0
    assert world.config.get("auths", {}) == {}


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_keeps_the_password(world: World, key: str) -> None:
    """It is asked for each of them, and the file has no password in it."""
    name = push_to_locked(world)
    helper = world.home / "bin/docker-credential-jar"
    helper.parent.mkdir(exist_ok=True)
    helper.write_text(HELPER)
    helper.chmod(0o755)
    value = "jar" if key == "credsStore" else {world.locked.address: "jar"}
    (world.home / ".docker").mkdir(exist_ok=True)
    (world.home / ".docker/config.json").write_text(json.dumps({key: value, "other": 1}))
    refused = world.onggi("pull", name, check=False)
    assert "no basic auth credentials" in refused.stderr
    done = world.onggi("login", "-u", USER, "--password-stdin", world.locked.address, input=PASSWORD)
    assert (done.stdout, done.stderr) == ("Login Succeeded\n", "")
    assert world.config == {key: value, "other": 1}
    assert world.onggi("pull", "-q", name).stdout == f"{name}\n"
    world.onggi("logout", world.locked.address)
    assert not Path(f"{helper}.kept").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "config.json"),
        ("[]", "not an object"),
        ('{"auths": {"localhost:5010": {"auth": "!"}}}', "no base64"),
        ('{"credsStore": "nope"}', "docker-credential-nope"),
        ('{"credsStore": "../x"}', "not a path"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(world: World, text: str, words: str) -> None:
    """Rather than pulled without."""
    (world.home / ".docker").mkdir(exist_ok=True)
    (world.home / ".docker/config.json").write_text(text)
    done = world.onggi("pull", "localhost:5010/kim/app:1", check=False)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_search_asks_the_registry_that_is_named(world: World) -> None:
    """The most stars first; filters narrow it."""
    results = [
        {"name": "little", "description": "a" * 100, "star_count": 1, "is_official": False},
        {"name": "big", "description": "b", "star_count": 9, "is_official": True},
    ]
    world.registry.fault = lambda asked, good: (
        answer(200, {"results": results}) if asked.target.startswith("/v1/search?q=x&n=25") else good
    )
    lines = world.onggi("search", f"{world.registry.address}/x").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [f"{world.registry.address}/{name}" for name in ("big", "little")]
    found = world.onggi("search", "-f", "stars=5", "--format", "{{.Name}}", f"{world.registry.address}/x")
    assert found.stdout == f"{world.registry.address}/big\n"
    assert "big" in world.docker("search", f"{world.registry.address}/x").stdout
    refused = world.onggi("search", "--limit", "200", "x", check=False)
    assert "outside the range of [1, 100]" in refused.stderr


def test_the_docker_command_draws_what_it_is_told(world: World) -> None:
    """Its own words for a pull, and what a name stands for at the registry."""
    manifest = world.registry.image("1", [BASE])
    name = f"{world.registry.address}/team/app:1"
    done = world.docker("pull", name)
    assert done.stdout.splitlines()[-3:] == [
        f"Digest: {manifest['digest']}",
        f"Status: Downloaded newer image for {name}",
        name,
    ]
    seen = world.engine.api.ok("GET", f"/distribution/{name}/json")
    assert seen["Descriptor"]["digest"] == manifest["digest"]
    assert seen["Platforms"] == [{"architecture": "amd64", "os": "linux"}]


def test_prune_removes_what_nothing_uses(world: World) -> None:
    """What has a name only with -a, what a container uses never."""
    for tag in ("1", "2", "3"):
        world.registry.image(tag, [BASE], author=tag)
        world.onggi("pull", "-q", f"{world.registry.address}/team/app:{tag}")
    world.registry.image("1", [BASE], author="new")
    world.onggi("pull", "-q", f"{world.registry.address}/team/app:1")
    world.onggi("create", "--network", "none", f"{world.registry.address}/team/app:3", "true")
    assert world.onggi("prune", input="n\n", check=False).returncode == 1
    first = world.onggi("prune", input="y\n").stdout
    assert first.count("Deleted: ") == 1
    done = world.docker("image", "prune", "-a", "-f").stdout
    assert "Total reclaimed space: " in done
    left = world.onggi("images", "--format", "{{.Tag}}").stdout.split()
    assert left == ["3"]
