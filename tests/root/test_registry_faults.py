"""`registry/` against registries that break off, lie, stumble and lead astray."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.utils import formatdate
from typing import TypeVar

import pytest

from harness.registry import free_port
from harness.scripted import Asked, Script, Scripted, answer
from onggi.errors import Corrupt, LimitExceeded, NotFound, OnggiError, Unauthorized, Unavailable, Unsupported
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.registry.client import Repository
from onggi.registry.credentials import NOBODY, Credentials
from onggi.registry.download import download
from onggi.registry.hosts import Options
from onggi.registry.search import search
from onggi.registry.transport import Transport
from onggi.registry.upload import Outcome, upload

pytestmark = pytest.mark.root
T = TypeVar("T")
BLOB = bytes(range(256)) * 40
DIGEST = Digest.of(BLOB)
MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}'


class Kept:
    """A sink in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, data: bytes) -> None:
        self.data += data


def ask(
    server: Scripted,
    work: Callable[[Repository], Awaitable[T]],
    *,
    options: Options | None = None,
    credentials: Credentials = NOBODY,
    environment: dict[str, str] | None = None,
    domain: str = "",
) -> T:
    """Do it with a client of that server."""

    async def body() -> T:
        transport = Transport(options or Options(certificates=()), environment or {})
        try:
            return await work(Repository(transport, domain or server.address, "team/app", credentials))
        finally:
            await transport.close()

    return asyncio.run(body())


def pull(server: Scripted, have: bytes = b"") -> bytes:
    """Fetch the blob."""
    sink = Kept(have)
    ask(server, lambda one: download(one, DIGEST, len(BLOB), sink))
    return sink.data


def ranged(asked: Asked) -> bytes:
    """The blob, or the part of it that was asked for, as a good registry answers."""
    first = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    if not first:
        return answer(200, BLOB)
    return answer(206, BLOB[first:], content_range=f"bytes {first}-{len(BLOB) - 1}/{len(BLOB)}")


@pytest.fixture
def scripted() -> Iterator[Callable[[Script], Scripted]]:
    """Starts servers, and ends them."""
    made: list[Scripted] = []

    def start(script: Script) -> Scripted:
        made.append(Scripted(script))
        return made[-1]

    yield start
    for one in made:
        one.__exit__()


