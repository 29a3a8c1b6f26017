"""A create request and its image's config made one, by Docker's rules. Pure.

What the request leaves empty comes from the image; environment and labels are joined, the request's value wins; a new
entrypoint drops the image's command. Callers: `engine/containers`. Read next: `spec`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from onggi.errors import Invalid
from onggi.oci.image import RunConfig
from onggi.wire.containers import ContainerConfig

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def merge(asked: ContainerConfig, image: RunConfig) -> ContainerConfig:
    """The container's config; Invalid when nobody says what to run."""
    entrypoint, command = asked.entrypoint, asked.cmd
    if entrypoint in (None, []) and asked.entrypoint is None:
        entrypoint = image.entrypoint
        if not command:
            command = image.cmd
    if entrypoint == [""]:  # `--entrypoint ""` takes the image's away
        entrypoint = None
    if not entrypoint and not command:
        raise Invalid("create", "container", "no command specified", code="container.no-command")
    return msgspec.structs.replace(
        asked,
        entrypoint=entrypoint,
        cmd=command,
        env=_environment(asked.env or [], image.env or []),
        labels={**(image.labels or {}), **(asked.labels or {})},
        user=asked.user or image.user,
        working_dir=asked.working_dir or image.working_dir,
        volumes={**(image.volumes or {}), **(asked.volumes or {})} or None,
        exposed_ports={**(image.exposed_ports or {}), **(asked.exposed_ports or {})} or None,
        stop_signal=asked.stop_signal or image.stop_signal,
        stop_timeout=asked.stop_timeout if asked.stop_timeout is not None else image.stop_timeout,
        shell=asked.shell or image.shell,
    )


def _environment(asked: list[str], image: list[str]) -> list[str]:
    names = {pair.partition("=")[0] for pair in asked}
    return asked + [pair for pair in image if pair.partition("=")[0] not in names]


def process_environment(config: ContainerConfig, hostname: str, *, terminal: bool | None = None) -> list[str]:
    """What the process sees: PATH and HOSTNAME unless set, TERM with a terminal; a name without `=` takes one away.

    `terminal` says whether it has one, for a process that is not the container's first.
    """
    has_terminal = config.tty if terminal is None else terminal
    base = [DEFAULT_PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if has_terminal else [])]
    return overlaid(base, config.env or ())


def overlaid(base: Iterable[str], changes: Iterable[str]) -> list[str]:
    """Variables, later ones in the place of earlier ones of the same name; a name without `=` takes one away."""
    found: dict[str, str | None] = {}
    for pair in (*base, *changes):
        name, equals, value = pair.partition("=")
        found[name] = value if equals else None
    return [f"{name}={value}" for name, value in found.items() if value is not None]
