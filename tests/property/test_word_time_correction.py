"""Corrected word times are in order, whatever the model found."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sca.word_times.correction import Correction, corrected

TIMES = st.lists(st.floats(0, 20), max_size=24).map(lambda times: list(zip(*[iter(sorted(times))] * 2, strict=False)))
SHIFTS = st.floats(-1, 1)


@given(TIMES, TIMES, SHIFTS, SHIFTS, SHIFTS, st.booleans(), SHIFTS, SHIFTS)
def test_times_are_in_order_and_not_negative(words, speech, start_s, end_s, onset_s, at_onsets, letter_s, share):
    correction = Correction(start_s, end_s, onset_s, at_onsets, 0.5, letter_s, -letter_s, share)
    found = corrected(words, speech, correction, [("no", "yes,", "你", "everybody")[n % 4] for n in range(len(words))])
    assert len(found) == len(words)
    assert all(0 <= start <= end for start, end in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))


@given(TIMES, TIMES)
def test_no_correction_changes_nothing(words, speech):
    assert corrected(words, speech, Correction(at_onsets=False)) == words
