"""From flags to the body of `POST /containers/create`: syntax is decided here, policy by the engine.

Callers: `commands/run`, `commands/create`. Read next: `engine/spec`, which turns this body into an OCI document.
"""

from __future__ import annotations

import os

from onggi.cli.failure import CommandFailed
from onggi.cli.flags import FLAG_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from onggi.cli.flags import Parsed

_UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NANO = 1_000_000_000


def body(parsed: Parsed, *, attached: bool) -> dict[str, Any]:
    """The request that these flags and arguments mean; `attached` is whether this command will listen to it."""
    image, *command = parsed.arguments
    stdin = parsed["interactive"]
    exposed, bindings = _ports(parsed["publish"])
    config: dict[str, Any] = {
        "Image": image,
        "Cmd": command or None,
        "Env": environment(parsed["env"], parsed["env-file"]),
        "Tty": parsed["tty"],
        "OpenStdin": stdin,
        "StdinOnce": stdin and attached,
        "AttachStdin": stdin and attached,
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Hostname": parsed["hostname"],
        "User": parsed["user"],
        "WorkingDir": parsed["workdir"],
        "Labels": dict(_pair(label) for label in parsed["label"]),
        "ExposedPorts": exposed,
        "HostConfig": _host_config(parsed, bindings),
    }
    if "entrypoint" in parsed.given:
        # An empty one takes the image's entry point away; `[""]` is Docker's way to say so.
        config["Entrypoint"] = [parsed["entrypoint"]]
    if parsed["stop-signal"]:
        config["StopSignal"] = parsed["stop-signal"]
    if parsed["stop-timeout"] != -1:
        config["StopTimeout"] = parsed["stop-timeout"]
    return config


def _host_config(parsed: Parsed, bindings: dict[str, Any]) -> dict[str, Any]:
    host: dict[str, Any] = {
        "AutoRemove": parsed["rm"],
        "Binds": [_bind(volume) for volume in parsed["volume"]],
        "Mounts": [_mount(mount) for mount in parsed["mount"]],
        "NetworkMode": parsed["network"] or "default",
        "PortBindings": bindings,
        "RestartPolicy": _restart(parsed["restart"]),
        "CapAdd": parsed["cap-add"],
        "CapDrop": parsed["cap-drop"],
        "Privileged": parsed["privileged"],
        "SecurityOpt": [_security(option) for option in parsed["security-opt"]],
        "ReadonlyRootfs": parsed["read-only"],
        "Tmpfs": dict(_split(tmpfs, ":") for tmpfs in parsed["tmpfs"]),
        "ShmSize": byte_count(parsed["shm-size"], "shm-size"),
        "Ulimits": [_ulimit(limit) for limit in parsed["ulimit"]],
        "Devices": [_device(device) for device in parsed["device"]],
        "GroupAdd": parsed["group-add"],
        "UsernsMode": parsed["userns"],
        "PidMode": parsed["pid"],
        "IpcMode": parsed["ipc"],
        "UTSMode": parsed["uts"],
        "CgroupnsMode": parsed["cgroupns"],
        "ExtraHosts": parsed["add-host"],
        "Dns": parsed["dns"],
        "DnsSearch": parsed["dns-search"],
        "Sysctls": dict(_pair(sysctl) for sysctl in parsed["sysctl"]),
        "OomScoreAdj": parsed["oom-score-adj"],
    }
    host.update(_resources(parsed))
    if parsed["init"]:
        host["Init"] = True
    return host


def _resources(parsed: Parsed) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "Memory": byte_count(parsed["memory"], "memory"),
        "MemoryReservation": byte_count(parsed["memory-reservation"], "memory-reservation"),
        "MemorySwap": byte_count(parsed["memory-swap"], "memory-swap"),
        "NanoCpus": _cpus(parsed["cpus"]),
        "CpuShares": parsed["cpu-shares"],
        "CpuPeriod": parsed["cpu-period"],
        "CpuQuota": parsed["cpu-quota"],
        "CpusetCpus": parsed["cpuset-cpus"],
        "CpusetMems": parsed["cpuset-mems"],
    }
    if parsed["pids-limit"]:
        resources["PidsLimit"] = parsed["pids-limit"]
    if parsed["oom-kill-disable"]:
        resources["OomKillDisable"] = True
    return resources


def environment(words: Iterable[str], files: Iterable[str]) -> list[str]:
    """NAME=VALUE lines: the files' first; a bare NAME is passed on from our own environment, if it is there."""
    lines = [line for path in files for line in _env_file(path)]
    return [entry for word in [*lines, *words] for entry in _variable(word)]


