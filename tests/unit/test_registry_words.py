"""`registry/`'s pure parts: endpoints, proxies, challenges, credentials, refusals."""

from __future__ import annotations

import base64
import json
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Invalid, LimitExceeded, NotFound, OnggiError, Unauthorized, Unavailable, Unsupported
from onggi.registry.auth import Challenge, challenges, scopes_of
from onggi.registry.credentials import NOBODY, Credentials, from_fields, from_header
from onggi.registry.hosts import Endpoint, Options, account, endpoints, is_insecure
from onggi.registry.proxies import proxy_for
from onggi.registry.refusals import refusal
from onggi.registry.session import retry_after

NONE = Options(certificates=())


def test_the_hub_has_a_host_of_its_own_behind_its_mirrors() -> None:
    """And an account under the name of the first registry."""
    options = Options(mirrors=("https://m.example/hub/", "http://10.0.0.1:5000"), certificates=())
    assert endpoints("docker.io", options) == [
        Endpoint("https", "m.example", "/hub", mirror=True),
        Endpoint("http", "10.0.0.1:5000", insecure=True, mirror=True),
        Endpoint("https", "registry-1.docker.io"),
    ]
    assert endpoints("quay.io", options) == [Endpoint("https", "quay.io")]
    assert (account("docker.io"), account("quay.io")) == ("https://index.docker.io/v1/", "quay.io")


@pytest.mark.parametrize("name", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_this_machine_needs_no_certificate(name: str) -> None:
    """By TLS first, then in the clear."""
    assert [(one.scheme, one.insecure) for one in endpoints(name, NONE)] == [("https", True), ("http", True)]


@pytest.mark.parametrize(
    ("entry", "name", "expected"),
    [
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example:5000", "reg.example", False),
        ("reg.example", "reg.example:5000", True),
        ("10.0.0.0/8", "10.1.2.3:5000", True),
        ("10.0.0.0/8", "11.1.2.3:5000", False),
        ("fd00::/8", "[fd00::5]:443", True),
        ("10.0.0.0/8", "ten.example", False),
    ],
)
def test_an_insecure_registry_is_named(entry: str, name: str, *, expected: bool) -> None:
    """By host, host and port, or network."""
    assert is_insecure(name, Options(insecure=(entry,), certificates=())) is expected


@pytest.mark.parametrize("entry", ["", "a@b", "10.0.0.0/99", "http://x"])
def test_what_is_no_registry_is_refused(entry: str) -> None:
    """At the start, not at the first pull."""
    with pytest.raises(Invalid, match="insecure registry"):
        Options(insecure=(entry,))


@pytest.mark.parametrize("url", ["m.example", "ftp://m.example", "https://u:p@m.example", "https://m.example/?a=b"])
def test_what_is_no_mirror_is_refused(url: str) -> None:
    """It has to be a bare address of the web."""
    with pytest.raises(Invalid, match="registry mirror"):
        Options(mirrors=(url,))


# -- proxies -----------------------------------------------------------------------------------------------------------

BOTH = {"HTTP_PROXY": "http://plain:1", "https_proxy": "sealed:2"}


@pytest.mark.parametrize(
    ("url", "exceptions", "proxy"),
    [
        ("http://a.example/x", "", "http://plain:1"),
        ("https://a.example/x", "", "http://sealed:2"),
        ("https://a.example/x", "*", ""),
        ("https://a.example/x", "example", ""),
        ("https://a.example/x", ".example, b.org", ""),
        ("https://example/x", ".example", "http://sealed:2"),
        ("https://example/x", "EXAMPLE", ""),
        ("https://notexample/x", "example", "http://sealed:2"),
        ("https://a.example:5000/x", "a.example:5000", ""),
        ("https://a.example/x", "a.example:443", ""),
        ("https://a.example/x", "a.example:80", "http://sealed:2"),
        ("https://10.1.2.3/x", "10.0.0.0/8", ""),
        ("https://10.1.2.3/x", "10.1.2.3", ""),
        ("https://10.1.2.3/x", "10.1.2.4,not/a/net", "http://sealed:2"),
        ("https://[fd00::1]:5000/x", "[fd00::1]:5000", ""),
        ("https://[fd00::1]/x", "fd00::1", ""),
        ("http://localhost:5000/x", "", ""),
        ("https://127.0.0.3/x", "", ""),
        ("https://[::1]/x", "", ""),
    ],
)
def test_the_environment_names_the_proxy(url: str, exceptions: str, proxy: str) -> None:
    """And what is reached without one; this machine always is."""
    assert proxy_for(url, BOTH | {"NO_PROXY": exceptions}) == proxy


def test_no_proxy_is_the_default() -> None:
    """Without the variables, or with empty ones."""
    assert proxy_for("https://a.example/", {"HTTPS_PROXY": ""}) == ""


def test_a_proxy_that_speaks_no_http_is_refused() -> None:
    """By name, rather than gone round."""
    with pytest.raises(Unsupported, match="socks5"):
        proxy_for("https://a.example/", {"HTTPS_PROXY": "socks5://x:1080"})


# -- who we are --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['Basic realm="a b"'], [Challenge("basic", {"realm": "a b"})]),
        (["Basic"], [Challenge("basic", {})]),
        (
            ['Bearer realm="https://x/t",service="s",scope="repository:a:pull,push"'],
            [Challenge("bearer", {"realm": "https://x/t", "service": "s", "scope": "repository:a:pull,push"})],
        ),
        (
            ['Negotiate, Basic realm="a", Bearer realm = "b" , error=x'],
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "a"}),
                Challenge("bearer", {"realm": "b", "error": "x"}),
            ],
        ),
        (['BASIC realm="a\\"b"', "Other x=y"], [Challenge("basic", {"realm": 'a"b'}), Challenge("other", {"x": "y"})]),
        (['"junk'], []),
        ([], []),
    ],
)
def test_challenges(values: list[str], expected: list[Challenge]) -> None:
    """As RFC 7235 writes them."""
    assert challenges(values) == expected


