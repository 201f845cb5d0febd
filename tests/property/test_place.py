"""Laws of placement, for any words, rates, leads and capacities."""

from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.rows.placement import Cursor, place_unit

CHUNK = 5120
starts = st.lists(st.integers(0, 200 * CHUNK), min_size=1, max_size=120).map(sorted)


@st.composite
def units(draw):
    """A few units of wanted slots in time order."""
    onsets = draw(starts)
    lead = draw(st.integers(0, 3))
    cuts = sorted(draw(st.lists(st.integers(0, len(onsets)), max_size=4)))
    parts = [onsets[a:b] for a, b in zip([0, *cuts], [*cuts, len(onsets)], strict=True)]
    return [p for p in parts if p], lead


@given(units(), st.integers(1, 4), st.integers(0, 2))
def test_order_capacity_and_every_token(drawn, capacity, pull):
    parts, lead = drawn
    cursor, slots, wanted_all = Cursor(0), [], []
    for onsets in parts:
        wanted = [max(0, onset // CHUNK - lead) for onset in onsets]
        placed = place_unit(wanted, cursor, capacity=capacity, pull=pull)
        slots += placed.slots
        wanted_all += wanted
        cursor = placed.after
    assert len(slots) == len(wanted_all)
    assert slots == sorted(slots)
    assert max(slots.count(slot) for slot in set(slots)) <= capacity
    assert all(slot >= want - pull for slot, want in zip(slots, wanted_all, strict=True))
    assert all(slot >= 0 for slot in slots)


@given(units(), st.integers(1, 4))
def test_at_lead_one_no_token_without_lag_has_heard_its_word_begin(drawn, capacity):
    parts, _ = drawn
    cursor = Cursor(0)
    for onsets in parts:
        wanted = [max(0, onset // CHUNK - 1) for onset in onsets]
        placed = place_unit(wanted, cursor, capacity=capacity, pull=1)
        cursor = placed.after
        for onset, want, slot in zip(onsets, wanted, placed.slots, strict=True):
            heard_until = (slot + 1) * CHUNK
            lags, in_first_chunk = slot > want, onset < CHUNK
            assert lags or in_first_chunk or heard_until <= onset


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60).map(sorted))
def test_where_there_is_room_every_token_is_exact(wanted):
    spread = [3 * i + want for i, want in enumerate(wanted)]
    assert list(place_unit(spread, Cursor(0), capacity=2, pull=1).slots) == spread


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60).map(sorted), st.integers(1, 3), st.integers(0, 2))
def test_a_token_lags_only_behind_full_chunks(wanted, capacity, pull):
    slots = place_unit(wanted, Cursor(0), capacity=capacity, pull=pull).slots
    for want, slot in zip(wanted, slots, strict=True):
        for between in range(want, slot):
            assert slots.count(between) == capacity
