"""What the two scripts that run other runtimes' suites share: which runtime, a line for each test, the count at the end."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.cage import Cage

TREE = Path(__file__).resolve().parents[2]


def arguments(description: str) -> argparse.ArgumentParser:
    """The words of both scripts; each adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of the suite's project")
    parser.add_argument("files", nargs="*", help="only these files")
    parser.add_argument("-f", "--filter", default="", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("-t", "--limit", type=float, default=90, metavar="SECONDS", help="for each test (90)")
    parser.add_argument("-r", "--runtime", type=Path, help="another runtime, to compare (this tree's onggi-oci)")
    parser.add_argument("-o", "--output", type=Path, default=Path("suite-output"), help="keeps what each test says")
    return parser


def runtime(cage: Cage, given: Path | None, name: str) -> str:
    """The runtime's path; its file has the name of the suite's own runtime, as tests of descriptors and versions want it."""
    if given is None:
        return cage.program(name, f'ONGGI_OCI_AS={name} exec {TREE}/onggi-oci "$@"')
    path = cage.programs / name
    shutil.copy2(given, path)
    return str(path)


def chosen(files: list[str], there: Iterable[Path]) -> list[Path]:
    """The files that were asked for by name, with or without their ending; all if none was."""
    wanted = {name.rsplit("/", 1)[-1] for name in files}
    return sorted(path for path in there if not wanted or wanted & {path.name, path.stem})


def run_all(
    tests: Iterable[tuple[Path, str]],
    output: Path,
    run: Callable[[Path, str, Path], int | None],
    verdict: Callable[[str], str],
) -> int:
    """Run each (file, name), say how it went and keep what it said; 1 if one failed."""
    count: Counter[str] = Counter()
    for file, name in tests:
        said = output.resolve() / file.name / (re.sub(r"[^\w.=-]+", "_", name.strip())[:120] + ".txt")
        said.parent.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        status = run(file, name, said)
        how = "fail" if status is None else verdict(said.read_text(errors="replace"))
        count[how.split()[0]] += 1
        print(
            f"{how.split()[0]:4} {time.monotonic() - begin:5.1f} s  {file.name}: {name.strip()} {how[4:]}".rstrip(),
            flush=True,
        )
    print(", ".join(f"{number} {how}" for how, number in sorted(count.items())))
    return int(bool(count["fail"]))


def fresh(directory: Path) -> Path:
    """The directory, empty, open to all users."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def need_root() -> None:
    """Containers, cgroups and namespaces of their own: nothing of it works without."""
    if os.geteuid() != 0:
        sys.exit("the suite needs root")
