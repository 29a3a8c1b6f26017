"""A registry's refusals as our errors: status, and the codes of the distribution spec's error document. Pure.

The words are the registry's own, as Docker shows them: `manifest unknown: manifest unknown`. Caller: `client`, `auth`.
"""

from __future__ import annotations

import json
from typing import Any

from onggi.errors import Forbidden, Invalid, LimitExceeded, NotFound, OnggiError, Unauthorized, Unavailable

_LONGEST = 300
_KINDS: dict[int, type[OnggiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: LimitExceeded,
}
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another one at the next try."""


def refusal(status: int, body: bytes, verb: str, url: str) -> OnggiError:
    """The error of an answer that is none. `facts` has `status` and the document's `codes`."""
    codes, words = _document(body)
    cause = words or f"the registry answered {status}{_excerpt(body)}"
    kind = _KINDS.get(status, Unavailable)
    code = "registry.limited" if status == 429 else "registry.refused"
    return kind(verb, url, cause, code=code, facts={"status": status, "codes": codes})


def denied(verb: str, url: str) -> OnggiError:
    """The error for somebody who is known, or nobody, and may not; it may as well not be there."""
    cause = "denied: requested access to the resource is denied"
    return Forbidden(verb, url, cause, code="registry.refused", facts={"status": 403, "codes": ["DENIED"]})


def no_manifest(url: str, content_type: str, body: bytes) -> OnggiError:
    """The error of an answer that should be a manifest and is a page, or nothing that we know."""
    cause = f"the registry answered {content_type or 'something without a type'} instead of a manifest{_excerpt(body)}"
    hint = "is this the address of a registry? a portal or a proxy may have answered in its place"
    return Unavailable("read manifest", url, cause, hint=hint, code="registry.no-manifest")


def _document(body: bytes) -> tuple[list[str], str]:
    """The codes and the words of an error document; nothing if it is none."""
    try:
        listed: Any = json.loads(body)["errors"]
        errors = [(str(one.get("code", "")), str(one.get("message", ""))) for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [], ""
    texts = [f"{code.lower().replace('_', ' ')}: {text}" if text else code for code, text in errors]
    return [code for code, _ in errors], "; ".join(texts)[:_LONGEST]


def _excerpt(body: bytes) -> str:
    """The beginning of a text, on one line, so that a person sees who answered."""
    text = " ".join(body[:_LONGEST].decode(errors="replace").split())[:80]
    return f" ({text})" if text.isprintable() and text else ""
