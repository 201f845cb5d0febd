"""Conversations drawn by hypothesis, and their rows."""

from hypothesis import strategies as st

from sca.data.duplex.align.match import interpolate
from sca.data.duplex.rows.assemble import make_row, tokenize_units
from sca.data.duplex.rows.params import layout_of, window_plan
from sca.data.duplex.rows.text import make_units
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.rows.windows import plan_windows
from sca.data.duplex.storage.records import row_record, word_records
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.rows import RowVerifier
from sca.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("builtin:qwen")
CHUNK = 5120
PIECES = (
    "yes",
    "well I never",
    "the man in the blue coat started singing, quite well in fact",
    "今天天气很好",
    "mm",
    "ไม่มาสักที",
    "आई ही नहीं",
)


@st.composite
def speakers(draw):
    """Draw the utterances of one speaker in time order: some are long, some follow after a short pause."""
    at, utterances = draw(st.integers(0, 80_000)), []
    for _ in range(draw(st.integers(0, 14))):
        text = " ".join(draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4)))
        length = draw(st.sampled_from((0.2, 1.0, 3.0, 12.0, 70.0)))
        end = at + round(length * 16_000)
        utterances.append((text, at, end))
        at = end + round(draw(st.sampled_from((0.0, 0.4, 0.7, 2.0, 15.0))) * 16_000)
    return utterances


def units_of(utterances):
    return make_units(((text, interpolate(text, start, end)) for text, start, end in utterances), 8_000)


def rows_of(chosen, mine, theirs, unknown=(), given=None):
    """Return the rows of one side, and their verifier. `unknown` is speech without words, `given` other rows to verify."""
    mine, theirs = units_of(mine), units_of(theirs)
    layout, plan, context = (derive(chosen, TOKENIZER) for derive in (layout_of, window_plan, proof_context))
    spans = [[(unit.start, unit.end) for unit in side] for side in (mine, theirs)]
    samples = max([CHUNK, *(end for side in spans for _, end in side)])
    n_chunks = -(-samples // CHUNK)
    labels = [label(span, len(unit.words), spans[1]) for span, unit in zip(spans[0], mine, strict=True)]
    words = [(word.start, word.end) for unit in mine for word in unit.words]
    windows = plan_windows(n_chunks, words, *spans, plan)
    verifier = RowVerifier("s:b>a", word_records(mine), spans[1], unknown, n_chunks, context)
    tokenized = tokenize_units(mine, labels, TOKENIZER)
    records = []
    for window in windows:
        row = make_row(window, window is windows[-1], tokenized, layout, unknown)
        records.append(row_record("s", "b", "a", row, layout))
    for record in given or records:
        verifier.add(record)
    verifier.finish()
    return records, verifier
