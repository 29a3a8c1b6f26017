"""`onggi-oci`: its words, its documents, its state files, and what it refuses; no container is started."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from harness import plans
from onggi.errors import Conflict, Invalid, NotFound, OnggiError, Unsupported
from onggi.kernel.cgroup.layout import NONE
from onggi.runc import bundle, documents, groups, main, state, usage
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
    group, _ = groups.path_of(document, "me")
    return bundle.request("me", place, document, place, Options({}), "", group)


def test_the_example_is_a_config_that_has_a_plan(tmp_path: Path) -> None:
    """`spec` writes what `run` takes."""
    (tmp_path / "config.json").write_text(json.dumps(documents.example()))
    found = request_of(str(tmp_path), bundle.read(str(tmp_path)))
    assert build(found, plans.V2).at_start[-1].describe() == "exec sh"
    assert found.spec.root == f"{tmp_path}/rootfs"


def test_the_config_may_have_another_name(tmp_path: Path) -> None:
    """`--config`, as crun has it: below the bundle, or wherever an absolute path leads."""
    (tmp_path / "other.json").write_text(json.dumps(documents.example()))
    assert bundle.read(str(tmp_path), "other.json") == bundle.read("/", str(tmp_path / "other.json"))


@pytest.mark.parametrize("words", [["--cgroup-manager", "other"], ["--systemd-cgroup"]])
def test_a_manager_of_cgroups_that_cannot_be_had_is_refused(words: list[str]) -> None:
    """crun's `--cgroup-manager`: nothing is passed over in silence."""
    options, _ = read_words(words, main._GLOBAL, {}, "onggi-oci", anywhere=False)
    with pytest.raises(OnggiError, match="cgroup-manager"):
        main._check_cgroup_manager(options)


@pytest.mark.parametrize(
    ("given", "path", "below_own"),
    [
        (None, "/me", True),
        ("", "/me", True),
        ("a/b", "/a/b", True),
        ("../../a", "/a", True),
        ("/a//b/", "/a/b", False),
        ("/a/../../b", "/b", False),
    ],
)
def test_where_the_group_is(given: str | None, path: str, below_own: bool) -> None:
    """An absolute path is one in every hierarchy; others, and none, start at the caller's own group, and cannot leave it."""
    assert groups.path_of({"linux": {"cgroupsPath": given}}, "me") == (path, below_own)


@pytest.mark.parametrize("given", ["/", "//", "..", "."])
def test_a_group_that_is_not_the_containers_own_is_refused(given: str) -> None:
    """Neither the top of a hierarchy nor the caller's own group."""
    with pytest.raises(Invalid, match="cgroupsPath"):
        groups.path_of({"linux": {"cgroupsPath": given}}, "me")


def test_without_cgroups_there_are_no_limits() -> None:
    """`--cgroup-manager=disabled` with a limit is a contradiction, and said to be one."""
    options = Options({"cgroup-manager": ["disabled"]})
    assert groups.of_config({}, "me", options) == (NONE, "")
    with pytest.raises(Unsupported, match=r"linux\.resources\.memory"):
        groups.of_config({"linux": {"resources": {"memory": {"limit": 1}}}}, "me", options)


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
        ({"linux.intelRdt": {"closID": "x"}}, "linux.intelRdt"),
        ({"linux.cgroupsPath": "system.slice:oci:x"}, "linux.cgroupsPath"),
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


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a b", "a\0b", "../x", "é", "a" * 1025])
def test_an_id_is_no_path(tmp_path: Path, name: str) -> None:
    """An id becomes the name of a directory, and only that."""
    with pytest.raises(Invalid):
        state.reserve(str(tmp_path / "root"), name)


def kept(pid: int, directory: str = "/nowhere/me") -> dict[str, Any]:
    """The state of a container whose first process is `pid`."""
    config = {"annotations": {"a": "b"}}
    found = state.document(directory, "/b", config, "/b/rootfs", "/none", "2024-01-01T00:00:00Z", plans.V2)
    return {**found, "pid": pid, "started": state._started(pid)}


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Reserve, write, read, list, release."""
    directory = state.reserve(str(tmp_path), "me")
    state.write(kept(os.getpid(), directory))
    assert state.read(str(tmp_path), "me") == kept(os.getpid(), directory)
    assert [entry["id"] for entry in state.every(str(tmp_path))] == ["me"]
    state.release(directory)
    assert state.every(str(tmp_path)) == []


def test_a_container_is_being_created_as_long_as_its_creator_lives(tmp_path: Path) -> None:
    """Before it has a pid, and until it is made; who was killed on the way leaves a container that is stopped."""
    directory = state.reserve(str(tmp_path), "me")
    document = kept(0, directory)
    assert state.status(document, plans.V2) == "creating"
    (Path(directory) / "creator").write_text(f"{os.getpid()} 1")
    assert state.status(document, plans.V2) == "stopped"
    state.born(document, os.getpid())
    state.made(directory)
    assert state.status(state.read(str(tmp_path), "me"), plans.V2) == "running"


def test_a_container_is_told_from_its_successor(tmp_path: Path) -> None:
    """Deleted and made anew under the same id: who waited for the first one must not clear up the second."""
    first = kept(os.getpid(), state.reserve(str(tmp_path), "me"))
    state.write(first)
    assert state.is_same(first)
    state.write({**first, "started": 1})
    assert not state.is_same(first)


def test_what_is_released_is_gone_with_all_that_is_in_it(tmp_path: Path) -> None:
    """A link in it is removed, not followed; that nothing is there is fine."""
    directory = Path(state.reserve(str(tmp_path / "root"), "me"))
    (tmp_path / "other").mkdir()
    (directory / "notify").mkdir()
    (directory / "notify/link").symlink_to(tmp_path / "other")
    state.release(str(directory))
    state.release(str(directory))
    assert not directory.exists()
    assert (tmp_path / "other").exists()


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
    assert not {"cgroup", "cgroup_paths", "started", "config"} & set(shown)


def test_a_container_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """In runc's words."""
    with pytest.raises(NotFound, match="container does not exist"):
        state.read(str(tmp_path), "me")