Start = Callable[[Script], Scripted]
HEAD = len(answer(200, BLOB)) - len(BLOB)
CUTS = [0, 1, 12, HEAD // 2, HEAD - 2, HEAD, HEAD + 1, HEAD + len(BLOB) // 2, HEAD + len(BLOB) - 1]


@pytest.mark.parametrize("cut", CUTS)
def test_a_connection_that_is_cut_is_taken_up_again(scripted: Start, cut: int) -> None:
    """In the status line, in a header, between head and body, in the middle, at the last byte: not a byte comes twice."""
    sent: list[int] = []

    def script(asked: Asked) -> bytes | None:
        whole = ranged(asked)
        if not sent:
            sent.append(max(0, cut - HEAD))
            return whole[:cut] or None
        sent.append(len(whole.partition(b"\r\n\r\n")[2]))
        return whole

    assert pull(scripted(script)) == BLOB
    assert sum(sent) == len(BLOB)


def test_a_connection_that_is_cut_at_every_byte_arrives(scripted: Start) -> None:
    """As long as each try brings something, there is another one."""
    step = len(BLOB) // 8

    def script(asked: Asked) -> bytes:
        head, _, body = ranged(asked).partition(b"\r\n\r\n")
        return head + b"\r\n\r\n" + body[:step]

    assert pull(scripted(script)) == BLOB


def test_a_registry_that_never_sends_anything_is_given_up(scripted: Start) -> None:
    """After five tries that brought nothing."""
    server = scripted(lambda asked: None)
    with pytest.raises(Unavailable, match=r"hung up|broke off"):
        pull(server)
    assert 5 <= len(server.asked) <= 25


def test_a_registry_without_ranges_begins_again(scripted: Start) -> None:
    """What we have is skipped over, not stored twice."""
    assert pull(scripted(lambda asked: answer(200, BLOB)), BLOB[:1000]) == BLOB


def test_a_range_that_was_not_asked_for_is_not_taken(scripted: Start) -> None:
    """The bytes would land in the wrong place."""
    server = scripted(lambda asked: answer(206, BLOB[999:], content_range=f"bytes 999-{len(BLOB) - 1}/{len(BLOB)}"))
    with pytest.raises(OnggiError, match=r"the registry sent|where the manifest says"):
        pull(server, BLOB[:1000])


def test_a_range_that_is_refused_is_asked_for_whole(scripted: Start) -> None:
    """416 from who has less than he should, or does not understand."""
    server = scripted(lambda asked: answer(416) if "range" in asked.headers else answer(200, BLOB))
    assert pull(server, BLOB[:1000]) == BLOB


@pytest.mark.parametrize("size", [len(BLOB) - 1, len(BLOB) + 1, 0])
def test_another_length_is_corrupt(scripted: Start, size: int) -> None:
    """Said in the head, so nothing is fetched."""
    with pytest.raises(Corrupt, match=f"has {size} bytes where the manifest says {len(BLOB)}"):
        pull(scripted(lambda asked: answer(200, (BLOB * 2)[:size])))


def test_more_than_was_promised_is_corrupt(scripted: Start) -> None:
    """From who does not say how much he sends."""
    server = scripted(lambda asked: b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + BLOB + b"x")
    with pytest.raises(Corrupt, match="more than"):
        pull(server)


def test_a_short_body_without_a_length_goes_on(scripted: Start) -> None:
    """Nothing but the size in the manifest tells that it is short."""
    answers = [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + BLOB[:77]]
    server = scripted(lambda asked: answers.pop() if answers else ranged(asked))
    assert pull(server) == BLOB


def test_a_web_page_is_no_blob(scripted: Start) -> None:
    """Not even one of the right length."""
    page = b"<html>".ljust(len(BLOB))
    with pytest.raises(Unavailable, match="a web page instead of a blob"):
        pull(scripted(lambda asked: answer(200, page, content_type="text/html; charset=utf-8")))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_registry_that_stumbles_is_asked_again(scripted: Start, status: int) -> None:
    """And with luck it answers."""
    failures = [status] * 2
    server = scripted(lambda asked: answer(failures.pop()) if failures else ranged(asked))
    assert pull(server) == BLOB
    assert not failures


def test_a_registry_that_only_stumbles_is_given_up(scripted: Start) -> None:
    """With what it said."""
    server = scripted(lambda asked: answer(500, b"out of cheese"))
    with pytest.raises(Unavailable, match=r"answered 500 \(out of cheese\)"):
        ask(server, lambda one: one.manifest("1"))
    assert len(server.asked) == 5


@pytest.mark.parametrize("form", ["1", "date"])
def test_who_is_busy_is_waited_for(scripted: Start, form: str) -> None:
    """As long as he says."""
    told = [form]

    def script(asked: Asked) -> bytes:
        if not told:
            return answer(200, MANIFEST, content_type=spec.MANIFEST)
        told.pop()
        return answer(429, retry_after="1" if form == "1" else formatdate(int(time.time()) + 2, usegmt=True))

    begun = time.monotonic()
    assert ask(scripted(script), lambda one: one.manifest("1")).data == MANIFEST
    assert time.monotonic() - begun >= 0.9


def test_who_is_busy_for_long_is_told_about(scripted: Start) -> None:
    """Nobody waits for six hours in front of a prompt."""
    body = {"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."}]}
    server = scripted(lambda asked: answer(429, body, retry_after="21600"))
    with pytest.raises(Unavailable, match="toomanyrequests: You have reached your pull rate limit") as caught:
        ask(server, lambda one: one.manifest("1"))
    assert caught.value.code == "registry.limited"
    assert len(server.asked) == 1


# -- manifests ---------------------------------------------------------------------------------------------------------


