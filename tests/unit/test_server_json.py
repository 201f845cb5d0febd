"""JSON of clients, and what of it a server repeats."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.infer.server.core.json_input import read_json
from sca.infer.server.core.limits import shortened

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(DOCUMENTS, st.booleans())
def test_reads_every_document(document, ascii_only):
    written = json.dumps(document, ensure_ascii=ascii_only)
    assert read_json(written) == read_json(written.encode()) == document


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        r'"\ud800"',
        r'{"\udfff": 1}',
        r'"\ud83d\ud83d"',
        "[" * 202 + "]" * 202,
        '{"a":' * 100_000,
        "9" * 5000,
        b"\xff",
        b'"\xed\xa0\x80"',
    ],
)
def test_rejects_what_could_fail_later(text):
    with pytest.raises(ValueError, match="column"):
        read_json(text)


def test_echoes_have_at_most_200_characters():
    assert shortened("a" * 200) == "a" * 200
    assert shortened("a" * 201) == "a" * 199 + "…"
