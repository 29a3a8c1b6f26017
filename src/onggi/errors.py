"""The error classes: facts in, text out.

Every storey raises these and only these across its border; none of them knows HTTP or Docker's words. `api/errors`
turns a class into a status and a `code` into Docker's exact sentence; the CLI prints what the API said.
An error crosses a process border as fields (`to_fields`, `from_fields`) and is worded once, at the rim.
Read next: `trace`.
"""

from __future__ import annotations

import errno as errno_names
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar


class OnggiError(Exception):
    """*verb object: cause*, a `hint` where a person can act, and the facts as fields.

    `code` names the sentence (`container.not-found`), so that a rim that owes a client an exact wording can find it.
    """

    kind: ClassVar[str] = "internal"

    def __init__(
        self, verb: str, obj: str, cause: str, *, hint: str = "", code: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(verb, obj, cause)
        self.verb = verb
        self.object = obj
        self.cause = cause
        self.hint = hint
        self.code = code
        self.facts: dict[str, Any] = dict(facts or {})

    def __str__(self) -> str:
        return f"{self.verb} `{self.object}`: {self.cause}" if self.object else f"{self.verb}: {self.cause}"

    def to_fields(self) -> dict[str, Any]:
        """The error as a JSON-able value, for a pipe between two processes."""
        return {
            "kind": self.kind,
            "verb": self.verb,
            "object": self.object,
            "cause": self.cause,
            "hint": self.hint,
            "code": self.code,
            "facts": self.facts,
        }


class Invalid(OnggiError):
    """The request cannot be meant: bad syntax, a bad value, two options that exclude each other."""

    kind = "invalid"


class Unauthorized(OnggiError):
    """The caller did not prove who they are."""

    kind = "unauthorized"


class Forbidden(OnggiError):
    """The caller is known and may not do this."""

    kind = "forbidden"


class NotFound(OnggiError):
    """The named thing does not exist."""

    kind = "not-found"

    @classmethod
    def of(cls, what: str, name: str) -> NotFound:
        """A thing of the sort `what` (container, image, network, volume, exec) that nobody knows."""
        return cls("find", f"{what} {name}", "no such " + what, code=f"{what}.not-found", facts={"name": name})


class Conflict(OnggiError):
    """The thing is in a state, or holds a name, that does not allow this now."""

    kind = "conflict"


class Unchanged(OnggiError):
    """The thing is already as asked; nothing was done."""

    kind = "unchanged"


class Unsupported(OnggiError):
    """Onggi does not do this; the option is named."""

    kind = "unsupported"


class Unavailable(OnggiError):
    """Something that this needs is not there now: a kernel feature, a process, the network."""

    kind = "unavailable"


class LimitExceeded(OnggiError):
    """The input or the machine ran over a limit that protects the rest."""

    kind = "limit"


class Corrupt(OnggiError):
    """Data is not what it says it is: a wrong digest, a truncated archive, a layer that leaves its root."""

    kind = "corrupt"


class StartFailed(OnggiError):
    """A container's process could not be started; `facts` name the step, the call and the errno."""

    kind = "start-failed"


class KernelError(OnggiError, OSError):
    """A system call failed: which, on what, with which flags by name.

    It is an OSError too, so that code that handles one errno reads as usual.
    """

    kind = "kernel"

    def __init__(self, call: str, obj: str, errno: int, *, hint: str = "", detail: str = "") -> None:
        reason = os.strerror(errno)
        OnggiError.__init__(
            self,
            call,
            obj,
            f"{reason} ({errno_names.errorcode.get(errno, errno)})" + (f", {detail}" if detail else ""),
            hint=hint,
            facts={"call": call, "errno": errno, "detail": detail},
        )
        self.errno = errno
        self.strerror = reason

    __str__ = OnggiError.__str__


_KINDS: dict[str, type[OnggiError]] = {
    c.kind: c
    for c in (
        OnggiError,
        Invalid,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        Unchanged,
        Unsupported,
        Unavailable,
        LimitExceeded,
        Corrupt,
        StartFailed,
    )
}


def from_fields(fields: Mapping[str, Any]) -> OnggiError:
    """The error that `to_fields` took apart; a kernel error comes back with its errno."""
    if fields.get("kind") == KernelError.kind:
        facts = fields["facts"]
        return KernelError(
            fields["verb"], fields["object"], facts["errno"], hint=fields["hint"], detail=facts.get("detail", "")
        )
    return _KINDS.get(fields.get("kind", ""), OnggiError)(
        fields["verb"],
        fields["object"],
        fields["cause"],
        hint=fields.get("hint", ""),
        code=fields.get("code", ""),
        facts=fields.get("facts"),
    )
