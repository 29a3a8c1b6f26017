"""`registry/` against a real registry: what is pushed is there, whoever we have to say that we are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from harness.imagetar import config
from harness.registry import PASSWORD, USER, Registry
from harness.tokens import REFRESH, TokenServer
from onggi.errors import Invalid, NotFound, OnggiError, Unauthorized, Unavailable
from onggi.oci import image as spec
from onggi.oci.digest import Digest
from onggi.registry.client import Repository
from onggi.registry.credentials import NOBODY, Credentials
from onggi.registry.download import download
from onggi.registry.hosts import Options
from onggi.registry.referrers import note_subject, referrers
from onggi.registry.transport import Transport
from onggi.registry.upload import Outcome, Reader, upload

pytestmark = pytest.mark.root
T = TypeVar("T")
KIM = Credentials(USER, PASSWORD)


class Kept:
    """A sink in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, data: bytes) -> None:
        self.data += data


class World:
    """A client of one registry."""

    def __init__(self, registry: Registry, options: Options | None = None, credentials: Credentials = NOBODY) -> None:
        self.registry = registry
        self.options = options or Options(certificates=())
        self.credentials = credentials

    def run(self, work: Callable[[Repository], Awaitable[T]], path: str = "team/app") -> T:
        """Do it in a loop of its own, with no connection left over."""

        async def body() -> T:
            transport = Transport(self.options, {})
            try:
                return await work(Repository(transport, self.registry.address, path, self.credentials))
            finally:
                await transport.close()

        return asyncio.run(body())

    def push(self, data: bytes, path: str = "team/app", sources: tuple[str, ...] = ()) -> Outcome:
        """Push a blob."""
        return self.run(lambda one: upload(one, Digest.of(data), len(data), reader(data), sources), path)

    def pull(self, data: bytes, path: str = "team/app", have: bytes = b"") -> bytes:
        """Fetch the blob that has these bytes' digest."""
        sink = Kept(have)
        self.run(lambda one: download(one, Digest.of(data), len(data), sink), path)
        return sink.data

    def image(self, path: str = "team/app", tag: str = "1", **fields: object) -> bytes:
        """Push an image without layers; its manifest."""
        document = config([])
        self.push(document, path)
        described = spec.Descriptor(spec.CONFIG, str(Digest.of(document)), len(document))
        manifest = msgspec.json.encode(
            {"schemaVersion": 2, "mediaType": spec.MANIFEST, "config": described, "layers": [], **fields}
        )
        self.run(lambda one: one.put_manifest(tag, manifest, spec.MANIFEST), path)
        return manifest


