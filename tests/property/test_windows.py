"""Windows tile any session, keep their bounds, and are cut in silence where possible."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.rows.windows import WindowPlan, plan_windows
from sca.spans import merge_spans

CHUNK = 5120
PLAN = WindowPlan(min_chunks=63, max_chunks=187, max_segments=8, min_silence=CHUNK, chunk_samples=CHUNK, lead=1)


@st.composite
def sides(draw):
    """Draw the number of chunks of a session and the unit spans of two speakers, sometimes with long pauses."""

    def side():
        at, spans = 0, []
        for length, pause in draw(
            st.lists(st.tuples(st.integers(800, 400_000), st.integers(8_000, 120_000)), max_size=40)
        ):
            spans.append((at + pause, at + pause + length))
            at += pause + length
        return spans

    speaker, other = side(), side()
    end = max([e for _, e in speaker + other] + [CHUNK])
    return -(-end // CHUNK), speaker, other


@given(sides())
def test_windows_tile_the_session_and_keep_their_length(drawn):
    n_chunks, speaker, other = drawn
    windows = plan_windows(n_chunks, speaker, speaker, other, PLAN)
    assert windows[0].first == 0
    assert windows[-1].last == n_chunks
    assert all(a.last == b.first for a, b in pairwise(windows))
    assert all(0 < w.last - w.first <= PLAN.max_chunks for w in windows)


@given(sides())
def test_cuts_without_a_flag_are_silent_on_both_sides(drawn):
    n_chunks, speaker, other = drawn
    speech = merge_spans([*speaker, *other])
    windows = plan_windows(n_chunks, speaker, speaker, other, PLAN)
    for window, after in pairwise(windows):
        if not set(window.flags) & set(after.flags):
            at = window.last * CHUNK
            before = max((e for _, e in speech if e <= at), default=-CHUNK)
            behind = min((s for s, _ in speech if s >= at), default=at + CHUNK)
            assert behind - before >= PLAN.min_silence
            assert not any(s < at < e for s, e in speech)


@given(sides())
def test_windows_keep_the_number_of_segments(drawn):
    n_chunks, speaker, other = drawn
    for window in plan_windows(n_chunks, speaker, speaker, other, PLAN):
        began = sum(window.first * CHUNK <= start < window.last * CHUNK for start, _ in speaker)
        assert began <= PLAN.max_segments


@given(sides())
def test_a_session_that_fits_is_one_window(drawn):
    n_chunks, speaker, other = drawn
    whole = WindowPlan(10**6, 10**6, None, CHUNK, CHUNK, 1)
    assert [(w.first, w.last) for w in plan_windows(n_chunks, speaker, speaker, other, whole)] == [(0, n_chunks)]


@given(sides())
def test_windows_with_few_turns_cannot_be_joined(drawn):
    """A window has three turns if possible: joined with its neighbour it would be too long or have too many segments."""
    n_chunks, speaker, other = drawn
    plan = replace(PLAN, min_turns=3)
    windows = plan_windows(n_chunks, speaker, speaker, other, plan)

    def turns(first, last, spans):
        return sum(first * CHUNK <= start < last * CHUNK for start, _ in spans)

    for a, b in pairwise(windows):
        if turns(a.first, a.last, speaker + other) < 3 or turns(b.first, b.last, speaker + other) < 3:
            too_long = b.last - a.first > plan.max_chunks
            assert too_long or turns(a.first, b.last, speaker) > plan.max_segments


@given(sides())
def test_short_windows_cannot_be_joined(drawn):
    """A window has the minimum length if possible: joined with its neighbour it would be too long or have too many segments."""
    n_chunks, speaker, other = drawn
    windows = plan_windows(n_chunks, speaker, speaker, other, PLAN)

    def began(first, last):
        return sum(first * CHUNK <= start < last * CHUNK for start, _ in speaker)

    for a, b in pairwise(windows):
        if min(a.last - a.first, b.last - b.first) < PLAN.min_chunks:
            assert b.last - a.first > PLAN.max_chunks or began(a.first, b.last) > PLAN.max_segments
