"""Steps for `linux.intelRdt`: a class of service, and a monitoring group. Loaded with a plan that has one only.

You come from `plan`; read next: `kernel/resctrl`.
"""

from __future__ import annotations

from onggi.errors import StartFailed
from onggi.kernel import resctrl as kernel
from onggi.runtime.request import ServiceClass
from onggi.runtime.steps import Context
from onggi.values import dataclass


@dataclass(frozen=True, slots=True)
class MakeClass:
    """In the keeper: the class with what it may use, and the container's monitoring group within it."""

    service: ServiceClass
    why: str

    def describe(self) -> str:
        service = self.service
        words = [f"mkdir -p {service.directory}"] if service.made else []
        words += [f"echo '{line}' > {service.directory}/schemata" for line in service.schemata.splitlines()]
        words += [f"mkdir {service.monitor}"] if service.monitor else []
        return "; ".join(words) or f"cd {service.directory}"

    def apply(self, context: Context) -> None:
        service = self.service
        if service.made:
            kernel.make(service.top, service.directory)
        elif service.schemata and not kernel.agree(service.schemata, kernel.schemata(service.directory)):
            cause = "the class exists with other schemata than linux.intelRdt asks for"
            raise StartFailed(
                "use class of service", service.directory, cause, hint=f"cat {service.directory}/schemata"
            )
        if service.made and service.schemata:
            kernel.write(service.top, service.directory, "schemata", service.schemata)
        if service.monitor:
            kernel.make(service.top, service.monitor)


@dataclass(frozen=True, slots=True)
class JoinClass:
    """Belong to the class, with all that is forked from here on."""

    service: ServiceClass
    why: str

    def describe(self) -> str:
        return "; ".join(f"echo $$ > {directory}/tasks" for directory in _joined(self.service))

    def apply(self, context: Context) -> None:
        for directory in _joined(self.service):
            kernel.write(self.service.top, directory, "tasks", "0")


def _joined(service: ServiceClass) -> tuple[str, ...]:
    """A monitoring group takes only tasks of its class."""
    return (service.directory, service.monitor) if service.monitor else (service.directory,)
