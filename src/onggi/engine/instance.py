"""One engine on a machine: its roots, and the name that its links, cgroups and tables carry.

Engines with different roots live side by side; the name keeps their things apart. Callers: everybody in `engine/`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

DEFAULT_DATA_ROOT = Path("/var/lib/onggi")
DEFAULT_EXEC_ROOT = Path("/run/onggi")


@dataclass(frozen=True, slots=True)
class Instance:
    """Where an engine keeps its data (`data_root`) and what lives until the next boot (`exec_root`)."""

    data_root: Path
    exec_root: Path

    @property
    def name(self) -> str:
        """`onggi` for the default data root, else `onggi-` and eight digits that stand for the root."""
        return "onggi" if self.data_root == DEFAULT_DATA_ROOT else f"onggi-{self.digits}"

    @property
    def digits(self) -> str:
        """Eight hex digits of the data root's hash."""
        return _digits(self.data_root)

    @property
    def records(self) -> Path:
        """The database of what survives a restart."""
        return self.data_root / "records.db"

    def container_dir(self, container_id: str) -> Path:
        """Data of one container: upper and work directory, log, hosts, resolv.conf, hostname."""
        return self.data_root / "containers" / container_id

    def run_dir(self, container_id: str) -> Path:
        """What one run of a container leaves: keeper socket, state, exit record."""
        return self.exec_root / "containers" / container_id

    def prepare(self) -> None:
        """Make the roots; only root may look into them."""
        for directory in (self.data_root, self.exec_root):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o711)
        for directory in (self.data_root / "containers", self.exec_root / "containers", self.exec_root / "seccomp"):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o700)


@functools.cache
def _digits(root: Path) -> str:
    return hashlib.sha256(str(root).encode()).hexdigest()[:8]
