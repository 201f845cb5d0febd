"""Speech joined without its pauses, and times mapped back: nothing is lost, doubled or moved."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.transcription.hallucinations import RecognizedWord, Speech, guard_words
from sca.data.transcription.speech import pack, restore

spans = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 3000)), min_size=1, max_size=20).map(
    lambda pieces: [
        (sum(g + n for g, n in pieces[:i]) + gap, sum(g + n for g, n in pieces[:i]) + gap + length)
        for i, (gap, length) in enumerate(pieces)
    ]
)


@given(spans, st.integers(3000, 9000))
def test_packing_keeps_order_and_maximum_length(speech, most):
    chunks = pack(speech, most)
    assert [span for chunk in chunks for span in chunk] == speech
    assert all(0 < sum(end - start for start, end in chunk) <= most for chunk in chunks)


@given(spans, st.data())
def test_word_inside_one_span_is_restored_exactly(speech, data):
    at = data.draw(st.integers(0, len(speech) - 1))
    start, end = speech[at]
    first = data.draw(st.integers(start, end - 1))
    last = data.draw(st.integers(first + 1, end))
    before = sum(e - s for s, e in speech[:at])
    joined = ((before + first - start) / 16000, (before + last - start) / 16000)
    np.testing.assert_allclose(restore(*joined, speech), (first / 16000, last / 16000), atol=1e-6)


@given(spans, st.floats(0, 10), st.floats(0, 3))
def test_every_word_is_restored_into_speech(speech, start, length):
    low, high = restore(start, start + length, speech)
    assert low <= high
    assert any(s / 16000 - 1e-9 <= low and high <= e / 16000 + 1e-9 for s, e in speech)


@given(spans, st.floats(0, 10), st.floats(0, 3))
def test_segment_times_are_restored_one_by_one(speech, start, length):
    low, high = restore(start, start + length, speech, across=True)
    as_word = restore(start, start + length, speech)
    assert low <= as_word[0] + 1e-9
    assert high >= as_word[1] - 1e-9
    assert low <= high


def test_segment_over_pauses_keeps_its_times():
    speech = [(0, 41_600), (46_400, 62_400), (80_000, 126_400), (126_400, 174_400)]  # 2.6, 1.0, 2.9 and 3.0 s of speech
    assert restore(0.0, 9.3, speech, across=True) == pytest.approx((0.0, 10.7))
    assert restore(2.6, 3.6, speech, across=True) == pytest.approx((2.9, 3.9))


words = st.lists(
    st.tuples(st.sampled_from(["a", "no", "well.", "ha"]), st.floats(0, 0.7), st.floats(0, 0.6)), max_size=30
)


@given(words, spans)
def test_guarded_words_are_ordered_and_have_duration(pieces, speech):
    at, spoken = 0.0, []
    for text, gap, length in pieces:
        spoken.append(RecognizedWord(f" {text}", at + gap, at + gap + length, 0.5))
        at += gap + length
    kept = guard_words(spoken, Speech([(s / 1000, e / 1000) for s, e in speech]), Counter())
    assert all(word.end - word.start >= 0.0189 for word in kept)
    assert all(one.end <= two.start + 1e-9 for one, two in itertools.pairwise(kept))
