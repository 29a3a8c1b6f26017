"""`store/content`: blobs are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onggi.errors import Corrupt, LimitExceeded, NotFound
from onggi.oci.digest import Digest
from onggi.store.content import Content, write_whole

pytestmark = pytest.mark.root


@pytest.fixture
def content(tmp_path: Path) -> Content:
    """No blobs yet."""
    made = Content(tmp_path)
    made.prepare()
    return made


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_is_found_by_its_digest(content: Content, algorithm: str) -> None:
    """Written in pieces, hashed on the way."""
    with content.ingest(algorithm) as blob:
        blob.write(b"one")
        blob.write(memoryview(b"two"))
        digest = blob.commit(size=6)
    assert digest == Digest.of(b"onetwo", algorithm)
    assert content.read(digest) == b"onetwo"
    assert content.all() == [digest]


@pytest.mark.parametrize("wrong", [{"digest": Digest.of(b"other")}, {"size": 4}])
def test_a_blob_that_is_not_what_was_promised_does_not_land(content: Content, wrong: dict[str, Digest | int]) -> None:
    """Neither with another digest nor with another size."""
    with content.ingest() as blob:
        blob.write(b"abc")
        with pytest.raises(Corrupt):
            blob.commit(**wrong)  # type: ignore[arg-type]
    assert os.listdir(content.blobs / "sha256") == []


def test_a_blob_that_is_not_finished_leaves_nothing(content: Content) -> None:
    """Whatever the reason is."""
    with content.ingest() as blob:
        blob.write(b"abc")
    assert os.listdir(content.blobs / "sha256") == []


def test_a_blob_that_somebody_changed_is_corrupt(content: Content) -> None:
    """Documents are checked each time they are read."""
    digest = content.add(b"abc")
    content.path(digest).write_bytes(b"abd")
    with pytest.raises(Corrupt, match="another digest"):
        content.read(digest)


def test_a_giant_is_no_document(content: Content) -> None:
    """It is not read into memory."""
    with pytest.raises(LimitExceeded):
        content.read(content.add(b"x" * 100), limit=99)


def test_a_missing_blob_is_named(content: Content) -> None:
    """By its digest."""
    with pytest.raises(NotFound, match=str(Digest.of(b"x"))):
        content.open(Digest.of(b"x"))


def test_a_record_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """And a failure to do so leaves the old one and nothing aside."""
    write_whole(tmp_path / "record", b"old")
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "directory", b"new")
    write_whole(tmp_path / "record", b"new")
    assert (tmp_path / "record").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["directory", "record"]
