"""The rows of any conversation, cut and filled with any settings, prove; control tokens are where the words ask for them."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from sca.data.duplex.align import interpolate
from sca.data.duplex.controls import Controls
from sca.data.duplex.labels import label
from sca.data.duplex.layout import layout_of, proof_context, window_plan
from sca.data.duplex.proof import ViewProof, parse_input_ids
from sca.data.duplex.records import row_record, word_records
from sca.data.duplex.rows import make_row, tokenize_units
from sca.data.duplex.text import make_units
from sca.data.duplex.windows import plan_windows
from sca.tokenizer import load_tokenizer
from tests.integration import corpus

TOKENIZER = load_tokenizer("builtin:qwen")
CHUNK = 5120
PIECES = ("yes", "well I never", "the man in the blue coat started singing, quite well in fact", "今天天气很好", "mm")


@st.composite
def speakers(draw):
    """What one speaker says: utterances in time order, some of them long, some with a breath between them."""
    at, said = draw(st.integers(0, 80_000)), []
    for _ in range(draw(st.integers(0, 14))):
        text = " ".join(draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)))
        length = draw(st.sampled_from((0.2, 1.0, 3.0, 12.0, 70.0)))
        end = at + round(length * 16_000)
        said.append((text, at, end))
        at = end + round(draw(st.sampled_from((0.0, 0.4, 0.7, 2.0, 15.0))) * 16_000)
    return said


def units_said(said):
    return make_units(((text, interpolate(text, start, end)) for text, start, end in said), 8_000)


control_ids = st.tuples(*(st.sampled_from((None, token)) for token in range(151_647, 151_651)))


def rows_of(chosen, mine, theirs):
    """The rows of one side, and their proof."""
    mine, theirs = units_said(mine), units_said(theirs)
    layout, plan, context = (make(chosen, TOKENIZER) for make in (layout_of, window_plan, proof_context))
    spans = [[(unit.start, unit.end) for unit in side] for side in (mine, theirs)]
    samples = max([CHUNK, *(end for side in spans for _, end in side)])
    n_chunks = -(-samples // CHUNK)
    labels = [label(span, len(unit.words), spans[1]) for span, unit in zip(spans[0], mine, strict=True)]
    words = [(word.start, word.end) for unit in mine for word in unit.words]
    windows = plan_windows(n_chunks, words, *spans, plan)
    view = ViewProof("s:b>a", word_records(mine), spans[1], n_chunks, context)
    spoken = tokenize_units(mine, labels, TOKENIZER)
    records = []
    for window in windows:
        row = make_row(window, window is windows[-1], spoken, layout)
        records.append(row_record("s", "b", "a", row, layout))
        view.add(records[-1])
    view.finish()
    return records, view


@settings(max_examples=40, deadline=None)
@given(speakers(), speakers(), control_ids, st.integers(0, 2), st.integers(1, 3), st.sampled_from((1, 2, 8)))
def test_every_row_of_any_conversation_proves(mine, theirs, ids, lead, capacity, most):
    names = ("hold_id", "start_id", "stop_id", "backchannel_id")
    chosen = corpus.settings(
        **{name: token for name, token in zip(names, ids, strict=True) if token is not None},
        lead_chunks=lead,
        text_tokens_per_chunk=capacity,
        max_segments=most,
    )
    records, view = rows_of(chosen, mine, theirs)
    assert view.problems == []
    said = [word["word"] for row in records for segment in row["segments"] for word in segment["words"]]
    assert said == [word.text for unit in units_said(mine) for word in unit.words]
    for row in records:
        assert len(row["segments"]) <= most
        assert (row["n_chunks"] - row["extended_chunks"]) * 0.32 <= 60
        for segment in row["segments"]:
            words = segment["words"]
            # Of a stretch without end, no more than the window is in a row; the last word may run over the cut.
            assert words[-1]["start_s"] - max(0.0, words[0]["start_s"]) < 60


@settings(max_examples=25, deadline=None)
@given(speakers(), speakers())
def test_hold_says_speaking_and_silence_says_listening(mine, theirs):
    """With room for every word at its own time, each chunk without text says whether he speaks in it."""
    chosen = corpus.settings(hold_id=151_647, lead_chunks=0, text_tokens_per_chunk=60)
    records, _ = rows_of(chosen, mine, theirs)
    context = proof_context(chosen, TOKENIZER)
    for row in records:
        if "forced_cut" in row["flags"]:
            continue  # of a word that is cut in two, the second half is in no segment
        chunks, _ = parse_input_ids(row["input_ids"], context)
        for chunk, tokens in enumerate(chunks, row["start_chunk"]):
            speaks = any(u.start < (chunk + 1) * CHUNK and u.end > chunk * CHUNK for u in units_said(mine))
            assert tokens not in ([], [151_647]) or tokens == [151_647] * speaks


@settings(max_examples=25, deadline=None)
@given(speakers(), speakers())
def test_control_tokens_move_no_text_where_there_is_room(mine, theirs):
    """With room for three tokens a chunk more than any text asks for, the text stands where it stood."""
    roomy = {"text_tokens_per_chunk": 60}
    plain, _ = rows_of(corpus.settings(**roomy), mine, theirs)
    marked, _ = rows_of(corpus.settings(**roomy, hold_id=151_647, start_id=151_648, stop_id=151_649), mine, theirs)
    places = [
        [(s["first_chunk"], s["last_chunk"]) for row in rows for s in row["segments"]] for rows in (plain, marked)
    ]
    assert places[0] == places[1]


def test_no_control_tokens_are_no_control_tokens():
    assert Controls().names == {}
    assert replace(Controls(), hold=5, stop=7).names == {5: "hold", 7: "stop"}
    assert all(a < b for a, b in pairwise(sorted(Controls(1, 2, 3, 4).names)))
