"""The grammar of answers holds for all options of a session: every chosen token is one that rows may have there."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.config import QwenConfig
from sca.control_tokens import ControlTokens, Grammar, SpeakerState, TokenKind
from sca.infer.engines.qwen_omni.streaming.sampling import TextState, choose_text
from sca.infer.engines.qwen_omni.streaming.token_mask import TokenMask

SILENCE, NEVER, VOCABULARY = 1, 0, 12
IDS = {"hold": 2, "start": 3, "stop": 4, "backchannel": 5}


def grammar_of(names):
    return Grammar(SILENCE, ControlTokens(**{name: IDS[name] for name in names}))


@st.composite
def options(draw):
    return QwenConfig(
        text_temperature=draw(st.sampled_from([0.0, 0.7, 2.0])),
        text_top_p=draw(st.floats(0.1, 1)),
        text_top_k=draw(st.integers(1, 128)),
        text_repetition_penalty=draw(st.floats(0.5, 2)),
        silence_bias=draw(st.sampled_from([-100.0, -2.0, 0.0, 2.0, 100.0])),
        seed=draw(st.integers(0, 9)),
    )


@given(names=st.sets(st.sampled_from(sorted(IDS))), qwen=options(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_answer_follows_the_grammar(names, qwen, data):
    grammar = grammar_of(names)
    never = torch.zeros(VOCABULARY, dtype=torch.bool)
    never[[NEVER, *(token for name, token in IDS.items() if name not in names)]] = True
    mask, choice, state = TokenMask(grammar, never), TextState(qwen, NEVER), SpeakerState.INITIAL
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    for listen in data.draw(st.lists(st.booleans(), min_size=1, max_size=12)):
        answer = answer_of(grammar, mask, choice, state, listen)
        if listen:
            assert not {grammar.kind(token) for token in answer} - allowed_when_quiet(state)
        state = grammar.follow(state, answer)  # raises for a token that is not allowed
        choice.note([token for token in answer if token not in grammar.not_text])


def answer_of(grammar, mask, choice, state, listen):
    """Choose an answer of two tokens from random logits, as the engine does."""
    options, recent, noise = choice.tensors(2, torch.device("cpu"))
    now, answer = torch.tensor([[state]]), []
    while not answer or (not grammar.is_whole_answer(answer[0]) and len(answer) < 2):
        if SILENCE in answer:
            answer.append(SILENCE)
            continue
        place = len(answer)
        barred = mask.barred(now, place, torch.tensor([[int(listen)]]))
        silence = None if place else SILENCE
        token = choose_text(
            4 * torch.randn(1, VOCABULARY), barred, options, recent, noise[:, place : place + 1], silence
        )
        now = mask.after(now, place, token)
        answer.append(int(token))
    return answer


def allowed_when_quiet(state):
    """Text only where a start token was said, and hold only in a segment that has not begun."""
    if state is SpeakerState.OPENED:
        return {TokenKind.TEXT, TokenKind.STOP, TokenKind.SILENCE}
    return {TokenKind.STOP, TokenKind.SILENCE, TokenKind.HOLD}


@pytest.mark.parametrize("first", [True, False])
@given(names=st.sets(st.sampled_from(sorted(IDS))), state=st.sampled_from(SpeakerState))
def test_a_quiet_token_always_exists(names, state, first):
    grammar = grammar_of(names)
    if state is SpeakerState.HOLDING and "hold" not in names:
        return
    kind = grammar.quiet(state, first=first)
    assert grammar.after(state, kind, first=first) is not None
    assert kind is not TokenKind.OPENING