@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_challenge_is_too_strange(values: list[str]) -> None:
    """Whatever a server sends, reading it ends."""
    for one in challenges(values):
        assert one.scheme == one.scheme.lower()


def encoded(value: object) -> str:
    """As the docker command does it."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_credentials_come_in_a_header() -> None:
    """In base64 with either alphabet, padded or not; `auth` is name and password in one."""
    fields = {"username": "kim", "password": "a?b>c~\xff:", "serveraddress": "x"}
    kim = Credentials("kim", "a?b>c~\xff:", server="x")
    assert from_header(encoded(fields)) == kim
    assert from_header(encoded(fields).rstrip("=")) == kim
    assert from_header(encoded({"identitytoken": "t"})) == Credentials(identity_token="t")
    assert from_fields({"auth": base64.b64encode(b"kim:pass:word").decode()}) == Credentials("kim", "pass:word")


@pytest.mark.parametrize("text", ["", "e30=", "!!", "W10=", "bnVsbA==", encoded([1]), encoded({"username": 5})])
def test_junk_is_nobody(text: str) -> None:
    """As Docker takes it."""
    assert from_header(text) == NOBODY
    assert not from_header(text)


def test_a_password_is_not_shown() -> None:
    """Not by a log line that prints the value."""
    assert "secret" not in repr(Credentials("kim", "secret", "secret", "secret"))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (404, NotFound),
        (413, LimitExceeded),
        (429, Unavailable),
        (500, Unavailable),
        (418, Unavailable),
    ],
)
def test_a_refusal_has_the_registrys_words(status: int, kind: type[OnggiError]) -> None:
    """Code and message, as Docker puts them."""
    body = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "not here"}, {"code": "X"}]}).encode()
    error = refusal(status, body, "fetch", "u")
    assert type(error) is kind
    assert error.cause == "manifest unknown: not here; X"
    assert error.facts == {"status": status, "codes": ["MANIFEST_UNKNOWN", "X"]}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"errors": 5}', b'{"errors": [5]}', b"\xff\x00", b"[" * 100_000])
def test_a_refusal_without_words_has_its_number(body: bytes) -> None:
    """Whatever else the body is."""
    assert refusal(500, body, "fetch", "u").cause.startswith("the registry answered 500")


@pytest.mark.parametrize(("text", "seconds"), [("5", 5), (" 7 ", 7), ("junk", 1), ("", 1), ("0", 1)])
def test_retry_after(text: str, seconds: float) -> None:
    """Seconds; never less than we would wait anyway."""
    assert retry_after(text, 1.0) == seconds


def test_retry_after_may_be_a_date() -> None:
    """The time until then."""
    assert 900 < retry_after(formatdate(time.time() + 1000, usegmt=True), 1.0) <= 1000


def test_scopes_are_asked_for_once() -> None:
    """Ours, and what the challenge adds."""
    assert scopes_of("repository:a:pull", "repository:a:pull repository:b:pull") == [
        "repository:a:pull",
        "repository:b:pull",
    ]


def test_certificates_lie_where_dockers_do() -> None:
    """And in a place of our own, first."""
    assert Options().certificates == (Path("/etc/onggi/certs.d"), Path("/etc/docker/certs.d"))