def test_a_page_is_no_manifest(scripted: Start) -> None:
    """A portal's, say; it is shown who answered."""
    server = scripted(lambda asked: answer(200, b"<html>Please log in</html>", content_type="text/html"))
    with pytest.raises(Unavailable, match=r"answered text/html instead of a manifest \(<html>Please log in"):
        ask(server, lambda one: one.manifest("1"))


def test_a_manifest_has_the_digest_that_it_was_asked_by(scripted: Start) -> None:
    """And the one that the registry states."""
    server = scripted(lambda asked: answer(200, MANIFEST, content_type=spec.MANIFEST))
    with pytest.raises(Corrupt, match="its bytes have the digest"):
        ask(server, lambda one: one.manifest(str(DIGEST)))
    server = scripted(
        lambda asked: answer(200, MANIFEST, content_type=spec.MANIFEST, docker_content_digest=str(DIGEST))
    )
    with pytest.raises(Corrupt, match="its bytes have the digest"):
        ask(server, lambda one: one.manifest("1"))


def test_a_manifest_without_a_type_says_it_itself(scripted: Start) -> None:
    """Some registries serve it as plain JSON."""
    server = scripted(lambda asked: answer(200, MANIFEST, content_type="application/json"))
    assert ask(server, lambda one: one.manifest("1")).media_type == spec.MANIFEST


def test_schema_1_is_refused_by_name(scripted: Start) -> None:
    """It has no digests that could be checked."""
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    with pytest.raises(Unsupported, match="schema 1"):
        ask(scripted(lambda asked: answer(200, b"{}", content_type=kind)), lambda one: one.manifest("1"))


def test_a_manifest_without_end_is_not_read_to_it(scripted: Start) -> None:
    """Four megabytes are what registries take."""
    with pytest.raises(LimitExceeded):
        ask(
            scripted(lambda asked: answer(200, b" " * (5 << 20), content_type=spec.MANIFEST)),
            lambda one: one.manifest("1"),
        )


# -- redirects ---------------------------------------------------------------------------------------------------------


def test_a_blob_may_lie_elsewhere_and_our_password_stays_here(scripted: Start) -> None:
    """The other host gets the request as it was signed, and no word of who we are."""
    store = scripted(ranged)
    target = f"http://{store.address}/bucket/a%2Fb?X-Signature=a%2Bb%3D"
    server = scripted(
        lambda asked: (
            answer(307, location=target)
            if "authorization" in asked.headers
            else answer(401, www_authenticate='Basic realm="x"')
        )
    )
    sink = Kept(BLOB[:5])
    ask(server, lambda one: download(one, DIGEST, len(BLOB), sink), credentials=Credentials("kim", "secret"))
    assert sink.data == BLOB
    (asked,) = store.asked
    assert asked.target == "/bucket/a%2Fb?X-Signature=a%2Bb%3D"
    assert "authorization" not in asked.headers
    assert asked.headers["range"] == "bytes=5-"


def test_a_redirect_to_nowhere_is_an_error(scripted: Start) -> None:
    """It names where nobody was."""
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=f"{nowhere}.*connection refused"):
        pull(scripted(lambda asked: answer(302, location=f"http://{nowhere}/x")))


def test_redirects_in_a_round_end(scripted: Start) -> None:
    """Some time."""
    with pytest.raises(Unavailable, match="more than 10 redirects"):
        pull(scripted(lambda asked: answer(302, location=asked.target)))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/", "http:///x", "//"])
def test_a_redirect_leads_to_a_web_address_only(scripted: Start, target: str) -> None:
    """Nothing else is opened."""
    with pytest.raises(OnggiError):
        pull(scripted(lambda asked: answer(302, location=target)))


# -- tokens ------------------------------------------------------------------------------------------------------------


def challenge(realm: str) -> bytes:
    """A 401 that wants a token."""
    return answer(401, www_authenticate=f'Bearer realm="{realm}",service="s",scope="repository:team/app:pull"')


