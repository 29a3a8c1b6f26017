"""`onggi info`: show the engine and this machine. You came from `cli/main`."""

from __future__ import annotations

from onggi.cli import output, template
from onggi.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.engine import Engine
    from onggi.cli.flags import Parsed

COMMAND = Command(
    "info [OPTIONS]",
    "Show the engine and this machine.",
    (Flag("format", str, "json, or a template such as '{{.ServerVersion}}'", short="f"),),
)
_LINES = (
    (
        "containers",
        "{Containers} ({ContainersRunning} running, {ContainersPaused} paused, {ContainersStopped} stopped)",
    ),
    ("images", "{Images}"),
    ("engine", "{ServerVersion}, storage driver {Driver}, data in {DockerRootDir}"),
    ("cgroups", "version {CgroupVersion}, driver {CgroupDriver}"),
    ("machine", "{Name}: {OperatingSystem}, Linux {KernelVersion}, {Architecture}"),
)


def run(engine: Engine, parsed: Parsed) -> int:
    """Print the page."""
    info = engine.call("GET", "/info")
    if parsed["format"]:
        print(template.render(parsed["format"], info))
        return 0
    for title, line in _LINES:
        print(f"{title:<12}{line.format_map(_Known(info))}")
    print(f"{'resources':<12}{info.get('NCPU', '?')} CPUs, {output.size(info.get('MemTotal', 0))} memory")
    print(f"{'security':<12}{', '.join(info.get('SecurityOptions') or []) or 'none'}")
    for warning in info.get("Warnings") or []:
        output.warn(warning)
    return 0


class _Known(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"
