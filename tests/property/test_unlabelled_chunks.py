"""The chunks without labels of any row: exactly those whose silence would be about speech without words."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sca.data.duplex.augment.retime_audio import TICK, moved_spans
from sca.data.duplex.model.unlabelled import UnlabelledSpan
from sca.data.duplex.rows.unlabelled import chunk_ranges, unlabelled_chunks
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.row_tokens import parse_input_ids
from tests.helpers import corpus
from tests.helpers.drawn_rows import TOKENIZER, rows_of, speakers

CHUNK = 5120
spans = st.lists(
    st.tuples(st.integers(0, 60 * 16_000), st.integers(1, 5 * 16_000)).map(lambda span: (span[0], sum(span))),
    max_size=6,
)


@settings(deadline=None)
@given(spans, st.integers(0, 40), st.integers(1, 60), st.integers(0, 3), st.sets(st.integers(0, 59)))
def test_a_chunk_is_masked_if_a_word_there_would_be_unknown(unknown, first, n_chunks, lead, used):
    found = unlabelled_chunks(unknown, first, n_chunks, lead, CHUNK, used)
    masked = {chunk for start, end in found for chunk in range(start, end)}
    expected = set()
    for sounding in range(first, first + n_chunks + lead):
        begins, ends = sounding * CHUNK, (sounding + 1) * CHUNK
        if any(start < ends and end > begins for start, end in unknown):
            expected.add(max(sounding - lead, first) - first)
    assert masked == expected - used
    assert masked <= set(range(n_chunks))
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(st.sets(st.integers(0, 50)))
def test_ranges_contain_exactly_the_chunks(chunks):
    ranges = chunk_ranges(chunks)
    assert sorted(chunks) == [chunk for first, end in ranges for chunk in range(first, end)]
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


@settings(max_examples=30, deadline=None)
@given(speakers(), speakers(), spans, st.integers(0, 2), st.sampled_from((None, 151_647)), st.booleans())
def test_rows_with_unknown_words_verify(mine, theirs, unknown, lead, hold, drops):
    """Also with segments left out. No text or control token is without a label, and a changed range is found."""
    chosen = corpus.settings(lead_chunks=lead, hold_id=hold, on_lag="drop-unit" if drops else "keep", max_lag_chunks=1)
    records, verifier = rows_of(chosen, mine, theirs, unknown)
    assert verifier.problems == []
    assert verifier.counters.unlabelled_chunks == sum(p["end"] - p["first"] for r in records for p in r["unlabelled"])
    for row in records:
        chunks, _ = parse_input_ids(row["input_ids"], proof_context(chosen, TOKENIZER))
        assert not any(tokens for part in row["unlabelled"] for tokens in chunks[part["first"] : part["end"]])
    changed = next((row for row in records if row["unlabelled"]), None)
    if changed is not None:
        changed["unlabelled"] = changed["unlabelled"][1:]
        _, verifier = rows_of(chosen, mine, theirs, unknown, records)
        assert any("without labels" in problem for problem in verifier.problems)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200), st.sampled_from((-1, 0, 1))), max_size=5), spans)
def test_moved_spans_follow_the_audio(played, unknown):
    """Every sample of the retimed track is unknown exactly if the recorded sample that it plays is."""
    pieces = [(first, first + length, direction) for first, length, direction in played]
    unknown = [UnlabelledSpan(start // 1000, end // 1000 + 1, "unintelligible") for start, end in unknown]
    moved = list(moved_spans(unknown, pieces))
    at = 0
    for first, last, direction in pieces:
        samples = list(range(first * TICK, last * TICK))[:: direction or 1]
        for offset, source in enumerate(samples):
            known = direction == 0 or not any(span.start <= source < span.end for span in unknown)
            assert known == (not any(span.start <= at + offset < span.end for span in moved))
        at += len(samples)