def test_features_name_only_what_works() -> None:
    """Every word is the specification's; what the kernel does not know is known, and not supported."""
    found = documents.features()
    seccomp = found["linux"]["seccomp"]
    assert "createRuntime" in found["hooks"]
    assert {"SCMP_ACT_NOTIFY", "SCMP_ACT_LOG"} <= set(seccomp["actions"])
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"} <= set(seccomp["archs"])
    assert set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])
    assert "SECCOMP_FILTER_FLAG_NEW_LISTENER" not in seccomp["knownFlags"]  # not the specification's
    assert "MPOL_F_STATIC_NODES" in found["linux"]["memoryPolicy"]["flags"]
    assert found["annotations"]["io.github.seccomp.libseccomp.version"].count(".") == 2
    assert "user" in found["linux"]["namespaces"]
    assert {"ro", "rro", "rbind", "idmap"} <= set(found["mountOptions"])


STRICT = "run.oci.seccomp_fail_unknown_syscall"


def test_a_profile_with_a_call_that_nobody_knows(tmp_path: Path) -> None:
    """Left out; an error for whoever asks for that, in crun's words."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["nope"], "action": "SCMP_ACT_ERRNO"}]}
    place = written(tmp_path, {"linux.seccomp": profile})
    assert request_of(place, bundle.read(place)).seccomp
    place = written(tmp_path, {"linux.seccomp": profile, "annotations": {STRICT: "1"}})
    document = bundle.read(place)
    with pytest.raises(Invalid, match="unknown system call"):
        request_of(place, document)


def test_where_a_seccomp_agent_listens(tmp_path: Path) -> None:
    """Relative to the bundle; a name in the abstract namespace as it is."""
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    for path, found in (("agent", f"{tmp_path}/agent"), ("/agent", "/agent"), ("@agent", "@agent")):
        profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": path}
        place = written(tmp_path, {"linux.seccomp": profile})
        listener = request_of(place, bundle.read(place)).listener
        assert listener is not None
        assert listener.path == found


def test_a_command_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """In runc's words, with its exit status."""
    assert main._dispatch(Options({}), ["nonsense", "id"]) == 3
    assert capsys.readouterr().err == "No help topic for 'nonsense'\n"


@pytest.mark.parametrize("command", [None, *main.COMMANDS])
def test_every_command_and_every_flag_has_its_help(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """In runc's form: the name first, and a word on each flag."""
    assert main._dispatch(Options({}), [*([command] if command else []), *(["--help"] if command else ["help"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    flags = [line for line in lines if line.startswith("   --")]
    assert lines[:2] == ["NAME:", lines[1]]
    assert lines[1].startswith(f"   onggi-oci {command + ' ' if command else ''}- ")
    assert [line for line in flags if "  " not in line.strip()] == []


@pytest.mark.parametrize("name", ["runc", "crun", "onggi-oci"])
def test_the_version_has_the_lines_that_callers_read(name: str) -> None:
    """moby looks for *version* and `commit:`, containerd for *runc version* and `spec:`, who uses crun for its name."""
    first, commit, spec, *_ = usage.version(name).splitlines()
    assert re.fullmatch(rf"{name} version \d+\.\d+\.\d+", first)
    assert commit.startswith("commit: ")
    assert re.fullmatch(r"spec: \d+\.\d+\.\d+", spec)
    assert usage.version(name).count("version") == 1


def test_who_calls_us_crun_gets_its_usage_line() -> None:
    """Its callers look for it."""
    assert usage.of_command("crun", "start", main.COMMANDS["start"]).startswith(
        "Usage: crun [OPTION...] start CONTAINER\n"
    )


@pytest.mark.parametrize("words", [["run"], ["run", "a", "b"], ["state"], ["kill"], ["features", "x"]])
def test_a_wrong_number_of_words_is_refused(words: list[str]) -> None:
    """With what the command takes."""
    with pytest.raises(Invalid, match=r"requires .* argument"):
        main._dispatch(Options({}), words)
