"""What Onggi does not do yet, refused by name: no field of a create request is silently ignored.

A field that is not here is obeyed by `spec`, `resources`, `binds` or `security`, or means nothing on Linux and is ignored by
Docker too. Pure. Callers: `engine/containers`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from onggi.engine import network_requests, signals
from onggi.errors import Invalid, Unsupported
from onggi.wire.containers import ContainerConfig, ContainerCreate
from onggi.wire.host_config import HostConfig

_HOST_FIELDS = (
    "volumes_from",
    "links",
    "device_requests",
    "storage_opt",
    "cgroup",
    "kernel_memory",
    "kernel_memory_tcp",
    "cpu_realtime_period",
    "cpu_realtime_runtime",
    "cpu_count",
    "cpu_percent",
    "io_maximum_iops",
    "io_maximum_bandwidth",
    "init",
    "volume_driver",
)
_DEFAULT_HOST = HostConfig()
_RUNTIMES = ("", "onggi", "runc", "io.containerd.runc.v2")
_LOG_OPTIONS = frozenset(
    {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}
)
_LOG_DRIVERS = frozenset({"", "json-file", "local", "none"})
_OTHER_LOG_DRIVERS = frozenset(
    {"syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs", "logentries"}
)


def check(body: ContainerCreate) -> None:
    """Unsupported names the first field that asks for what does not exist yet; Invalid what Docker refuses too."""
    host, config = body.host_config, body.config
    if config.working_dir and not config.working_dir.startswith("/"):
        cause = f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        raise Invalid("create", "container", cause, code="text")
    if config.stop_signal and not signals.is_known(config.stop_signal):
        raise Invalid("create", "container", f"invalid signal: {config.stop_signal}", code="text")
    _check_texts(config)
    for server in host.dns or ():
        _check_address(server)
    for field in _HOST_FIELDS:
        if _asks(getattr(host, field), getattr(_DEFAULT_HOST, field)):
            raise _refused("HostConfig." + field, getattr(host, field))
    if host.restart_policy.name not in ("", "no"):
        if host.auto_remove:
            raise Invalid("create", "container", "can't create 'AutoRemove' container with restart policy", code="text")
        raise _refused("HostConfig.RestartPolicy", host.restart_policy.name)
    if host.runtime not in _RUNTIMES:
        raise Invalid("create", "container", f"unknown or invalid runtime name: {host.runtime}", code="text")
    if host.log_config.type not in _LOG_DRIVERS | _OTHER_LOG_DRIVERS:
        driver = host.log_config.type
        cause = f'error looking up logging plugin {driver}: plugin "{driver}" not found'
        raise Invalid("create", "container", cause, code="text")
    if host.log_config.type in _OTHER_LOG_DRIVERS:
        raise _refused("HostConfig.LogConfig.Type", host.log_config.type)
    for option in host.log_config.config or {}:
        if option not in _LOG_OPTIONS:
            driver = host.log_config.type or "json-file"
            raise Invalid("create", "container", f"unknown log opt '{option}' for {driver} log driver", code="text")
    if host.isolation not in ("", "default"):
        raise Invalid("create", "container", f'invalid isolation "{host.isolation}" on linux', code="text")
    if config.healthcheck is not None and (config.healthcheck.test or ["NONE"])[0] != "NONE":
        raise _refused("Healthcheck", " ".join(config.healthcheck.test or ()))
    network_requests.check(body)


def _check_texts(config: ContainerConfig) -> None:
    """What the kernel cannot take as a program's words."""
    for pair in config.env or ():
        if not pair.partition("=")[0]:
            raise Invalid("create", "container", f"invalid environment variable: {pair}", code="text")
    single = (config.working_dir, config.hostname, config.domainname, config.user)
    for text in (*(config.entrypoint or ()), *(config.cmd or ()), *(config.env or ()), *single):
        if "\0" in text:
            raise Invalid("create", "container", f"{text!r} contains a NUL byte")


def _check_address(server: str) -> None:
    try:
        ip_address(server)
    except ValueError as error:
        raise Invalid("create", "container", f"bad nameserver address {server}", code="text") from error


def _asks(value: Any, default: Any) -> bool:
    return bool(value) and value != default


def _refused(field: str, value: Any) -> Unsupported:
    return Unsupported("create container with", field, f"{value!r} is not supported yet", hint="leave the option out")
