"""Which proxy stands between us and a URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, read as Go's programs read them. Pure.

Loopback is never reached through a proxy. NO_PROXY lists hosts (which mean their subdomains too), `.domains` (only those),
addresses, networks in CIDR notation, each perhaps with a port, or `*`. Caller: `transport`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from onggi.errors import Unsupported

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str:
    """The proxy's URL, empty for none; Unsupported for a proxy that speaks something else than HTTP."""
    parts = urlsplit(url)
    name = f"{parts.scheme}_proxy"
    proxy = environment.get(name.upper()) or environment.get(name, "")
    if not proxy or _direct(parts.hostname or "", parts.port or _PORTS[parts.scheme], _no_proxy(environment)):
        return ""
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in _PORTS:
        hint = "unset it for the engine, or name a proxy that speaks HTTP"
        raise Unsupported("use proxy", proxy, "only http:// and https:// proxies are supported", hint=hint)
    return proxy


def _no_proxy(environment: Mapping[str, str]) -> list[str]:
    listed = environment.get("NO_PROXY") or environment.get("no_proxy", "")
    return [entry.strip().lower() for entry in listed.split(",") if entry.strip()]


def _direct(host: str, port: int, exceptions: list[str]) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(host, address, port, entry) for entry in exceptions)


def _matches(host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:  # as in Go, what cannot be read excepts nothing
            return False
    name, wanted = _port_of(entry)
    if wanted and wanted != str(port):
        return False
    if (listed := _address(name)) is not None:
        return listed == address
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith("." + name)


def _port_of(entry: str) -> tuple[str, str]:
    """(host, port) of an entry; a bare IPv6 address has colons of its own."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, colon, port = entry.partition(":")
    return (entry, "") if ":" in port or not colon else (name, port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
