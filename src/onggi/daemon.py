"""`onggi engine`: the process that is the engine, in the foreground. The only file that knows all storeys.

It parses dockerd's words, makes the socket, joins engine, API and glass, says when it is ready, and ends on SIGTERM or
SIGINT; containers go on. Callers: `onggi engine`, `onggi` itself in the background. Read next: `engine/engine`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import grp
import json
import logging
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from onggi.api.http import Handler, Reply, Request, Route, json_response
from onggi.api.router import Router
from onggi.api.routes.all import docker_routes
from onggi.api.server import Server
from onggi.api.shield import Shield
from onggi.engine import registries
from onggi.engine.engine import Engine, Settings
from onggi.engine.instance import DEFAULT_DATA_ROOT, DEFAULT_EXEC_ROOT, Instance
from onggi.errors import Conflict, Invalid, OnggiError, Unsupported
from onggi.glass.routes import Answer
from onggi.glass.routes import routes as glass_routes
from onggi.network.ipam import DEFAULT_POOLS, AddressPool
from onggi.registry.hosts import Options

_log = logging.getLogger("onggi")
_SETTLE_SECONDS = 15.0
_GROUP = "onggi"


def main(arguments: list[str] | None = None) -> int:
    """Run the engine; the exit status is 0 after a signal, 1 when it could not start, 2 for wrong words."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        asyncio.run(_run(options))
    except OnggiError as error:
        sys.stderr.write(f"onggi engine: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return 2 if isinstance(error, Invalid) else 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options: the command line's, then the configuration file's, then the defaults."""
    parser = argparse.ArgumentParser("onggi engine", description="The engine, in the foreground.", allow_abbrev=False)
    parser.add_argument("-H", "--host", action="append", metavar="unix://PATH", help="where to listen (repeatable)")
    parser.add_argument("--data-root", metavar="DIR", help=f"what is kept (default {DEFAULT_DATA_ROOT})")
    parser.add_argument(
        "--exec-root", metavar="DIR", help=f"what lives until the next boot (default {DEFAULT_EXEC_ROOT})"
    )
    parser.add_argument("-p", "--pidfile", metavar="FILE", help="where to write the engine's pid")
    parser.add_argument(
        "--config-file", metavar="FILE", help="a JSON file with these options, as dockerd's daemon.json"
    )
    parser.add_argument("--bip", metavar="CIDR", help="address of the default bridge")
    parser.add_argument("--mtu", type=int, help="MTU of the container networks")
    parser.add_argument(
        "--default-address-pool", action="append", metavar="base=CIDR,size=N", help="where subnets come from"
    )
    parser.add_argument(
        "--registry-mirror", action="append", metavar="URL", help="ask this mirror of docker.io first (repeatable)"
    )
    parser.add_argument(
        "--insecure-registry",
        action="append",
        metavar="HOST[:PORT]|CIDR",
        help="believe this registry without a certificate, or in the clear (repeatable)",
    )
    parser.add_argument("--max-concurrent-downloads", type=int, metavar="N", help="layers fetched at once (default 3)")
    parser.add_argument("-G", "--group", help=f"the socket's group (default {_GROUP}, where it exists)")
    parser.add_argument("-l", "--log-level", choices=("debug", "info", "warning", "error"))
    parser.add_argument(
        "--tls", "--tlsverify", "--tlscacert", "--tlscert", "--tlskey", dest="tls", nargs="?", const=True
    )
    options = parser.parse_args(arguments)
    if options.tls:
        raise Unsupported("start with", "--tls", "TCP is not supported yet", hint="listen on a unix socket")
    _from_file(options)
    options.host = options.host or ["unix:///run/onggi/onggi.sock"]
    options.data_root = options.data_root or str(DEFAULT_DATA_ROOT)
    options.exec_root = options.exec_root or str(DEFAULT_EXEC_ROOT)
    options.pidfile = options.pidfile or f"{options.exec_root}/onggi.pid"
    options.log_level = options.log_level or "info"
    return options


_FILE_KEYS = {"hosts": "host", "data-root": "data_root", "exec-root": "exec_root", "pidfile": "pidfile", "bip": "bip"}
_FILE_KEYS |= {
    "mtu": "mtu",
    "group": "group",
    "log-level": "log_level",
    "default-address-pools": "default_address_pool",
    "registry-mirrors": "registry_mirror",
    "insecure-registries": "insecure_registry",
    "max-concurrent-downloads": "max_concurrent_downloads",
}


def _from_file(options: argparse.Namespace) -> None:
    if not options.config_file:
        return
    try:
        found: dict[str, Any] = json.loads(Path(options.config_file).read_bytes())
    except OSError as error:
        raise Invalid("read", options.config_file, error.strerror or str(error)) from error
    except ValueError as error:
        raise Invalid("read", options.config_file, f"not JSON: {error}") from error
    for key, value in found.items():
        if key not in _FILE_KEYS:
            raise Unsupported("read", options.config_file, f"the option {key!r} is not supported")
        name = _FILE_KEYS[key]
        if getattr(options, name):
            cause = f"{key} is given as a flag and in the configuration file"
            raise Invalid("read", options.config_file, cause)
        if key == "default-address-pools":
            value = [f"base={pool['base']},size={pool['size']}" for pool in value]
        setattr(options, name, value)


async def _run(options: argparse.Namespace) -> None:
    if os.geteuid() != 0:
        raise Unsupported("start", "engine", "it needs root", hint="sudo onggi engine")
    os.umask(0o022)  # what a container reads, /etc/hosts say, must not depend on who started the engine
    instance = Instance(_root(options.data_root), _root(options.exec_root))
    pools: tuple[AddressPool, ...] = tuple(AddressPool.parse(text) for text in options.default_address_pool or ())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as undo:
        _lock(instance, undo)
        engine = Engine(
            Settings(instance, options.bip or "", pools or DEFAULT_POOLS, options.mtu or 1500, _registries(options))
        )
        await engine.start()
        undo.push_async_callback(engine.stop)
        listeners = [_listen(host, options.group, undo) for host in options.host]
        _write_pid(options.pidfile, undo)
        await _serve(engine, listeners, stop)


def _registries(options: argparse.Namespace) -> registries.Settings:
    downloads = options.max_concurrent_downloads or 3
    if downloads < 1:
        raise Invalid("start", "engine", f"invalid max concurrent downloads: {downloads}")
    mirrors, insecure = options.registry_mirror or (), options.insecure_registry or ()
    return registries.Settings(Options(tuple(mirrors), tuple(insecure)), downloads)


def _root(path: str) -> Path:
    return Path(os.path.realpath(path))


def _lock(instance: Instance, undo: contextlib.AsyncExitStack) -> None:
    """One engine for one data root."""
    instance.prepare()
    lock = undo.enter_context((instance.data_root / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict("start", str(instance.data_root), "another engine has this data root") from error


def _listen(host: str, group: str | None, undo: contextlib.AsyncExitStack) -> socket.socket:
    """A unix socket that only root and the group may use: DESIGN §5, rule 10."""
    kind, _, path = host.partition("://")
    if kind != "unix" or not path:
        raise Unsupported("listen on", host, "only unix:// is supported yet")
    if len(os.fsencode(path)) > 107:
        raise Invalid("listen on", host, "a unix socket's path holds 107 bytes")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError as error:
        raise Invalid("listen on", host, error.strerror or str(error)) from error
    finally:
        os.umask(mask)
    os.chown(path, 0, _group_id(group))
    os.chmod(path, 0o660)
    inode = os.stat(path).st_ino
    undo.callback(_remove_own, path, inode)
    return listener


def _remove_dead(path: str) -> None:
    """A socket that a killed engine left; one that answers, or anything else with that name, is not ours to remove."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise Conflict("listen on", path, "something else has this name")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            os.unlink(path)
            return
    raise Conflict("listen on", path, "another engine listens there")


def _remove_own(path: str, inode: int) -> None:
    with contextlib.suppress(FileNotFoundError):  # somebody cleared it away before us
        if os.stat(path).st_ino == inode:
            os.unlink(path)


def _group_id(name: str | None) -> int:
    try:
        return grp.getgrnam(name or _GROUP).gr_gid
    except KeyError as error:
        if name:
            raise Invalid("give the socket to", name, "no such group") from error
        return 0


def _write_pid(path: str, undo: contextlib.AsyncExitStack) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"{os.getpid()}\n")
    undo.callback(Path(path).unlink, missing_ok=True)


async def _serve(engine: Engine, listeners: list[socket.socket], stop: asyncio.Event) -> None:
    shield = Shield()
    routes = [*docker_routes(engine, shield), *_glass(engine)]
    serving = asyncio.create_task(Server(Router(routes)).serve(*listeners))
    gc.freeze()  # what is loaded now stays; the collector need not look at it again
    await asyncio.sleep(0)
    _say_ready()
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await shield.settle(_SETTLE_SECONDS)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):  # we cancelled it ourselves
        await serving


def _glass(engine: Engine) -> list[Route]:
    """The glass's routes, as the API's server takes them."""

    def route(answer: Answer) -> Handler:
        async def handler(request: Request) -> Reply:
            return json_response(await answer(request))

        return handler

    return [(method, path, route(answer)) for method, path, answer in glass_routes(engine)]


def _say_ready() -> None:
    """Tell whoever started us, over the descriptor that ONGGI_READY_FD names."""
    number = os.environ.pop("ONGGI_READY_FD", "")
    if number.isdigit():
        with contextlib.suppress(OSError):  # nobody waits any more
            os.write(int(number), b"1")
        os.close(int(number))


if __name__ == "__main__":
    sys.exit(main())