@pytest.mark.parametrize("body", [b"<html>", {"nothing": 1}, {"token": ""}, {"token": 5}, {"token": "a\nb"}, []])
def test_an_answer_without_a_token_is_corrupt(scripted: Start, body: object) -> None:
    """Whatever else it is."""
    tokens = scripted(lambda asked: answer(200, body))
    with pytest.raises(Corrupt, match="get token"):
        ask(scripted(lambda asked: challenge(f"http://{tokens.address}/t")), lambda one: one.manifest("1"))


def test_a_token_that_does_not_help_is_the_end(scripted: Start) -> None:
    """It is not asked for again and again."""
    tokens = scripted(lambda asked: answer(200, {"token": "t"}))
    server = scripted(lambda asked: challenge(f"http://{tokens.address}/t"))
    with pytest.raises(Unauthorized):
        ask(server, lambda one: one.manifest("1"))
    assert (len(server.asked), len(tokens.asked)) == (2, 1)


def test_a_token_that_ran_out_is_replaced(scripted: Start) -> None:
    """In the middle of a download too."""
    given: list[str] = []

    def token(asked: Asked) -> bytes:
        given.append(f"t{len(given) + 1}")
        return answer(200, {"access_token": given[-1]})

    tokens = scripted(token)

    def script(asked: Asked) -> bytes:
        wanted = "t1" if asked.headers.get("range") is None else "t2"
        if asked.headers.get("authorization") != f"Bearer {wanted}":
            return challenge(f"http://{tokens.address}/t")
        return ranged(asked)[: HEAD + 100] if wanted == "t1" else ranged(asked)

    assert pull(scripted(script)) == BLOB
    assert given == ["t1", "t2"]


def test_the_password_goes_to_no_strange_place(scripted: Start) -> None:
    """A realm that is no web address is none."""
    with pytest.raises(Corrupt, match="names no realm"):
        ask(scripted(lambda asked: challenge("ldap://x")), lambda one: one.manifest("1"))
    with pytest.raises(Unsupported, match="unknown here: negotiate"):
        ask(scripted(lambda asked: answer(401, www_authenticate="Negotiate")), lambda one: one.manifest("1"))


# -- ways --------------------------------------------------------------------------------------------------------------


def test_a_name_that_nobody_has(scripted: Start) -> None:
    """Is said so, at once."""
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=r"lookup nope\.invalid: no such host"):
        ask(scripted(ranged), lambda one: one.manifest("1"), domain="nope.invalid")
    assert time.monotonic() - begun < 10


def test_mirrors_come_first_and_only_help(scripted: Start) -> None:
    """What a mirror lacks, another has; our password is for none of them."""
    empty = scripted(lambda asked: answer(404))
    broken = scripted(lambda asked: None)
    full = scripted(lambda asked: answer(200, MANIFEST, content_type=spec.MANIFEST))
    mirrors = tuple(f"http://{one.address}{path}" for one, path in ((empty, ""), (broken, ""), (full, "/hub/")))
    found = ask(
        full,
        lambda one: one.manifest("1"),
        domain="docker.io",
        options=Options(mirrors=mirrors, certificates=()),
        credentials=Credentials("kim", "secret"),
    )
    assert found.data == MANIFEST
    assert [asked.target for asked in full.asked] == ["/hub/v2/team/app/manifests/1"]
    assert not any("authorization" in asked.headers for one in (empty, broken, full) for asked in one.asked)


def test_a_proxy_is_asked_for_what_is_not_here(scripted: Start) -> None:
    """With its own password, and the whole address."""
    proxy = scripted(lambda asked: answer(200, MANIFEST, content_type=spec.MANIFEST))
    options = Options(insecure=("far.example:80",), certificates=())
    environment = {"http_proxy": f"http://me:word@{proxy.address}", "HTTPS_PROXY": f"http://127.0.0.1:{free_port()}"}
    found = ask(proxy, lambda one: one.manifest("1"), domain="far.example:80", options=options, environment=environment)
    assert found.data == MANIFEST
    assert proxy.asked[0].target == "http://far.example/v2/team/app/manifests/1"
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6d29yZA=="


