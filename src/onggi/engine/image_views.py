"""What people see of an image: the list's element, inspect, history. Pure but for the layers' sizes and paths."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from onggi.errors import Invalid
from onggi.oci.image import RunConfig
from onggi.oci.reference import Reference
from onggi.store.images import HOST, Image
from onggi.store.layers import Layers, top_first
from onggi.wire import gotime
from onggi.wire.containers import ContainerConfig, GraphDriver, Healthcheck
from onggi.wire.filters import Filters
from onggi.wire.images import HistoryEntry, ImageInspect, ImageMetadata, ImageSummary, RootFS


def summary(image: Image, containers: int) -> ImageSummary:
    """The list's element."""
    return ImageSummary(
        containers=containers,
        created=_seconds(image.config.created),
        id=str(image.id),
        labels=image.config.run.labels,
        repo_digests=[name.familiar() for name in image.digests],
        repo_tags=[name.familiar() for name in image.names],
        size=image.size,
    )


def inspect(image: Image, layers: Layers) -> ImageInspect:
    """All about one."""
    config = image.config
    return ImageInspect(
        id=str(image.id),
        repo_tags=[name.familiar() for name in image.names],
        repo_digests=[name.familiar() for name in image.digests],
        comment=(config.history or [])[-1].comment if config.history else "",
        created=config.created or "",
        docker_version=config.docker_version,
        author=config.author,
        config=_config(config.run),
        architecture=config.architecture,
        variant=config.variant,
        os=config.os,
        os_version=config.os_version,
        size=image.size,
        graph_driver=GraphDriver(data=_directories(image, layers)),
        root_fs=RootFS(layers=list(config.rootfs.diff_ids)),
        metadata=ImageMetadata(last_tag_time=image.tagged or gotime.ZERO),
    )


def history(image: Image, layers: Layers) -> list[HistoryEntry]:
    """The steps, newest first; only the newest is an image that still has an id."""
    sizes = iter([] if image.layers == (HOST,) else [layers.size(layer) for layer in image.layers])
    steps = [
        HistoryEntry(
            comment=step.comment,
            created=_seconds(step.created),
            created_by=step.created_by,
            size=0 if step.empty_layer else next(sizes, 0),
        )
        for step in image.config.history or ()
    ]
    steps += [HistoryEntry(size=size) for size in sizes]  # layers that nobody wrote a step for
    if not steps:
        return []
    *older, newest = steps
    names = [name.familiar() for name in image.names] or None
    top = HistoryEntry(
        comment=newest.comment,
        created=newest.created,
        created_by=newest.created_by,
        id=str(image.id),
        size=newest.size,
        tags=names,
    )
    return [top, *reversed(older)]


def select(images: Sequence[Image], filters: Filters) -> list[Image]:
    """The images that pass: dangling, label, reference, before, since, until."""
    before, since = (_moments(images, filters.values(key)) for key in ("before", "since"))
    until = [_until(text) for text in filters.values("until")]
    return [
        _narrowed(image, filters.values("reference"))
        for image in images
        if ("dangling" not in filters or filters.flag("dangling", default=False) == (not image.names))
        and filters.match_labels(image.config.run.labels)
        and _named(image.names, filters.values("reference"))
        and all((image.config.created or "") < moment for moment in before)
        and all((image.config.created or "") > moment for moment in since)
        and all(_seconds(image.config.created) < moment for moment in until)
    ]


def prunable(images: Sequence[Image], filters: Filters) -> list[Image]:
    """The images that a prune with these filters means, used or not."""
    until = [_until(text) for text in filters.values("until")]
    return [
        image
        for image in images
        if filters.match_labels(image.config.run.labels)
        and filters.refuse_labels(image.config.run.labels)
        and all(_seconds(image.config.created) < moment for moment in until)
    ]


def _moments(images: Iterable[Image], names: Sequence[str]) -> list[str]:
    """When the images of these names were made; a name that nobody has hides nothing."""
    return [
        image.config.created or ""
        for name in names
        for image in images
        if name in (str(image.id), image.id.hex[: len(name)]) or _named(image.names, [name])
    ]


def _named(names: Iterable[Reference], patterns: Sequence[str]) -> bool:
    """Whether a name matches a pattern."""
    return not patterns or any(_matches(name, patterns) for name in names)


def _matches(name: Reference, patterns: Sequence[str]) -> bool:
    """With its tag or without, as people write it or in full."""
    spellings = (name.familiar(), name.familiar_name, str(name), name.name)
    return any(fnmatch.fnmatchcase(spelling, pattern) for spelling in spellings for pattern in patterns)


def _narrowed(image: Image, patterns: Sequence[str]) -> Image:
    """With a filter on references only the names that match are shown."""
    if not patterns:
        return image
    return replace(image, names=tuple(name for name in image.names if _matches(name, patterns)))


def _until(text: str) -> float:
    return gotime.parse_timestamp(text, time.time_ns()) / gotime.SECOND


def _seconds(created: str | None) -> int:
    """Seconds since 1970 of an image's time; 0 if it has none, or one that cannot be read."""
    try:
        return gotime.parse_rfc3339(created or gotime.ZERO) // gotime.SECOND
    except Invalid:
        return 0


def _directories(image: Image, layers: Layers) -> dict[str, str] | None:
    """Where the layers lie, the top one first."""
    if not image.layers or image.layers == (HOST,):
        return None
    top, *below = [str(layers.diff(layer)) for layer in top_first(image.layers)]
    return {"UpperDir": top} | ({"LowerDir": ":".join(below)} if below else {})


def _config(run: RunConfig) -> ContainerConfig:
    health = run.healthcheck
    return ContainerConfig(
        user=run.user,
        exposed_ports=dict(run.exposed_ports) if run.exposed_ports else None,
        env=run.env,
        cmd=run.cmd,
        healthcheck=None
        if health is None
        else Healthcheck(
            test=health.test,
            interval=health.interval,
            timeout=health.timeout,
            start_period=health.start_period,
            start_interval=health.start_interval,
            retries=health.retries,
        ),
        volumes=dict(run.volumes) if run.volumes else None,
        working_dir=run.working_dir,
        entrypoint=run.entrypoint,
        on_build=run.on_build,
        labels=run.labels,
        stop_signal=run.stop_signal,
        stop_timeout=run.stop_timeout,
        shell=run.shell,
    )
