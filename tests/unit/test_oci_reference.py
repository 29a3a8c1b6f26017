"""`oci/reference` and `oci/digest`: what Docker understands under a name, and how it refuses one."""

from __future__ import annotations

import pytest

from onggi.errors import Invalid
from onggi.oci.digest import Digest, chain_ids
from onggi.oci.reference import Reference

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("library/x", "docker.io/library/x:latest", "x:latest"),
        ("docker.io/x", "docker.io/library/x:latest", "x:latest"),
        ("index.docker.io/x", "docker.io/library/x:latest", "x:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest", "ghcr.io/a/b/c:latest"),
        ("HOST/x", "HOST/x:latest", "HOST/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest", "a__b/c-d.e:latest"),
        ("x:5000", "docker.io/library/x:5000", "x:5000"),
        (f"x@{SHA}", f"docker.io/library/x@{SHA}", f"x@{SHA}"),
        (f"x:1@{SHA}", f"docker.io/library/x:1@{SHA}", f"x:1@{SHA}"),
    ],
)
def test_a_name_is_normalised_as_docker_does(text: str, full: str, familiar: str) -> None:
    """The full name is what registries use, the familiar one what people see."""
    reference = Reference.parse(text).with_default_tag()
    assert (str(reference), reference.familiar()) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "invalid reference format"),
        ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
        ("a/B:x", "invalid reference format: repository name (a/B) must be lowercase"),
        ("x:", "invalid reference format"),
        ("x:-a", "invalid reference format"),
        ("x:" + "a" * 129, "invalid reference format"),
        ("-x", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("x@sha256:abc", "invalid reference format"),
        ("x\n", "invalid reference format"),
        ("x/", "invalid reference format"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_bad_syntax_is_refused_in_dockers_words(text: str, cause: str) -> None:
    """The cause is the sentence that Docker's client shows."""
    with pytest.raises(Invalid) as caught:
        Reference.parse(text)
    assert caught.value.cause == cause


@pytest.mark.parametrize("text", ["busybox", "a/b:c", "h.io:1/x", f"x@{SHA}"])
def test_the_familiar_form_parses_to_the_same(text: str) -> None:
    """What people see can be typed again."""
    reference = Reference.parse(text)
    assert Reference.parse(reference.familiar()) == Reference.parse(str(reference)) == reference


def test_a_digest_keeps_its_parts() -> None:
    """Algorithm, digits, the short form for people."""
    digest = Digest.parse(SHA)
    assert (digest.algorithm, digest.hex, digest.short, str(digest)) == ("sha256", "a" * 64, "a" * 12, SHA)


def test_sha512_is_a_digest_too() -> None:
    """The OCI spec registers two algorithms."""
    assert Digest.parse(str(Digest.of(b"x", "sha512"))).algorithm == "sha512"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "invalid checksum digest format"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("sha256:" + "a" * 63, "invalid checksum digest length"),
        ("sha1:" + "a" * 40, "unsupported digest algorithm"),
        ("sha256:" + "a" * 62 + "/.", "invalid checksum digest format"),
        ("sha256:../../../etc/passwd", "invalid checksum digest format"),
    ],
)
def test_no_other_text_is_a_digest(text: str, cause: str) -> None:
    """A digest becomes a file name, so nothing but hexadecimal digits of the right number passes."""
    with pytest.raises(Invalid) as caught:
        Digest.parse(text)
    assert caught.value.cause == cause


def test_the_chain_id_of_one_layer_is_its_diff_id() -> None:
    """And each further one hashes the chain below with the layer's own (OCI image spec)."""
    a, b = Digest.of(b"a"), Digest.of(b"b")
    assert chain_ids([a, b]) == (a, Digest.of(f"{a} {b}".encode()))
