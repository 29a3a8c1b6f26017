"""What the command shows of the engine's work: plans, explanations, isolation."""

from __future__ import annotations

import json

import pytest

from harness.api import Api
from harness.cli import Onggi

pytestmark = pytest.mark.usefixtures("busybox_image")
IMAGE = "busybox:test"
KINDS = {"user", "pid", "mnt", "net", "uts", "ipc", "cgroup", "time"}


def test_a_dry_run_shows_the_plan_and_makes_nothing(onggi: Onggi, api: Api) -> None:
    """Steps, reasons and the limit that was asked for; no container afterwards."""
    before = api.ok("GET", "/containers/json?all=1")
    shown = onggi("run", "--dry-run", "-m", "64m", "--cap-drop", "ALL", IMAGE, "sleep", "7").stdout
    for expected in ("67108864", "pivot_root", "# linux.maskedPaths", "exec sleep 7", "nothing was done"):
        assert expected in shown
    assert api.ok("GET", "/containers/json?all=1") == before


def test_a_running_container_is_explained(onggi: Onggi) -> None:
    """Its pid, its eight namespaces, its limit and rights, and how long each step took."""
    onggi("run", "-d", "--name", "cli-explain", "-m", "64m", IMAGE, "sleep", "60")
    shown = onggi("explain", "cli-explain").stdout
    document = json.loads(onggi("explain", "--format", "json", "cli-explain").stdout)
    pid = onggi("inspect", "-f", "{{.State.Pid}}", "cli-explain").stdout.strip()
    onggi("rm", "-f", "cli-explain")
    assert f"runs as process {pid}" in shown
    assert "64 MiB" in shown
    assert "capabilities kept" in shown
    assert {space["name"] for space in document["namespaces"]} == KINDS
    assert all(step["lasted"] > 0 for step in document["steps"] if step["started"])


def test_explain_after_a_run_with_rm_leaves_nothing(onggi: Onggi, api: Api) -> None:
    """What --rm would take away too early is shown first and removed then; the exit code is the command's."""
    done = onggi("run", "--rm", "--explain", "--name", "cli-shown", IMAGE, "sh", "-c", "exit 3", check=False)
    assert done.returncode == 3
    assert "How it was made" in done.stdout
    assert api("GET", "/containers/cli-shown/json").status == 404


def test_hello_shows_its_isolation(onggi: Onggi, api: Api) -> None:
    """The image speaks, then the table names each kind of namespace, limits, capabilities and the filter."""
    shown = onggi("run", "--rm", "--name", "cli-hello", "hello").stdout
    rows = {
        line.split()[0]: line.split()[1:4]
        for line in shown.splitlines()
        if line.split()[:1] and line.split()[0] in KINDS
    }
    assert set(rows) == KINDS
    for kind, (whose, inside, outside) in rows.items():
        assert (whose == "own") == (inside != outside), kind
    assert rows["pid"][0] == "own"
    assert "memory" in shown
    assert "capabilities kept" in shown
    assert "seccomp" in shown
    assert api("GET", "/containers/cli-hello/json").status == 404


def test_an_unknown_container_cannot_be_explained(onggi: Onggi) -> None:
    """The engine's own words, and 1."""
    done = onggi("explain", "nosuch", check=False)
    assert (done.returncode, "nosuch" in done.stderr) == (1, True)
