"""Whom we believe by TLS: the machine's authorities, and what `certs.d/<host[:port]>/` has for one registry.

    *.crt   authorities, besides the machine's own
    *.cert  a certificate of ours, whose key is the *.key beside it

Reading them takes time, so this is done off the event loop. Caller: `transport`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from onggi.errors import Invalid


def context(authority: str, directories: Iterable[Path], *, insecure: bool) -> ssl.SSLContext:
    """The TLS settings for one registry; Invalid names the file that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        _load_machines(made)
    for directory in directories:
        _load(made, directory / authority)
    return made


def _load_machines(made: ssl.SSLContext) -> None:
    made.load_default_certs()


def _load(made: ssl.SSLContext, directory: Path) -> None:
    try:
        files = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Invalid("read certificates", str(directory), error.strerror or str(error)) from None
    for file in files:
        try:
            if file.suffix == ".crt":
                made.load_verify_locations(cafile=file)
            elif file.suffix == ".cert":
                made.load_cert_chain(file, _key_of(file))
            elif file.suffix == ".key" and not file.with_suffix(".cert").exists():
                raise Invalid(
                    "use key", str(file), f"missing client certificate {file.with_suffix('.cert').name} for it"
                )
        except (OSError, ssl.SSLError) as error:
            cause = getattr(error, "reason", None) or error.strerror or str(error)
            raise Invalid("use certificate", str(file), str(cause).lower().replace("_", " ")) from None


def _key_of(certificate: Path) -> Path:
    key = certificate.with_suffix(".key")
    if not key.exists():
        raise Invalid("use certificate", str(certificate), f"missing key {key.name} for it")
    return key