def reader(data: bytes) -> Reader:
    """Gives pieces of `data`."""

    async def read(offset: int, count: int) -> AsyncIterator[bytes]:
        for start in range(offset, offset + count, 1 << 16):
            yield data[start : min(start + (1 << 16), offset + count)]

    return read


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A registry that asks nobody anything, in the clear."""
    made = Registry().start()
    yield World(made)
    made.close()


def test_a_blob_comes_back(world: World) -> None:
    """What was pushed, byte for byte; the second push finds it there."""
    data = os.urandom(300_000)
    assert world.push(data) == Outcome()
    assert world.push(data) == Outcome(there=True)
    assert world.pull(data) == data


def test_an_empty_blob_is_one_too(world: World) -> None:
    """Nothing has a digest like everything else."""
    world.push(b"")
    assert world.run(lambda one: one.has(Digest.of(b"")))
    assert world.pull(b"") == b""


@pytest.mark.parametrize("size", [100_000, 300_000, 345_678])
def test_a_large_blob_goes_in_chunks(world: World, size: int) -> None:
    """The same bytes arrive, whether the last chunk is a short one or not."""
    data = os.urandom(size)
    work = world.run(lambda one: upload(one, Digest.of(data), size, reader(data), chunk=100_000), "team/chunks")
    assert work == Outcome()
    assert world.pull(data, "team/chunks") == data


@pytest.mark.parametrize("have", [1, 1000, 299_999, 300_000])
def test_a_download_goes_on_where_it_stopped(world: World, have: int) -> None:
    """Only what is missing is fetched: a beginning that is wrong stays as it is, which its keeper will notice."""
    data = os.urandom(300_000)
    world.push(data)
    assert world.pull(data, have=bytes(have)) == bytes(have) + data[have:]


def test_a_blob_is_taken_from_a_neighbour(world: World) -> None:
    """By name, without sending it; and sent where the neighbour does not have it either."""
    data, other = os.urandom(1000), os.urandom(1000)
    world.push(data, "team/first")
    assert world.push(data, "team/second", ("team/nope", "team/first")) == Outcome(mounted="team/first")
    assert world.pull(data, "team/second") == data
    assert world.push(other, "team/second", ("team/first",)) == Outcome()


def test_manifests_by_tag_and_digest(world: World) -> None:
    """The bytes are the ones that were pushed, whatever they are asked by."""
    manifest = world.image()
    found = world.run(lambda one: one.manifest("1"))
    assert (found.data, found.media_type) == (manifest, spec.MANIFEST)
    assert world.run(lambda one: one.manifest(str(found.digest))) == found
    resolved = world.run(lambda one: one.resolve("1"))
    assert resolved == spec.Descriptor(spec.MANIFEST, str(found.digest), len(manifest))


def test_what_is_not_there_is_said_in_the_registrys_words(world: World) -> None:
    """A tag, a repository, a blob."""
    world.image()
    with pytest.raises(NotFound, match="manifest unknown: manifest unknown"):
        world.run(lambda one: one.manifest("2"))
    with pytest.raises(NotFound):
        world.run(lambda one: one.manifest("1"), "no/such")
    with pytest.raises(NotFound):
        world.pull(b"nobody has pushed this")


def test_all_tags_are_listed(world: World) -> None:
    """As many as there are."""
    for number in range(3):
        world.image("team/tagged", f"v{number}")
    assert sorted(world.run(lambda one: one.tags(), "team/tagged")) == ["v0", "v1", "v2"]


async def put_referrer(repository: Repository, data: bytes) -> None:
    """Push it as a client does."""
    assert not await repository.put_manifest("x", data, spec.MANIFEST)
    await note_subject(repository, data, spec.MANIFEST)


def test_referrers_without_the_registrys_help(world: World) -> None:
    """This registry knows no referrers: a tag stands in, which several of them share."""
    image = world.image("team/signed")
    subject = spec.Descriptor(spec.MANIFEST, str(Digest.of(image)), len(image))
    for kind in ("a/signature", "an/sbom", "a/signature"):
        manifest = world.image("team/signed", "x", subject=subject, artifactType=kind, annotations={"of": kind})
        world.run(partial(put_referrer, data=manifest), "team/signed")
    found = world.run(lambda one: referrers(one, Digest.of(image)), "team/signed")
    assert [one.artifact_type for one in found] == ["a/signature", "an/sbom"]
    found = world.run(lambda one: referrers(one, Digest.of(image), "an/sbom"), "team/signed")
    assert [one.annotations for one in found] == [{"of": "an/sbom"}]
    assert world.run(lambda one: referrers(one, Digest.of(b"other")), "team/signed") == []


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed() -> Iterator[Registry]:
    """A registry that speaks TLS, with an authority of its own."""
    made = Registry(tls=True).start()
    yield made
    made.close()


def status(registry: Registry, options: Options, *, insecure: bool = False) -> int:
    """The status of `/v2/`."""

    async def body() -> int:
        transport = Transport(options, {})
        try:
            async with await transport.send("GET", f"https://{registry.address}/v2/", insecure=insecure) as answer:
                return answer.status
        finally:
            await transport.close()

    return asyncio.run(body())


def test_an_own_authority_is_believed_for_its_registry(sealed: Registry, tmp_path: Path) -> None:
    """From certs.d, by host and port; in another one's directory it says nothing."""
    for name in (sealed.address, "other:5000"):
        (tmp_path / name.partition(":")[0] / name).mkdir(parents=True)
    (tmp_path / "localhost" / sealed.address / "own.crt").write_bytes(sealed.certificate.read_bytes())
    (tmp_path / "other/other:5000/own.crt").write_bytes(sealed.certificate.read_bytes())
    assert status(sealed, Options(certificates=(tmp_path / "localhost",))) == 200
    with pytest.raises(Unavailable, match="the certificate is not trusted: self-signed certificate"):
        status(sealed, Options(certificates=(tmp_path / "other",)))


