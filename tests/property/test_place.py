"""Properties of placement for any words, leads and capacities."""

from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.rows.placement import Cursor, place_tokens

CHUNK = 5120
starts = st.lists(st.integers(0, 200 * CHUNK), min_size=1, max_size=120).map(sorted)


@st.composite
def units(draw):
    """Draw a few units as word onsets in time order, and a lead."""
    onsets = draw(starts)
    lead = draw(st.integers(0, 3))
    cuts = sorted(draw(st.lists(st.integers(0, len(onsets)), max_size=4)))
    parts = [onsets[a:b] for a, b in zip([0, *cuts], [*cuts, len(onsets)], strict=True)]
    return [p for p in parts if p], lead


@given(units(), st.integers(1, 4), st.integers(0, 2))
def test_keeps_order_capacity_and_every_token(drawn, capacity, pull):
    parts, lead = drawn
    cursor, chunks, wanted_all = Cursor(0), [], []
    for onsets in parts:
        wanted = [max(0, onset // CHUNK - lead) for onset in onsets]
        placed = place_tokens(wanted, cursor, capacity=capacity, pull=pull)
        chunks += placed.chunks
        wanted_all += wanted
        cursor = placed.after
    assert len(chunks) == len(wanted_all)
    assert chunks == sorted(chunks)
    assert max(chunks.count(chunk) for chunk in set(chunks)) <= capacity
    assert all(chunk >= want - pull for chunk, want in zip(chunks, wanted_all, strict=True))
    assert all(chunk >= 0 for chunk in chunks)


@given(units(), st.integers(1, 4))
def test_lead_one_places_tokens_before_their_onset(drawn, capacity):
    parts, _ = drawn
    cursor = Cursor(0)
    for onsets in parts:
        wanted = [max(0, onset // CHUNK - 1) for onset in onsets]
        placed = place_tokens(wanted, cursor, capacity=capacity, pull=1)
        cursor = placed.after
        for onset, want, chunk in zip(onsets, wanted, placed.chunks, strict=True):
            audible_until = (chunk + 1) * CHUNK
            lags, in_first_chunk = chunk > want, onset < CHUNK
            assert lags or in_first_chunk or audible_until <= onset


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60).map(sorted))
def test_places_tokens_exactly_if_there_is_room(wanted):
    spread = [3 * i + want for i, want in enumerate(wanted)]
    assert list(place_tokens(spread, Cursor(0), capacity=2, pull=1).chunks) == spread


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60).map(sorted), st.integers(1, 3), st.integers(0, 2))
def test_tokens_lag_only_after_full_chunks(wanted, capacity, pull):
    chunks = place_tokens(wanted, Cursor(0), capacity=capacity, pull=pull).chunks
    for want, chunk in zip(wanted, chunks, strict=True):
        for between in range(want, chunk):
            assert chunks.count(between) == capacity
