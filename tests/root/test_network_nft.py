"""`Nft` against the kernel, by the library and by the command."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from network_world import Namespace
from onggi.errors import KernelError, Unavailable
from onggi.kernel.nft import Nft

pytestmark = pytest.mark.root
_NO_LIBRARY = "libnftables-that-is-not-there.so.1"


@pytest.fixture(params=["library", "command"])
def nft(request: pytest.FixtureRequest) -> Iterator[Nft]:
    """Both ways to run a transaction, in a namespace of the test's own."""
    namespace = Namespace()
    with namespace.inside():
        one = Nft() if request.param == "library" else Nft(library=_NO_LIBRARY)
        yield one
        one.close()
    namespace.close()


def test_what_was_made_is_listed(nft: Nft) -> None:
    """A table with a dash in its name, as instances have it, comes back."""
    nft.run("add table inet onggi-0123abcd")
    assert nft.run("list tables") == "table inet onggi-0123abcd\n"


def test_a_transaction_is_done_as_a_whole_or_not_at_all(nft: Nft) -> None:
    """When the second command fails, the first has not happened; the error has nft's errno."""
    with pytest.raises(KernelError, match=r"add rule inet nope x accept|transaction of 2 lines") as caught:
        nft.run("add table inet mine\nadd rule inet nope x accept")
    assert caught.value.errno == errno.ENOENT
    assert nft.run("list tables") == ""


def test_bad_syntax_is_an_error_with_nfts_own_words(nft: Nft) -> None:
    """What nft cannot read is EINVAL, with the place and the reason."""
    with pytest.raises(KernelError, match="syntax error") as caught:
        nft.run("add tabel inet mine")
    assert caught.value.errno == errno.EINVAL


def test_an_error_names_its_command(nft: Nft) -> None:
    """A transaction of one command is shown in its error."""
    with pytest.raises(KernelError, match="nft `delete table inet nope`: No such file or directory"):
        nft.run("delete table inet nope")


def test_an_error_does_not_stick(nft: Nft) -> None:
    """After a failure the next transaction works, and reports only itself."""
    with pytest.raises(KernelError):
        nft.run("nonsense")
    nft.run("add table inet mine")
    assert nft.run("list tables") == "table inet mine\n"


def test_without_library_and_command_the_error_says_what_to_install() -> None:
    """Neither there: unavailable, with a hint."""
    nft = Nft(library=_NO_LIBRARY, command="nft-that-is-not-there")
    with pytest.raises(Unavailable) as caught:
        nft.run("list tables")
    assert "nftables" in caught.value.hint
