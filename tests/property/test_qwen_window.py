"""Counts of the context window: the newest whole chunks after the permanent tokens; positions never run out."""

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
def test_drops_whole_chunks_oldest_first(first, budget, positions, chunks):
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
        window.add(tokens)
        kept.append(tokens)
        assert window.length == first + sum(kept) <= min(budget, positions)
        assert window.position <= positions
        assert window.position == last - change.back + tokens
        if change.drop:  # only if there was no room, and then more than one chunk
            assert first + sum(kept) - tokens + change.drop + MOST > window.budget
            assert first + sum(kept) - tokens + MOST <= max(first + MOST, window.budget - window.budget // 8)
        if change.back:  # only if no position is left, and then as far as possible
            assert last + MOST > positions
            assert window.position == window.length
        last = window.position


@given(first=st.integers(0, 40), budget=st.integers(64, 200), chunks=st.integers(0, 60))
def test_counts_the_chunks_left(first, budget, chunks):
    window = ContextWindow(budget, 100_000)
    window.keep(first)
    for _ in range(chunks):
        window.open_chunk(MOST)
        window.add(MOST)
    until_forgetting, until_the_end = window.chunks_left(MOST)
    for _ in range(until_forgetting):
        assert not window.open_chunk(MOST)
        window.add(MOST)
    assert window.open_chunk(MOST).drop
    assert until_the_end == (100_000 - first - MOST * chunks) // MOST
