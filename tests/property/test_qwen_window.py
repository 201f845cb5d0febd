"""What a session remembers, as counts: whole chunks, the newest, after what stays for good; positions that never run out."""

from hypothesis import given
from hypothesis import strategies as st

from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow

MOST = 6


@given(
    first=st.integers(0, 40),
    budget=st.integers(64, 200),
    positions=st.integers(64, 300),
    chunks=st.lists(st.integers(1, MOST), max_size=200),
)
def test_whole_chunks_leave_oldest_first_and_counts_hold(first, budget, positions, chunks):
    window = ContextWindow(budget, positions)
    window.keep(first)
    kept, last = [], window.position
    for tokens in chunks:
        change = window.open_chunk(MOST)
        assert change.first == first
        gone = 0
        while gone < change.drop:
            gone += kept.pop(0)
        assert gone == change.drop
        window.took(tokens)
        kept.append(tokens)
        assert window.length == first + sum(kept) <= min(budget, positions)
        assert window.position <= positions
        assert window.position == last - change.back + tokens
        if change.drop:  # rarely: only when there was no room, and then more than a chunk's worth
            assert first + sum(kept) - tokens + change.drop + MOST > window.budget
            assert first + sum(kept) - tokens + MOST <= max(first + MOST, window.budget - window.budget // 8)
        if change.back:  # only when there is no position left, and then all there are to win
            assert last + MOST > positions
            assert window.position == window.length
        last = window.position


@given(first=st.integers(0, 40), budget=st.integers(64, 200), chunks=st.integers(0, 60))
def test_it_knows_how_long_there_is_room(first, budget, chunks):
    window = ContextWindow(budget, 100_000)
    window.keep(first)
    for _ in range(chunks):
        window.open_chunk(MOST)
        window.took(MOST)
    until_forgetting, until_the_end = window.chunks_left(MOST)
    for _ in range(until_forgetting):
        assert not window.open_chunk(MOST)
        window.took(MOST)
    assert window.open_chunk(MOST).drop
    assert until_the_end == (100_000 - first - MOST * chunks) // MOST
