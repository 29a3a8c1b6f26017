"""Our short way through the C half of `json` gives what `json` gives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.cli.document import dumps, loads

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_what_we_write_reads_back(value: object) -> None:
    """Any value of JSON survives our writer and the library's reader, and the other way round."""
    assert json.loads(dumps(value)) == value
    assert loads(json.dumps(value, indent=1)) == value
    assert loads(dumps(value).encode("utf-8", "surrogatepass")) == value


def test_it_is_written_as_docker_writes_it() -> None:
    """One line, no blanks, nothing escaped that need not be."""
    assert dumps({"a": [1, True, None, "<ü>\n"]}) == '{"a":[1,true,null,"<ü>\\n"]}'


@pytest.mark.parametrize("text", ["", "{", '{"a":}', "[1,]", "nul", "1 2", "{'a':1}", '"\n"', b"\xff"])
def test_what_is_no_json_is_an_error(text: str | bytes) -> None:
    """Half a document, two documents, or something else is refused."""
    with pytest.raises(ValueError, match=r".*"):
        loads(text)
