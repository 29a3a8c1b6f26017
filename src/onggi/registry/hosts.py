"""Where a registry answers: the endpoints of a name's domain, in the order in which they are asked. Pure.

`docker.io` is `registry-1.docker.io`, and its mirrors come first. A registry that is insecure, because somebody said so or
because it is this machine, is asked by TLS without looking at its certificate, and then in the clear.
Callers: `engine/registries`, `client`. Read next: `client`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from onggi.errors import Invalid
from onggi.oci.reference import DEFAULT_DOMAIN

HUB = "registry-1.docker.io"
"""The host that answers for `docker.io`."""
HUB_ACCOUNT = "https://index.docker.io/v1/"
"""The name under which credentials for `docker.io` are kept, from the days of the first registry."""
HUB_SEARCH = "index.docker.io"
_LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128")))


@dataclass(frozen=True, slots=True)
class Options:
    """What a machine's owner says about registries."""

    mirrors: tuple[str, ...] = ()
    """URLs of mirrors of docker.io, in order."""
    insecure: tuple[str, ...] = ()
    """`host`, `host:port` or a network in CIDR notation."""
    certificates: tuple[Path, ...] = (Path("/etc/onggi/certs.d"), Path("/etc/docker/certs.d"))
    """Directories with one directory for each `host[:port]`: `*.crt` are authorities, `*.cert` and `*.key` a client's."""

    def __post_init__(self) -> None:
        for url in self.mirrors:
            _mirror(url)
        for entry in self.insecure:
            _check_insecure(entry)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to a registry."""

    scheme: str
    authority: str
    """`host` or `host:port`."""
    path: str = ""
    """What comes before `/v2/`, without a slash at its end."""
    insecure: bool = False
    """Whether its certificate does not matter, or it has none."""
    mirror: bool = False
    """Whether it only stands in for another one: nobody's credentials are for it, and what it lacks others may have."""

    def url(self, path: str) -> str:
        """The URL of `path`, which begins with a slash."""
        return f"{self.scheme}://{self.authority}{self.path}{path}"


def endpoints(domain: str, options: Options) -> list[Endpoint]:
    """The endpoints of a reference's domain."""
    if domain != DEFAULT_DOMAIN:
        return _of_host(domain, options)
    mirrors = [endpoint for url in options.mirrors for endpoint in _of_mirror(url, options)]
    return [*mirrors, Endpoint("https", HUB)]


def is_insecure(authority: str, options: Options) -> bool:
    """Whether the machine's owner trusts this registry without a certificate, or it is this machine."""
    host = urlsplit(f"//{authority}").hostname or ""
    if host == "localhost" or authority in options.insecure or host in options.insecure:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    networks = [ipaddress.ip_network(entry, strict=False) for entry in options.insecure if "/" in entry]
    return any(address in network for network in (*_LOOPBACK, *networks))


def account(domain: str) -> str:
    """The key under which credentials for a domain are kept."""
    return HUB_ACCOUNT if domain == DEFAULT_DOMAIN else domain


def _of_host(authority: str, options: Options) -> list[Endpoint]:
    if not is_insecure(authority, options):
        return [Endpoint("https", authority)]
    return [Endpoint(scheme, authority, insecure=True) for scheme in ("https", "http")]


def _of_mirror(url: str, options: Options) -> list[Endpoint]:
    scheme, authority, path = _mirror(url)
    insecure = scheme == "http" or is_insecure(authority, options)
    return [Endpoint(scheme, authority, path, insecure, mirror=True)]


def _mirror(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Invalid("use registry mirror", url, "it is no URL such as https://mirror.example")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise Invalid("use registry mirror", url, "a mirror's URL has no user, no query and no fragment")
    return parts.scheme, parts.netloc, parts.path.rstrip("/")


def _check_insecure(entry: str) -> None:
    try:
        if "/" in entry:
            ipaddress.ip_network(entry, strict=False)
        elif not urlsplit(f"//{entry}").hostname or "@" in entry:
            raise ValueError("it is no host")
    except ValueError as error:
        raise Invalid("use insecure registry", entry, str(error), hint="name a host, host:port, or a network") from None
