"""`onggi-oci`: its words, its documents, its state files, and what it refuses; no container is started."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from onggi.errors import Conflict, Invalid, NotFound, OnggiError, Unsupported
from onggi.runc import bundle, documents, main, state
from onggi.runc.words import Options, read_words
from onggi.runtime.plan import build
from onggi.runtime.request import Request

SOURCE = Path(__file__).parents[2] / "src/onggi/runc/main.py"


def test_the_command_loads_nothing_that_it_may_not_need() -> None:
    """At the top: the system, and our errors. Everything else is imported by the command that needs it."""
    tops = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in tops if isinstance(node, ast.Import) for alias in node.names}
    assert names | {node.module for node in tops if isinstance(node, ast.ImportFrom)} == {
        "__future__",
        "os",
        "sys",
        "onggi.errors",
        "onggi.runc.words",
    }


FLAGS = {"bundle": "DIR", "keep": ""}


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        (["--bundle", "b", "id"], {"bundle": "b"}, ["id"]),
        (["--bundle=b", "id"], {"bundle": "b"}, ["id"]),
        (["-b", "b", "id"], {"bundle": "b"}, ["id"]),
        (["-bundle", "b", "id"], {"bundle": "b"}, ["id"]),
        (["id", "--keep"], {"keep": ""}, ["id"]),
        (["--keep", "--", "--keep"], {"keep": ""}, ["--keep"]),
        (["--bundle=a=b"], {"bundle": "a=b"}, []),
    ],
)
def test_words_are_read_as_runc_reads_them(words: list[str], options: dict[str, str], rest: list[str]) -> None:
    """One dash or two, a value behind a sign or as the next word."""
    found, left = read_words(words, FLAGS, {"b": "bundle"}, "run", anywhere=True)
    assert ({name: found.get(name) for name in FLAGS if found.has(name)}, left) == (options, rest)


def test_global_options_end_at_the_command() -> None:
    """What follows the command is the command's."""
    found, left = read_words(["--keep", "run", "--bundle", "b"], FLAGS, {}, "onggi-oci", anywhere=False)
    assert found.has("keep")
    assert left == ["run", "--bundle", "b"]


@pytest.mark.parametrize("words", [["--systemd-cgroup"], ["--no-pivot", "x"], ["-d"]])
def test_an_option_that_is_not_known_is_named(words: list[str]) -> None:
    """Nothing is passed over in silence."""
    with pytest.raises(Unsupported, match=words[0].lstrip("-")):
        read_words(words, FLAGS, {}, "run", anywhere=True)


def test_an_option_without_its_value_is_named() -> None:
    """`--bundle` at the end."""
    with pytest.raises(Invalid, match="flag needs an argument: --bundle"):
        read_words(["--bundle"], FLAGS, {}, "run", anywhere=True)


def written(tmp_path: Path, changes: dict[str, Any] | None = None) -> str:
    """A bundle with the plain config and these changes."""
    (tmp_path / "config.json").write_text(json.dumps(plans.changed(plans.config(), changes or {})))
    return str(tmp_path)


def request_of(place: str, document: dict[str, Any]) -> Request:
    """The request of this bundle, without flags."""
    return bundle.request("me", place, document, place, Options({}), "")


def test_the_example_is_a_config_that_has_a_plan(tmp_path: Path) -> None:
    """`spec` writes what `run` takes."""
    (tmp_path / "config.json").write_text(json.dumps(documents.example(private_cgroup=True)))
    found = request_of(str(tmp_path), bundle.read(str(tmp_path)))
    assert build(found, plans.V2).at_start[-1].describe() == "exec sh"
    assert found.spec.root == f"{tmp_path}/rootfs"


def test_the_config_may_have_another_name(tmp_path: Path) -> None:
    """`--config`, as crun has it: below the bundle, or wherever an absolute path leads."""
    (tmp_path / "other.json").write_text(json.dumps(documents.example(private_cgroup=True)))
    assert bundle.read(str(tmp_path), "other.json") == bundle.read("/", str(tmp_path / "other.json"))


@pytest.mark.parametrize("words", [["--cgroup-manager=disabled"], ["--cgroup-manager", "other"], ["--systemd-cgroup"]])
def test_a_manager_of_cgroups_that_cannot_be_had_is_refused(words: list[str]) -> None:
    """crun's `--cgroup-manager`: nothing is passed over in silence."""
    options, _ = read_words(words, main._GLOBAL, {}, "onggi-oci", anywhere=False)
    with pytest.raises(OnggiError, match="cgroup-manager"):
        main._check_cgroup_manager(options)


def test_a_bundle_without_a_group_gets_one_of_its_own(tmp_path: Path) -> None:
    """Limits and `kill --all` need one."""
    document = bundle.read(written(tmp_path, {"linux.cgroupsPath": None}))
    assert request_of(str(tmp_path), document).spec.cgroups_path == "/onggi-oci/me"


