"""The cutter of clauses: nothing lost, no dependence on the pieces, abbreviations and numbers kept whole."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.infer.speech.clauses import MAX_UNIT_CHARS, ClauseCutter

TEXTS = st.text(st.sampled_from("abcD 1.,!?;:—…\n\"'。、ü😀") | st.characters(), max_size=900)


def cut(pieces, *, sentences):
    cutter = ClauseCutter(sentences=sentences)
    units = [unit for piece in pieces for unit in cutter.push(piece)]
    return [*units, *cutter.flush()]


@given(TEXTS, st.lists(st.integers(0, 900), max_size=20), st.booleans())
def test_units_are_the_text_however_it_arrives(text, cuts, sentences):
    units = cut([text], sentences=sentences)
    joined = "".join(unit.text for unit in units)
    assert text.startswith(joined)
    assert not text[len(joined) :].strip()
    assert all(text[unit.start_char :].startswith(unit.text) for unit in units)
    assert all(len(unit.text) <= 2 * MAX_UNIT_CHARS + len(text) - len(text.strip()) for unit in units)
    edges = [0, *sorted(min(at, len(text)) for at in cuts), len(text)]
    pieces = [text[first:end] for first, end in pairwise(edges)]
    assert cut(pieces, sentences=sentences) == units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Dr. Smith paid 3.14 dollars, then went home. He came back.",
            ["Dr. Smith paid 3.14 dollars, ", "then went home. ", "He came back."],
        ),
        ("He lives in the U.S.A. now, e.g. in Texas.", ["He lives in the U.S.A. now, ", "e.g. in Texas."]),
        ("Well, yes, of course we can.", ["Well, yes, of course we can."]),
        ("A headline of words\n\nThe text below it.", ["A headline of words\n\n", "The text below it."]),
        ("今日はとても良い天気ですね。明日はどうですか。", ["今日はとても良い天気ですね。", "明日はどうですか。"]),
    ],
)
def test_clauses(text, expected):
    assert [unit.text for unit in cut([text], sentences=False)] == expected


def test_sentences_follow_the_first_clause():
    text = "In the morning, the train leaves. It goes to London, then to Dover. The end."
    expected = ["In the morning, ", "the train leaves. ", "It goes to London, then to Dover. ", "The end."]
    assert [unit.text for unit in cut([text], sentences=True)] == expected


def test_text_without_punctuation_is_cut_at_spaces():
    units = cut(["word " * 200], sentences=True)
    assert max(len(unit.text) for unit in units) <= MAX_UNIT_CHARS
    assert all(unit.text.endswith("word ") for unit in units)
