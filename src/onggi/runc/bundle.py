"""A bundle on disk (config.json beside a root directory) as a request; what Onggi does not do in it is refused by name.

Callers: `main`. Read next: `request`, and the runtime specification's bundle.md.
"""

from __future__ import annotations

import os

from onggi import documents
from onggi.errors import Invalid, NotFound
from onggi.runc import resources, validate
from onggi.runtime.request import Request, from_json
from onggi.values import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from onggi.oci.runtime import Process, Spec
    from onggi.runc.words import Options
    from onggi.runtime.request import Listener, ServiceClass

    Json: TypeAlias = dict[str, Any]

_LARGEST = 16 << 20


def read(bundle: str, name: str = "config.json") -> Json:
    """The decoded config.json, or a file of another name; NotFound, Invalid or Unsupported say what is wrong with it."""
    path = os.path.join(bundle, name)
    try:
        with open(path, "rb") as file:
            document = documents.loads(file.read(_LARGEST))
    except FileNotFoundError as error:
        raise NotFound(
            "read", path, "there is no such file", hint="a bundle is a directory with a config.json"
        ) from error
    except ValueError as error:
        raise Invalid("read", path, str(error)) from error
    if not isinstance(document, dict):
        raise Invalid("read", path, "it is not a JSON object")
    if not str(document.get("ociVersion", "")).startswith("1."):
        raise Invalid("read", path, f"ociVersion is {document.get('ociVersion')!r}, not 1.x")
    validate.check(document, _is_own_network, rootless=os.geteuid() != 0)
    return document


def _is_own_network(path: str) -> bool:
    """Whether the network namespace at a path is ours."""
    try:
        return os.path.samefile(path, "/proc/self/ns/net")
    except OSError as error:
        raise Invalid("read", "linux.namespaces", f"invalid netns path: {error}") from error


def request(
    container_id: str, bundle: str, document: Json, cache: str, given: Options, fifo: str, group: str
) -> Request:
    """The request for this bundle and the command's flags.

    The seccomp filter is compiled into the directory `cache` unless it is there; `fifo` is where the init is to wait, `group` the
    path of its cgroup.
    """
    linux = document.get("linux") or {}
    root = _root(bundle, (document.get("root") or {}).get("path") or "rootfs")
    file, flags, listener = _filter(document, bundle, cache)
    kinds = {namespace["type"] for namespace in linux.get("namespaces") or ()}
    found = from_json(
        {
            "id": container_id,
            "config": document,
            "run_dir": "",
            "rootfs": root,
            "seccomp": file,
            "seccomp_flags": flags,
            "private_cgroup": "cgroup" in kinds,
        }
    )
    binds = tuple(
        replace(mount, source=os.path.join(bundle, mount.source)) if _is_bind(mount.type, mount.options) else mount
        for mount in found.spec.mounts
    )
    process, mount_label, warnings = _labels(found.spec)
    resources = _resources(found.spec.resources, group)
    spec = replace(found.spec, process=process, mount_label=mount_label, root=root, mounts=binds)
    return replace(
        found,
        spec=replace(spec, resources=resources, cgroups_path=group),
        bundle=bundle,
        fifo=fifo,
        dies_with_keeper=False,
        pivot=not given.has("no-pivot"),
        new_keyring=not given.has("no-new-keyring"),
        kept_fds=given.number("preserve-fds"),
        best_effort=False,
        listener=listener,
        service_class=_class(found.spec.intel_rdt, container_id),
        warnings=warnings,
        take_empty_cgroup=True,
    )


def _root(bundle: str, path: str) -> str:
    """The root directory's own path: what a link stands for may be another directory by the time it is mounted."""
    root = os.path.normpath(os.path.join(os.path.realpath(bundle), path))
    if os.path.realpath(root) != root:
        raise Invalid("read", "root.path", "invalid rootfs: not an absolute path, or a symlink")
    return root


def _is_bind(kind: str, options: tuple[str, ...]) -> bool:
    return kind == "bind" or "bind" in options or "rbind" in options


def _resources(given: Mapping[str, Any], group: str) -> Json:
    found = resources.read(given)
    return {**found, "devices": resources.with_default_devices(found.get("devices"))} if group else found


def _class(given: Mapping[str, Any] | None, container_id: str) -> ServiceClass | None:
    if given is None:
        return None
    from onggi.kernel import resctrl
    from onggi.runc import rdt

    return rdt.of_config(given, container_id, resctrl.root())


def _labels(spec: Spec) -> tuple[Process, str, tuple[str, ...]]:
    """Its process and the label of its mounts as this kernel can have them, and what the caller should know."""
    process = spec.process
    if not (process.apparmor_profile or process.selinux_label or spec.mount_label):
        return process, "", ()
    from onggi.runc import labels

    process = labels.of_process(process)
    return process, *(labels.of_mounts(spec.mount_label) if spec.mount_label else ("", ()))


def _filter(document: Json, bundle: str, cache: str) -> tuple[str, int, Listener | None]:
    if not (document.get("linux") or {}).get("seccomp"):
        return "", 0, None
    from onggi.runc import filter

    return filter.of_config(document, bundle, cache)