def _variable(word: str) -> list[str]:
    if not word or word.startswith("="):
        raise _bad("env", word, "no name before the `=`")
    if "=" in word:
        return [word]
    return [f"{word}={os.environ[word]}"] if word in os.environ else []


def _env_file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line.rstrip("\r\n").lstrip() for line in file if line.strip() and not line.lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise _bad("env-file", path, getattr(error, "strerror", None) or "not UTF-8") from None


def byte_count(text: str, flag: str) -> int:
    """Bytes of `512m`, `1.5g`, `1GiB`, `4096`; -1 stays; an empty text is 0, the engine's own choice."""
    if text in ("", "-1"):
        return int(text or 0)
    number = text.lower().strip().removesuffix("b").removesuffix("i")
    power = _UNITS.get(number[-1:], 0)
    digits = number[:-1] if number[-1:] in _UNITS else number
    try:
        value = int(float(digits) * 1024**power)
    except (ValueError, OverflowError):
        raise _bad(flag, text, "not a size such as 512m") from None
    if value < 0:
        raise _bad(flag, text, "less than nothing")
    return value


def _cpus(text: str) -> int:
    if not text:
        return 0
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdecimal() or len(fraction) > 9:
        raise _bad("cpus", text, "not a number of CPUs such as 1.5")
    return int(whole or 0) * _NANO + int(fraction.ljust(9, "0"))


def _bind(volume: str) -> str:
    source, colon, rest = volume.partition(":")
    if not colon:
        return volume
    if source == "~" or source.startswith("~/"):
        source = os.path.expanduser(source)
    if source.startswith("."):
        # The engine has another working directory than whoever types this.
        source = os.path.abspath(source)
    return f"{source}:{rest}"


def _mount(text: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": "volume"}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key in ("type", "source", "src", "target", "destination", "dst"):
            name = {"type": "Type", "source": "Source", "src": "Source"}.get(key, "Target")
            mount[name] = value
        elif key in ("readonly", "ro"):
            mount["ReadOnly"] = not equals or value in ("true", "1")
        elif key == "bind-propagation":
            mount["BindOptions"] = {"Propagation": value}
        elif key in ("tmpfs-size", "tmpfs-mode"):
            options = mount.setdefault("TmpfsOptions", {})
            options["SizeBytes" if key == "tmpfs-size" else "Mode"] = (
                byte_count(value, "mount") if key == "tmpfs-size" else int(value, 8)
            )
        else:
            raise _bad("mount", text, f"unknown key `{key}`")
    if "Target" not in mount:
        raise _bad("mount", text, "no target")
    return mount


def _ports(words: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    exposed: dict[str, Any] = {}
    bindings: dict[str, Any] = {}
    for word in words:
        rest, _, protocol = word.partition("/")
        address, colon, container = rest.rpartition(":")
        host_ip, _, host_port = address.rpartition(":")
        if not container.isdecimal() or (host_port and not host_port.isdecimal()) or (colon and not address):
            raise _bad("publish", word, "not [ADDRESS:][PORT:]PORT[/PROTOCOL]; ranges are not supported yet")
        key = f"{container}/{protocol or 'tcp'}"
        exposed[key] = {}
        bindings.setdefault(key, []).append({"HostIp": host_ip.strip("[]"), "HostPort": host_port})
    return exposed, bindings


def _restart(text: str) -> dict[str, Any]:
    name, colon, count = text.partition(":")
    if colon and not count.isdecimal():
        raise _bad("restart", text, f"`{count}` is not a number of tries")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _security(option: str) -> str:
    name, equals, value = option.partition("=") if "=" in option else option.partition(":")
    if name != "seccomp" or not equals or value in ("unconfined", "builtin"):
        return option
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={file.read()}"
    except (OSError, UnicodeDecodeError) as error:
        raise _bad("security-opt", option, f"{value}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None


def _ulimit(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    soft, _, hard = value.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise _bad("ulimit", text, "not NAME=SOFT[:HARD]" if equals else "no `=`") from None


def _device(text: str) -> dict[str, Any]:
    host, *rest = text.split(":")
    inside, rights = host, "rwm"
    for part in rest:
        if part and set(part) <= set("rwm"):
            rights = part
        else:
            inside = part
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": rights}


def _pair(text: str) -> tuple[str, str]:
    return _split(text, "=")


def _split(text: str, separator: str) -> tuple[str, str]:
    before, _, after = text.partition(separator)
    return before, after


def _bad(flag: str, value: str, why: str) -> CommandFailed:
    return CommandFailed(f"read --{flag} `{value}`: {why}", hint="see `onggi run --help`", status=FLAG_ERROR)