def test_search_is_the_first_registrys(scripted: Start) -> None:
    """Name, description, stars."""
    results = {"results": [{"name": "x", "description": "y", "star_count": 3, "is_official": True, "more": 1}]}
    server = scripted(lambda asked: answer(200, results))

    async def body() -> list[str]:
        transport = Transport(Options(certificates=()), {})
        try:
            found = await search(transport, server.address, "a b/&", 5, Credentials("kim", "secret"))
            return [f"{one.name} {one.description} {one.star_count} {one.is_official}" for one in found]
        finally:
            await transport.close()

    assert asyncio.run(body()) == ["x y 3 True"]
    assert server.asked[0].target == "/v1/search?q=a%20b%2F%26&n=5"


# -- pushing -----------------------------------------------------------------------------------------------------------


class Shelf:
    """A registry's uploads, with one fault: what a test makes of the `n`th request that carries bytes."""

    def __init__(self, fault: Callable[[int, Asked], bytes | str | None]) -> None:
        self.fault = fault
        self.data = b""
        self.blobs: dict[str, bytes] = {}
        self.carried = 0

    def __call__(self, asked: Asked) -> bytes | None:
        """Answer as the specification says."""
        if asked.method == "HEAD":
            return answer(404)
        if asked.method == "POST":
            self.data = b""
            return answer(202, location="/up/1?state=0")
        if asked.method == "GET":
            return answer(204, location="/up/1?state=again", range=f"0-{len(self.data) - 1}")
        self.carried += 1
        done = self.fault(self.carried, asked)
        if not isinstance(done, str):
            return done
        self.data += asked.body
        if asked.method == "PATCH":
            return answer(202, location=f"/up/1?state={self.carried}", range=f"0-{len(self.data) - 1}")
        self.blobs[asked.target.partition("digest=")[2]] = self.data
        return answer(201)


def push(server: Scripted) -> Outcome:
    """Push the blob in chunks of 3,000 bytes."""

    async def read(offset: int, count: int) -> AsyncIterator[bytes]:
        yield BLOB[offset : offset + count]

    return ask(server, lambda one: upload(one, DIGEST, len(BLOB), read, chunk=3000))


@pytest.mark.parametrize("turn", [1, 2, 4])
@pytest.mark.parametrize("fault", [None, answer(500), answer(404), answer(429)])
def test_an_upload_that_fails_goes_on(scripted: Start, turn: int, fault: bytes | None) -> None:
    """Where the registry is, or from the beginning if it has forgotten all."""
    shelf = Shelf(lambda carried, asked: fault if carried == turn else "go on")
    assert push(scripted(shelf)) == Outcome()
    assert shelf.blobs == {f"sha256%3A{hashlib.sha256(BLOB).hexdigest()}": BLOB}


def test_an_upload_that_is_refused_ends(scripted: Start) -> None:
    """In the registry's words, without another try."""
    body = {"errors": [{"code": "DENIED", "message": "quota exceeded"}]}
    shelf = Shelf(lambda carried, asked: answer(403, body))
    with pytest.raises(OnggiError, match="denied: quota exceeded"):
        push(scripted(shelf))
    assert shelf.carried == 1


def test_a_registry_names_the_place_of_an_upload(scripted: Start) -> None:
    """Or it cannot be begun."""
    server = scripted(lambda asked: answer(404) if asked.method == "HEAD" else answer(202))
    with pytest.raises(Corrupt, match="no place"):
        push(server)


def test_a_refused_push_is_told(scripted: Start) -> None:
    """A manifest that the registry does not want."""
    body = {"errors": [{"code": "MANIFEST_INVALID", "message": "manifest invalid"}]}
    with pytest.raises(OnggiError, match="manifest invalid: manifest invalid"):
        ask(scripted(lambda asked: answer(400, body)), lambda one: one.put_manifest("1", MANIFEST, spec.MANIFEST))
    with pytest.raises(Corrupt, match="another one"):
        ask(
            scripted(lambda asked: answer(201, docker_content_digest=str(DIGEST))),
            lambda one: one.put_manifest("1", MANIFEST, spec.MANIFEST),
        )
    with pytest.raises(NotFound):
        ask(scripted(lambda asked: answer(404)), lambda one: one.manifest("1"))