def test_relative_sources_lie_in_the_bundle(tmp_path: Path) -> None:
    """config.md: a bind mount's source is relative to the bundle, whatever the working directory is."""
    entry = plans.mount("/data", "bind", ["rbind"], "data")
    document = bundle.read(written(tmp_path, {"mounts": [*plans.base_mounts(), entry]}))
    assert request_of(str(tmp_path), document).spec.mounts[-1].source == f"{tmp_path}/data"


def test_devices_are_denied_but_for_the_promised_ones(tmp_path: Path) -> None:
    """The bundle's own rules first, then what no container can do without."""
    rule = {"allow": False, "access": "rwm"}
    document = bundle.read(written(tmp_path, {"linux.resources": {"devices": [rule]}}))
    rules = request_of(str(tmp_path), document).spec.resources["devices"]
    assert rules[0] == rule
    assert {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"} in rules


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"process.apparmorProfile": "x"}, "process.apparmorProfile"),
        ({"process.selinuxLabel": "x"}, "process.selinuxLabel"),
        ({"linux.intelRdt": {"closID": "x"}}, "linux.intelRdt"),
        ({"linux.cgroupsPath": "system.slice:oci:x"}, "linux.cgroupsPath"),
        ({"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}}, "listenerPath"),
        (
            {
                "linux.namespaces": plans.namespaces("pid", "uts", "ipc", "network"),
                "linux.maskedPaths": None,
                "linux.readonlyPaths": None,
            },
            "linux.namespaces",
        ),
    ],
)
def test_what_a_bundle_may_not_ask_for_yet_is_named(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    """A container that is less than its config says does not run."""
    place = written(tmp_path, changes)
    with pytest.raises(Unsupported, match=name):
        request_of(place, bundle.read(place))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ociVersion": "2.0.0"}', "{}"])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """With the file's name."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(Invalid, match=r"config\.json"):
        bundle.read(str(tmp_path))


def test_a_bundle_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """With a word about what a bundle is."""
    with pytest.raises(NotFound, match=r"config\.json"):
        bundle.read(str(tmp_path))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a\0b", "../x", "é"])
def test_an_id_is_no_path(tmp_path: Path, name: str) -> None:
    """An id becomes the name of a directory, and only that."""
    with pytest.raises(Invalid):
        state.reserve(str(tmp_path / "root"), name)


def kept(pid: int, name: str = "me") -> dict[str, Any]:
    """The state of a container whose first process is `pid`."""
    config = {"annotations": {"a": "b"}}
    return state.document(name, pid, "/b", config, "/b/rootfs", "/none", "2024-01-01T00:00:00Z")


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Reserve, write, read, list, release."""
    directory = state.reserve(str(tmp_path), "me")
    state.write(directory, kept(os.getpid()))
    assert state.read(str(tmp_path), "me") == kept(os.getpid())
    assert [entry["id"] for entry in state.every(str(tmp_path))] == ["me"]
    state.release(directory)
    assert state.every(str(tmp_path)) == []


def test_an_id_in_use_is_a_conflict(tmp_path: Path) -> None:
    """In runc's words, which container managers look for."""
    state.reserve(str(tmp_path), "me")
    with pytest.raises(Conflict, match="container with given ID already exists"):
        state.reserve(str(tmp_path), "me")


def test_a_pid_that_is_somebody_elses_by_now_is_not_ours() -> None:
    """The kernel gives numbers out again: the time of the start tells them apart."""
    mine = kept(os.getpid())
    assert state.status(mine, plans.V2) == "running"
    assert state.status({**mine, "started": mine["started"] - 1}, plans.V2) == "stopped"
    assert state.shown({**mine, "started": 1}, plans.V2)["pid"] == 0


def test_the_public_state_has_the_specifications_members() -> None:
    """And none of what only we need."""
    shown = state.shown(kept(os.getpid()), plans.V2)
    assert {"ociVersion", "id", "status", "pid", "bundle", "annotations"} <= set(shown)
    assert not {"cgroup", "started", "config"} & set(shown)


def test_a_container_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """In runc's words."""
    with pytest.raises(NotFound, match="container does not exist"):
        state.read(str(tmp_path), "me")


def test_features_name_only_what_works() -> None:
    """No listener, no systemd; every word is the specification's."""
    found = documents.features()
    assert "createRuntime" in found["hooks"]
    assert "SCMP_ACT_NOTIFY" not in found["linux"]["seccomp"]["actions"]
    assert "user" in found["linux"]["namespaces"]
    assert {"ro", "rro", "rbind", "idmap"} <= set(found["mountOptions"])


@pytest.mark.parametrize("command", ["pause", "nonsense"])
def test_commands_that_are_not_there_yet_are_named(command: str) -> None:
    """By the word that was typed."""
    with pytest.raises(OnggiError, match=f"`{command}`"):
        main._dispatch(Options({}), [command, "id"])


@pytest.mark.parametrize("words", [["run"], ["run", "a", "b"], ["state"], ["kill"], ["features", "x"]])
def test_a_wrong_number_of_words_is_refused(words: list[str]) -> None:
    """With what the command takes."""
    with pytest.raises(Invalid, match="it takes"):
        main._dispatch(Options({}), words)
