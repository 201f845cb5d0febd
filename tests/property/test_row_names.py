"""Ids of rows as they are printed: no shell acts on them, and they select the row."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.data.duplex.model.row_names import stored_row_id, typed_row_id

NAMES = st.text(st.one_of(st.sampled_from(".>%-:+ $&;'\"()~#!*?|<\\\n\x1b"), st.characters(exclude_categories=["Cs"])))


@given(NAMES)
@settings(max_examples=300)
def test_printed_id_is_read_back_and_plain(name):
    typed = typed_row_id(name)
    assert stored_row_id(typed) == name
    assert typed.isprintable()
    assert not set(typed) & set(" $&;'\"()~#!*?|<>\\`{}[]^=")
    assert not typed.startswith("-")


@given(NAMES, NAMES)
def test_two_ids_never_have_one_spelling(one, other):
    assert (typed_row_id(one) == typed_row_id(other)) is (one == other)


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("D0001_S0001_0:G0002>G0001:000101", "D0001_S0001_0:G0002..G0001:000101"),
        ("S1:G0002+G0003>G0001:000000", "S1:G0002+G0003..G0001:000000"),
        ("my show:Anna>Bo & Co:000000", "my%20show:Anna..Bo%20%26%20Co:000000"),
        ("über:日本>é:000000", "über:日本..é:000000"),
    ],
)
def test_usual_ids_stay_readable(stored, typed):
    assert typed_row_id(stored) == typed
    assert stored_row_id(stored) == stored
    assert not typed.isascii() or shlex.quote(typed.replace("%", "")) == typed.replace("%", "")
