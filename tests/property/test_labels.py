"""Labels agree with a reference that examines every 10 ms of both speakers; stored words convert back to their units."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.storage.records import units_of, word_records

STEP = 160  # 10 ms
FRAMES = 1200


@st.composite
def timelines(draw):
    """Draw the spans of one speaker, in steps, in order and disjoint."""
    at, spans = 0, []
    for pause, length in draw(st.lists(st.tuples(st.integers(1, 150), st.integers(1, 200)), max_size=8)):
        spans.append((at + pause, at + pause + length))
        at += pause + length
    return [span for span in spans if span[1] < FRAMES - 100]


def reference_label(span, n_words, other):
    """Compute the label from one mark per 10 ms of each speaker."""
    speaks = np.zeros(FRAMES, bool)
    began_at = np.full(FRAMES, -1)  # at each moment: the span of the other speaker that began last
    for n, (a, b) in enumerate(other):
        speaks[a:b] = True
        began_at[a:] = n
    start, end = span
    overlap = speaks[start:end].mean()
    last = began_at[start]
    if last < 0:
        return "turn", overlap, None
    stopped = other[last][1]
    offset = start - stopped
    just_spoke = speaks[max(0, start - 20) : start + 1].any() or offset == 20  # now, or up to 0.2 s ago
    speaks_after = speaks[end : end + 51].any()
    if just_spoke and offset <= 20 and speaks_after and end - start <= 100 and n_words <= 3:
        return "backchannel", overlap, offset
    mid_speech = speaks[start : start + 21].all()  # at least 0.2 s of it remain
    if mid_speech and not (speaks[start:end].all() and stopped >= end):
        return "interruption", overlap, offset
    return "turn", overlap, offset


@given(timelines(), timelines(), st.data())
def test_labels_agree_with_the_reference(mine, theirs, data):
    for start, end in mine:
        n_words = data.draw(st.integers(1, 5))
        found = label((start * STEP, end * STEP), n_words, [(a * STEP, b * STEP) for a, b in theirs])
        kind, overlap, offset = reference_label((start, end), n_words, theirs)
        assert (found.kind, found.offset) == (kind, None if offset is None else offset * STEP)
        assert abs(found.overlap - overlap) < 1e-9


pieces = st.tuples(st.text("abc,今天é", min_size=1, max_size=4), st.booleans(), st.integers(0, 9000))


@st.composite
def units(draw):
    found, at = [], 0
    for _ in range(draw(st.integers(0, 5))):
        text, words = "", []
        for piece, space, length in draw(st.lists(pieces, min_size=1, max_size=6)):
            text += " " if space and text else ""
            words.append(UnitWord(piece, len(text), len(text) + len(piece), at, at + length, "given"))
            text += piece
            at += length
        found.append(Unit(text, tuple(words)))
        at += 8000
    return found


@given(units())
def test_stored_words_convert_back_to_units(spoken):
    assert units_of(word_records(spoken)) == spoken
