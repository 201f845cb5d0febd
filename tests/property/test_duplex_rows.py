"""The rows of any conversation and any settings verify, and their control tokens follow the grammar."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.control_tokens import ControlTokens, Grammar, SpeakerState, TokenKind, control_tokens_of
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.rows import parse_input_ids
from tests.helpers import corpus
from tests.helpers.drawn_rows import CHUNK, PIECES, TOKENIZER, rows_of, speakers, units_of

control_ids = st.tuples(*(st.sampled_from((None, token)) for token in range(151_647, 151_651)))


@settings(max_examples=40, deadline=None)
@given(speakers(), speakers(), control_ids, st.integers(0, 2), st.integers(1, 3), st.sampled_from((1, 2, 8)))
def test_every_row_verifies(mine, theirs, ids, lead, capacity, most):
    names = ("hold_id", "start_id", "stop_id", "backchannel_id")
    chosen = corpus.settings(
        **{name: token for name, token in zip(names, ids, strict=True) if token is not None},
        lead_chunks=lead,
        text_tokens_per_chunk=capacity,
        max_segments=most,
    )
    records, verifier = rows_of(chosen, mine, theirs)
    assert verifier.problems == []
    words_in_rows = [word["word"] for row in records for segment in row["segments"] for word in segment["words"]]
    assert words_in_rows == [word.text for unit in units_of(mine) for word in unit.words]
    for row in records:
        assert len(row["segments"]) <= most
        assert (row["n_chunks"] - row["extended_chunks"]) * 0.32 <= 60
        for segment in row["segments"]:
            # A word without a token belongs to the word before it, and can begin after the cut.
            words = [word for word in segment["words"] if word["n_tokens"]]
            # A row contains no more speech than its window; only the last word can extend past the cut.
            assert words[-1]["start_s"] - max(0.0, words[0]["start_s"]) < 60


@settings(max_examples=25, deadline=None)
@given(speakers(), speakers())
def test_hold_means_speaking_and_silence_means_listening(mine, theirs):
    """With room for every word in its own chunk, each chunk without text shows whether the speaker speaks in it."""
    chosen = corpus.settings(hold_id=151_647, lead_chunks=0, text_tokens_per_chunk=60)
    records, _ = rows_of(chosen, mine, theirs)
    context = proof_context(chosen, TOKENIZER)
    for row in records:
        if "forced_cut" in row["flags"]:
            continue  # the second half of a word that is cut in two is in no segment
        chunks, _ = parse_input_ids(row["input_ids"], context)
        for chunk, tokens in enumerate(chunks, row["start_chunk"]):
            speaks = any(u.start < (chunk + 1) * CHUNK and u.end > chunk * CHUNK for u in units_of(mine))
            assert tokens not in ([], [151_647]) or tokens == [151_647] * speaks


@settings(max_examples=25, deadline=None)
@given(speakers(), speakers())
def test_control_tokens_move_no_text_if_there_is_room(mine, theirs):
    """With room for three tokens per chunk more than any text needs, text tokens stay in their chunks."""
    roomy = {"text_tokens_per_chunk": 60}
    plain, _ = rows_of(corpus.settings(**roomy), mine, theirs)
    with_controls, _ = rows_of(
        corpus.settings(**roomy, hold_id=151_647, start_id=151_648, stop_id=151_649), mine, theirs
    )
    places = [
        [(s["first_chunk"], s["last_chunk"]) for row in rows for s in row["segments"]]
        for rows in (plain, with_controls)
    ]
    assert places[0] == places[1]


def steps_of(row, grammar, prompt_tokens):
    """Yield every token of a row as (state before it, kind, whether it is the first of its chunk)."""
    body, state = row["input_ids"][prompt_tokens:], SpeakerState.INITIAL
    starts = np.flatnonzero(np.array(body) == -100)[::4]
    for chunk in np.split(body, starts)[1:]:
        answer = chunk[4:].tolist()
        after = grammar.follow(state, answer)
        for k, token in enumerate(answer):
            kind = grammar.kind(token)
            yield state, kind, k == 0
            state = grammar.after(state, kind, first=k == 0)
        assert state is after


def chosen_with(ids, **more):
    names = ("hold_id", "start_id", "stop_id", "backchannel_id")
    return corpus.settings(**{name: token for name, token in zip(names, ids, strict=True) if token is not None}, **more)


@settings(max_examples=40, deadline=None)
@given(
    speakers(), speakers(), control_ids, st.integers(0, 2), st.integers(1, 3), st.sampled_from(("keep", "drop-unit"))
)
def test_every_row_follows_the_grammar(mine, theirs, ids, lead, capacity, late):
    chosen = chosen_with(ids, lead_chunks=lead, text_tokens_per_chunk=capacity, on_lag=late)
    grammar = Grammar(151_646, control_tokens_of(chosen.duplex))
    for row in rows_of(chosen, mine, theirs)[0]:
        assert list(steps_of(row, grammar, row["prompt_tokens"]))


def allowed_by(grammar):
    """Return every step that can be reached from the start state."""
    found, todo = set(), [(SpeakerState.INITIAL, True)]
    while todo:
        state, first = todo.pop()
        for kind in TokenKind:
            after = grammar.after(state, kind, first=first)
            if after is not None and (state, kind, first) not in found:
                found.add((state, kind, first))
                todo += [(after, True)] + [(after, False)] * (not first or kind > TokenKind.HOLD)
    return found


def in_samples(*utterances):
    """Convert utterances from (text, start, length) in seconds."""
    return [(text, round(at * 16_000), round((at + length) * 16_000)) for text, at, length in utterances]


def any_side(draw):
    """Draw like `speakers`, without shrinking."""
    at, utterances = int(draw.integers(0, 80_000)), []
    for _ in range(draw.integers(0, 14)):
        end = at + round(float(draw.choice((0.2, 1.0, 3.0, 12.0, 70.0))) * 16_000)
        utterances.append((" ".join(draw.choice(PIECES, draw.integers(1, 5))), at, end))
        at = end + round(float(draw.choice((0.0, 0.4, 0.7, 2.0, 15.0))) * 16_000)
    return utterances


QUICK = "the man in the blue coat started singing, quite well in fact"
CONVERSATIONS = [
    *((any_side(draw), any_side(draw)) for draw in map(np.random.default_rng, range(6))),
    # Fast and slow speech that is longer than a row, so that rows begin inside it, with and without a token in their
    # first chunk.
    (in_samples((f"{QUICK} " * 40, 0, 100), (QUICK, 110, 75)), []),
    # Two units so close together that the end of one and the start of the other share a chunk.
    (in_samples((QUICK, 1, 0.2), ("yes", 1.8, 0.2)), []),
    # Backchannels: at the start, after fast speech, and with so many tokens that the start token is alone in the chunk
    # before.
    (in_samples(("mm", 0.5, 0.2)), in_samples((QUICK, 0, 25))),
    (in_samples((QUICK, 20, 0.2), ("yes yes yes", 20.8, 0.2)), in_samples((QUICK, 0, 25))),
    (in_samples(("well I never", 1, 1.23), ("yes yes yes", 2.75, 0.15), ("mm", 7, 0.2)), in_samples((QUICK, 0, 25))),
]


@pytest.mark.parametrize("used", list(product((False, True), repeat=4)), ids=str)
def test_rows_use_everything_the_grammar_allows(used):
    ids = [token if use else None for use, token in zip(used, range(151_647, 151_651), strict=True)]
    chosen = chosen_with(ids, text_tokens_per_chunk=3)
    grammar = Grammar(151_646, control_tokens_of(chosen.duplex))
    seen = set()
    for mine, theirs in CONVERSATIONS:
        for row in rows_of(chosen, mine, theirs)[0]:
            seen |= set(steps_of(row, grammar, row["prompt_tokens"]))
    assert allowed_by(grammar) == seen


def test_unused_control_tokens_have_no_name():
    assert ControlTokens().names == {}
    assert replace(ControlTokens(), hold=5, stop=7).names == {5: "hold", 7: "stop"}
    assert all(a < b for a, b in pairwise(sorted(ControlTokens(1, 2, 3, 4).names)))
