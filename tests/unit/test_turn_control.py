"""When a Qwen session must be silent, and how its text and the phase of its voice are chosen: pure functions."""

import pytest
import torch

from sca.config import QwenConfig
from sca.infer.engines.qwen_omni.streaming.sampling import REPEATED, TextState, choose_text
from sca.infer.engines.qwen_omni.streaming.turn_control import TurnControl, TurnLimits
from sca.infer.engines.qwen_omni.streaming.voice import VoicePhase, segment_phase
from sca.units import Grid

SILENCE, UNUSED = 7, 9


def forced(limits, user="", turns=""):
    """The chunks in which silence is forced. `u`: the user speaks; `t`: the session is in a turn after the chunk."""
    control, found = TurnControl(limits), ""
    for user_speaks, in_turn in zip(user, turns, strict=True):
        listen = control.must_listen(user_speaks == "u")
        found += "F" if listen else "."
        control.note(in_turn == "t")
    return found


def limits(**values):
    return TurnLimits(**{"start_chunks": 0, "turn_chunks": 0, "pause_chunks": 0, "yield_to_speech": False} | values)


def test_seconds_become_whole_chunks():
    qwen = QwenConfig(force_listen_s=0.32, max_turn_s=0.33, turn_pause_s=3.2)
    assert TurnLimits.of(qwen, Grid()) == TurnLimits(1, 2, 10, False)
    assert not TurnLimits.of(QwenConfig(), Grid()).needs_speech
    assert not TurnLimits.of(QwenConfig(force_listen_s=1), Grid()).needs_speech


def test_nothing_is_forced_by_default():
    assert forced(TurnLimits.of(QwenConfig(), Grid()), "u.u." * 5, "tttt" * 5) == "." * 20


def test_listens_at_the_start():
    assert forced(limits(start_chunks=3), "......", "......") == "FFF..."


def test_yields_to_the_user():
    assert forced(limits(yield_to_speech=True), ".uu.u.", "tttttt") == ".FF.F."


@pytest.mark.parametrize(
    ("user", "turns", "expected"),
    [
        ("..........", "tttt......", "...FFFFF.."),  # the pause lasts its five chunks
        ("....u.....", "tttt......", "...FF....."),  # the user has spoken
        ("....uu....", "tttt......", "...FFF...."),  # until the user has finished
        ("..........", "tttttttttt", "...FFFFFFF"),  # at least until the turn is over
        ("..........", "tt.tt.tt..", ".........."),  # turns that are short enough
    ],
)
def test_ends_turns_that_are_too_long(user, turns, expected):
    assert forced(limits(turn_chunks=3, pause_chunks=5), user, turns) == expected


def test_no_pause_after_the_end_of_the_turn():
    assert forced(limits(turn_chunks=2), "......", "ttt...") == "..FF.."


def test_an_interruption_ends_the_pause():
    control = TurnControl(limits(turn_chunks=1, pause_chunks=9))
    control.must_listen(False)
    control.note(True)
    assert control.must_listen(False)
    control.interrupt()
    assert not control.must_listen(False)


def choose(logits, *, barred=(), recent=(), noise=0.5, silence=SILENCE, **qwen):
    state = TextState(QwenConfig(**qwen), UNUSED)
    state.note(recent)
    never = torch.zeros(1, len(logits), dtype=torch.bool)
    never[0, [UNUSED, *barred]] = True
    options, known, _ = state.tensors(1, torch.device("cpu"))
    return int(choose_text(torch.tensor([logits]), never, options, known, torch.tensor([[noise]]), silence))


LOGITS = [1.0, 3.0, 2.0, -1.0, 0.0, 0.0, 0.0, 2.5, 0.0, 9.0]


def test_default_is_the_most_likely_allowed_token():
    assert choose(LOGITS) == 1
    assert choose(LOGITS, barred=[1]) == SILENCE


def test_bias_moves_silence_only():
    assert choose(LOGITS, silence_bias=0.4) == 1
    assert choose(LOGITS, silence_bias=0.6) == SILENCE
    assert choose(LOGITS, silence_bias=0.6, silence=None) == 1
    assert choose(LOGITS, barred=[1], silence_bias=-0.6) == 2
    assert choose(LOGITS, barred=[SILENCE], silence_bias=100) == 1


def test_repeated_tokens_are_penalised_by_sign():
    assert choose(LOGITS, recent=[1], text_repetition_penalty=1.1) == 1
    assert choose(LOGITS, recent=[1], text_repetition_penalty=1.3) == SILENCE
    low = [-1.0, -1.5, *[-9.0] * 8]
    assert choose(low, recent=[0], text_repetition_penalty=1.4) == 0
    assert choose(low, recent=[0, 0], text_repetition_penalty=1.6) == 1


def test_only_recent_tokens_are_penalised():
    assert choose(LOGITS, recent=[1, *[5] * REPEATED], text_repetition_penalty=2) == 1


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"text_top_k": 1}, {1}),
        ({"text_top_k": 2}, {1, SILENCE}),
        ({"text_top_k": 3}, {1, SILENCE, 2}),
        ({"text_top_p": 0.3}, {1}),
        ({"text_top_p": 0.6}, {1, SILENCE}),
        ({"text_top_k": 2, "barred": [1]}, {SILENCE, 2}),
        ({"text_top_k": 128, "barred": [0, 3, 4, 5, 6, 8]}, {1, 2, SILENCE}),
    ],
)
def test_samples_from_the_most_likely_tokens(options, possible):
    drawn = {choose(LOGITS, noise=i / 200, text_temperature=1, **options) for i in range(200)}
    assert drawn == possible
    assert choose(LOGITS, noise=1 - 2**-24, text_temperature=1, **options) in possible


def test_sampled_tokens_have_their_probabilities():
    drawn = [choose(LOGITS, noise=(i + 0.5) / 500, text_temperature=0.5, text_top_k=3) for i in range(500)]
    wanted = (torch.tensor([3.0, 2.5, 2.0]) / 0.5).softmax(0)
    assert [drawn.count(token) / 500 for token in (1, SILENCE, 2)] == pytest.approx(wanted.tolist(), abs=0.003)


def test_text_has_its_own_random_numbers():
    one, same, other = (TextState(QwenConfig(seed=seed), UNUSED).draw(4).tolist() for seed in (3, 3, 4))
    assert one == same != other


def test_phases_of_a_segment():
    speaking, ending, ended = VoicePhase
    assert segment_phase(ended, has_text=False, turn_ended=False) == (ended, False)
    assert segment_phase(ended, has_text=True, turn_ended=False) == (speaking, True)
    assert segment_phase(speaking, has_text=True, turn_ended=False) == (speaking, False)
    assert segment_phase(speaking, has_text=False, turn_ended=False) == (speaking, False)
    assert segment_phase(speaking, has_text=False, turn_ended=True) == (ending, False)
    assert segment_phase(speaking, has_text=True, turn_ended=True) == (speaking, True)
    assert segment_phase(ending, has_text=False, turn_ended=False) == (ending, False)
    assert segment_phase(ending, has_text=True, turn_ended=False) == (speaking, True)
