"""A token server for a real registry: it knows one user, and signs what that user may do. Callers: tests of `registry/`.

The tokens are JWTs with RS256, as distribution's registry wants them; openssl signs.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from harness.registry import PASSWORD, USER
from harness.scripted import Asked, Scripted, answer

REFRESH = "a-refresh-token"


class TokenServer:
    """Gives tokens to `USER`, by password or by `REFRESH`; to others, tokens for reading what is public."""

    def __init__(self, root: Path, *, public: tuple[str, ...] = (), lasts: int = 300) -> None:
        self._key, self._certificate = root / "token.key", root / "token.crt"
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=tokens"]
        files = ["-keyout", str(self._key), "-out", str(self._certificate)]
        subprocess.run([*words, *files], check=True, capture_output=True)
        self._public = public
        self._lasts = lasts
        self.server = Scripted(self._answer)

    @property
    def settings(self) -> dict[str, str]:
        """The registry's `auth.token`."""
        realm = f"http://{self.server.address}/token"
        return {"realm": realm, "service": "test", "issuer": "tests", "rootcertbundle": str(self._certificate)}

    def _answer(self, asked: Asked) -> bytes:
        query = parse_qs(asked.body.decode() if asked.method == "POST" else urlsplit(asked.target).query)
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        known = asked.headers.get("authorization") == basic or query.get("refresh_token") == [REFRESH]
        if not known and (asked.headers.get("authorization") or query.get("refresh_token")):
            return answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]})
        scopes = [scope.split(":") for listed in query.get("scope", []) for scope in listed.split()]
        access = [
            {"type": kind, "name": name, "actions": actions.split(",") if known else ["pull"]}
            for kind, name, actions in scopes
            if known or name in self._public
        ]
        name = "access_token" if asked.method == "POST" else "token"
        fields = {name: self._signed(access), "expires_in": self._lasts, "issued_at": ""}
        return answer(200, fields | ({"refresh_token": REFRESH} if "offline_token" in query else {}))

    def _signed(self, access: Sequence[Mapping[str, object]]) -> str:
        certificate = "".join(self._certificate.read_text().splitlines()[1:-1])
        now = int(time.time())
        claims = {"iss": "tests", "sub": USER, "aud": "test", "exp": now + self._lasts, "nbf": now - 10, "iat": now}
        head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        signed = ".".join(
            _encoded(json.dumps(part).encode()) for part in (head, claims | {"jti": "1", "access": access})
        )
        words = ["openssl", "dgst", "-sha256", "-sign", str(self._key)]
        made = subprocess.run(words, input=signed.encode(), check=True, capture_output=True)
        return f"{signed}.{_encoded(made.stdout)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
