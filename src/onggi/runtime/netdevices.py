"""Links of the host's that become the container's (`linux.netDevices`). Loaded with such a plan only.

A link that moves to another network namespace loses its addresses; the specification wants those back that were given to
it for good. What becomes of it afterwards is the namespace's matter: hardware comes back to the host when the namespace
ends, the rest ends with it. You come from `plan`; read next: `kernel/netlink`.
"""

from __future__ import annotations

import os

from onggi.errors import Invalid, KernelError, NotFound
from onggi.kernel import process
from onggi.kernel.flags import Clone
from onggi.kernel.netlink import Link, Netlink
from onggi.kernel.rtnetlink import IFNAMSIZ
from onggi.oci.runtime import Spec
from onggi.runtime.steps import Context
from onggi.values import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def steps(spec: Spec) -> Iterator[MoveLink]:
    """One for each device; Invalid for what cannot be meant."""
    network = spec.namespace("network")
    if network is None:
        cause = "unable to move network devices without a NET namespace"
        raise Invalid("move", "linux.netDevices", cause)
    for name, device in spec.net_devices.items():
        inside = (device or {}).get("name") or name
        for given in (name, inside):
            if not _is_name(given):
                raise Invalid("move", "linux.netDevices", f'invalid network device name "{given}"')
        yield MoveLink(name, inside, network.path, "linux.netDevices: the host's link becomes the container's")


def _is_name(name: str) -> bool:
    """dev_valid_name() of the kernel."""
    fits = 0 < len(os.fsencode(name)) < IFNAMSIZ
    return fits and name not in (".", "..") and not any(letter in "/:" or letter.isspace() for letter in name)


@dataclass(frozen=True, slots=True)
class MoveLink:
    """In the keeper: a link of the host's goes into the container's network namespace, with its addresses, and up."""

    name: str
    inside: str
    """Its name there; with %d the kernel counts."""
    network: str
    """The namespace's path; empty: the init's own."""
    why: str

    def describe(self) -> str:
        where = self.network or "$INIT"
        return (
            f"ip link set {self.name} netns {where} name {self.inside}; ip address add …; ip link set {self.inside} up"
        )

    def apply(self, context: Context) -> None:
        path = self.network or f"/proc/{context.child}/ns/net"
        netns = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Netlink() as here, _netlink_in(netns) as there:
                link = here.find_link(self.name)
                if link is None:
                    raise NotFound("move", self.name, "there is no network device of this name")
                if there.find_link(self.inside):  # the kernel would say so when the link has left the host already
                    raise Invalid("move", self.name, f"there is a network device {self.inside} in the container")
                addresses = here.permanent_addresses(link.index)  # before it is down: that ends its IPv6 addresses
                before = {other.index for other in there.links()} if "%" in self.inside else set[int]()
                here.set_link(self.name, up=False)  # a name can be changed then only
                self._move(here, netns)
                there.put_back(self._found(there, before), addresses)
        finally:
            os.close(netns)

    def _move(self, here: Netlink, netns: int) -> None:
        try:
            here.set_link(self.name, new_name=self.inside, netns_fd=netns)
        except KernelError:
            here.set_link(self.name, up=True)  # it stays: as it was, as far as we know
            raise

    def _found(self, there: Netlink, before: set[int]) -> Link:
        if "%" not in self.inside:
            return there.link(self.inside)
        start, end = self.inside.split("%d", 1)
        new = (link for link in there.links() if link.index not in before)
        return next(link for link in new if link.name.startswith(start) and link.name.endswith(end))


def _netlink_in(netns: int) -> Netlink:
    """A socket of another network namespace: it belongs to the one in which it was opened."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        process.setns(netns, Clone.NEWNET)
        try:
            return Netlink()
        finally:
            process.setns(home, Clone.NEWNET)
    finally:
        os.close(home)
