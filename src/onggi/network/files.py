"""The three files by which a container knows names: hosts, resolv.conf, hostname. Pure: text in, text out.

Callers: the engine, which writes the results into the container's folder, from where the runtime binds them. Not for
networks that users define: those will have a name server of their own. Read next: `endpoint`. hosts(5), resolv.conf(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from onggi.errors import Invalid

SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"
"""Where systemd-resolved names the real servers when /etc/resolv.conf only names its stub."""

_LOCALHOST = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")
"""What Docker names where the host has no server that a container could reach."""
_STUB = "127.0.0.53"


def hosts(
    hostname: str,
    *,
    domainname: str = "",
    addresses: Sequence[str] = (),
    extra: Sequence[str] = (),
    host_gateway: str = "",
    host_text: str | None = None,
) -> str:
    """The contents of /etc/hosts.

    `addresses` are the container's own, with or without prefix length; `extra` are `--add-host` values
    (`name:address`); `host_gateway` is what `host-gateway` stands for in them; `host_text` is the host's own file where
    the container shares the host's network.
    """
    text = _LOCALHOST if host_text is None else host_text
    if text and not text.endswith("\n"):
        text += "\n"
    for value in extra:
        name, address = _extra_host(value, host_gateway)
        text += f"{address}\t{name}\n"
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    for address in addresses:
        text += f"{address.partition('/')[0]}\t{names}\n"
    return text


def resolv_conf(
    host_text: str,
    *,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    is_host_network: bool = False,
    has_ipv6: bool = False,
) -> str:
    """The contents of /etc/resolv.conf: the host's, with what was asked for in place of it.

    A server on the host's loopback is left out, because in the container that is another loopback, and so is one with
    an IPv6 address where the container has none; when none is left, public ones are named as Docker does. A search list
    of `.` means none. With the host's network the host's servers stay as they are.
    """
    servers = list(dns) or _servers(host_text)
    if not dns and not is_host_network:
        servers = [s for s in servers if _reachable(s, has_ipv6=has_ipv6)] or list(_PUBLIC_SERVERS)
    domains = list(search) or _values(host_text, "search") or _values(host_text, "domain")
    chosen = list(options) or _values(host_text, "options")
    lines = [f"nameserver {server}" for server in servers]
    if domains and domains != ["."]:
        lines.append("search " + " ".join(domains))
    if chosen:
        lines.append("options " + " ".join(chosen))
    return "".join(line + "\n" for line in lines)


def names_only_the_stub(host_text: str) -> bool:
    """Whether the host's resolv.conf names systemd-resolved alone; then `SYSTEMD_RESOLV_CONF` is the one to read."""
    return _servers(host_text) == [_STUB]


def hostname(name: str) -> str:
    """The contents of /etc/hostname."""
    return name + "\n"


def _extra_host(value: str, host_gateway: str) -> tuple[str, str]:
    """`name:address` (or `name=address`) as name and address; the address may be IPv6, in brackets or not."""
    cut = min((at for at in (value.find(":"), value.find("=")) if at > 0), default=0)
    name, address = value[:cut], value[cut + 1 :].removeprefix("[").removesuffix("]")
    if address == "host-gateway" and host_gateway:
        address = host_gateway
    try:
        if not name or any(c.isspace() or c == "#" for c in name):
            raise ValueError("no host name")
        ip_address(address)
    except ValueError as error:
        raise Invalid("add host", value, f"bad format for add-host: {value!r}", hint="NAME:ADDRESS") from error
    return name, address


def _servers(text: str) -> list[str]:
    return [fields[1] for line in text.splitlines() if len(fields := _fields(line)) > 1 and fields[0] == "nameserver"]


def _values(text: str, keyword: str) -> list[str]:
    """What the last line with this keyword says; resolv.conf(5): the last one wins."""
    found = [fields[1:] for line in text.splitlines() if (fields := _fields(line)) and fields[0] == keyword]
    return found[-1] if found else []


def _fields(line: str) -> list[str]:
    return [] if line.lstrip().startswith(("#", ";")) else line.split()


def _reachable(server: str, *, has_ipv6: bool) -> bool:
    try:
        address = ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return not address.is_loopback and (address.version == 4 or has_ipv6)