def test_an_unknown_certificate_is_for_insecure_registries_only(sealed: Registry) -> None:
    """And this machine's own are insecure ones."""
    assert status(sealed, Options(certificates=()), insecure=True) == 200
    with pytest.raises(Unavailable, match="not trusted") as caught:
        status(sealed, Options(certificates=()))
    assert "certs.d" in caught.value.hint
    assert World(sealed).push(b"over TLS") == Outcome()


@pytest.mark.parametrize("name", ["a.crt", "a.cert", "a.key"])
def test_a_certificate_that_is_none_is_named(sealed: Registry, tmp_path: Path, name: str) -> None:
    """The file, not only that TLS failed."""
    (tmp_path / sealed.address).mkdir()
    (tmp_path / sealed.address / name).write_text("no certificate")
    with pytest.raises(Invalid, match=name):
        status(sealed, Options(certificates=(tmp_path,)))


# -- who we are --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked() -> Iterator[Registry]:
    """A registry that wants a name and a password."""
    made = Registry(password=True).start()
    yield made
    made.close()


def test_a_password_opens(locked: Registry) -> None:
    """With it all works; without it, or with a wrong one, nothing does."""
    world = World(locked, credentials=KIM)
    assert world.push(b"for kim") == Outcome()
    assert world.pull(b"for kim") == b"for kim"
    world.run(lambda one: one.session.ping())
    with pytest.raises(Unauthorized, match="no basic auth credentials"):
        World(locked).pull(b"for kim")
    with pytest.raises(Unauthorized, match="authentication required"):
        World(locked, credentials=Credentials(USER, "wrong")).pull(b"for kim")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, TokenServer]]:
    """A registry that wants tokens, and who gives them."""
    server = TokenServer(tmp_path_factory.mktemp("tokens"), public=("open/to/all",))
    with server.server:
        made = Registry(token=server.settings).start()
        yield made, server
        made.close()


def test_a_token_opens(tokens: tuple[Registry, TokenServer]) -> None:
    """For the password or for an identity token; one token serves for all requests of a kind."""
    registry, server = tokens
    data = os.urandom(1000)
    assert World(registry, credentials=KIM).push(data, "open/to/all") == Outcome()
    before = len(server.server.asked)
    assert World(registry, credentials=KIM).pull(data, "open/to/all") == data
    assert World(registry, credentials=Credentials(identity_token=REFRESH)).pull(data, "open/to/all") == data
    assert World(registry).pull(data, "open/to/all") == data
    assert [asked.method for asked in server.server.asked[before:]] == ["GET", "POST", "GET"]


def test_what_a_token_does_not_allow_is_refused(tokens: tuple[Registry, TokenServer]) -> None:
    """Reading is not writing, and another repository is another one."""
    registry, _ = tokens
    World(registry, credentials=KIM).push(b"secret", "kims/own")
    for work in (
        lambda: World(registry).pull(b"secret", "kims/own"),
        lambda: World(registry).push(b"x", "open/to/all"),
    ):
        with pytest.raises(OnggiError, match=r"authentication required|access to the resource is denied"):
            work()
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        World(registry, credentials=Credentials(USER, "wrong")).pull(b"secret", "kims/own")


def test_a_login_gets_a_refresh_token(tokens: tuple[Registry, TokenServer]) -> None:
    """Which then stands for the password."""
    registry, _ = tokens
    authorizer = World(registry, credentials=KIM).run(lambda one: one.session.ping())
    assert authorizer.refresh_token == REFRESH


def test_mounting_wants_a_token_for_both(tokens: tuple[Registry, TokenServer]) -> None:
    """The scope names the repository that is read as well."""
    registry, _ = tokens
    data = os.urandom(1000)
    world = World(registry, credentials=KIM)
    world.push(data, "kims/first")
    assert world.push(data, "kims/second", ("kims/first",)) == Outcome(mounted="kims/first")
