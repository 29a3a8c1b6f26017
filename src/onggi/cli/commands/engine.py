"""`onggi engine`: run the engine in the foreground. You came from `cli/main`; next door: `onggi/daemon`."""

from __future__ import annotations

import os

from onggi.cli.background import python_arguments
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "engine [OPTIONS]",
    "Run the engine in the foreground. Engines with different roots live side by side.",
    (
        Flag("host", list, "listen here: unix:///path (may be repeated)", short="H"),
        Flag("data-root", str, "where images and containers are kept (/var/lib/onggi)"),
        Flag("exec-root", str, "where what runs now is kept (/run/onggi)"),
        Flag("pidfile", str, "write its process id here", short="p"),
        Flag("config-file", str, "read these settings first, in dockerd's JSON"),
        Flag("bip", str, "address and prefix of the default bridge, as 172.30.0.1/16"),
        Flag("default-address-pool", list, "networks are taken from here: base=10.9.0.0/16,size=24"),
        Flag("group", str, "the group that may use the socket", short="G"),
    ),
)


def execute(host: str, parsed: Parsed) -> int:
    """Become the engine: the same words, taken apart again by `onggi.daemon`."""
    words = ["--host", host] if host else []
    for flag in COMMAND.flags:
        if flag.long in parsed.given:
            value = parsed[flag.long]
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{flag.long}", one]
    command = python_arguments("onggi.daemon")
    os.execv(command[0], [*command, *words])
