"""When the model is asked and when a turn is over, in virtual time: blocks of 512 samples (32 ms), exact to the sample."""

import pytest

from sca.config import load_settings
from sca.infer.turn.policy import Decision, Query, ThresholdSchedule, TurnPolicy

MS = 16
BLOCK = 512
PATIENCE = ThresholdSchedule(
    queries=((200 * MS, 0.5), (600 * MS, 0.4), (1200 * MS, 0.2)), max_silence=3000 * MS, min_speech=250 * MS
)


def drive(policy, ms, speech, answer=None):
    """Feed so much; answer every ask at once. Returns what came out, with the time of each."""
    out = []
    for _ in range(round(ms * MS / BLOCK)):
        found = policy.advance(BLOCK, speech=speech)
        if isinstance(found, Query):
            out.append(found)
            found = policy.resolve(found, answer(found) if callable(answer) else answer)
        if found is not None:
            out.append(found)
    return out


def test_a_sure_model_ends_the_turn_at_the_first_ask():
    policy = TurnPolicy(PATIENCE)
    assert drive(policy, 1024, True) == []
    ask, decision = drive(policy, 1024, False, 0.9)
    assert ask == Query(at=(1024 + 224) * MS, silence=224 * MS, threshold=0.5, turn=0)
    assert decision == Decision(0, 0, 1024 * MS, 1248 * MS, "model", 0.9)
    assert policy.silence is None


def test_an_unsure_model_is_asked_again_with_falling_thresholds():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 1024, True)
    out = drive(policy, 2048, False, 0.3)
    asks, decision = out[:-1], out[-1]
    assert [ask.threshold for ask in asks] == [0.5, 0.4, 0.2]
    assert [ask.silence // MS for ask in asks] == [224, 608, 1216]
    assert (decision.reason, decision.at // MS, decision.probability) == ("model", 1024 + 1216, 0.3)


def test_maximum_silence_ends_it_whatever_the_model_says():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 1024, True)
    *asks, decision = drive(policy, 4000, False, 0.0)
    assert len(asks) == 3
    assert decision == Decision(0, 0, 1024 * MS, (1024 + 3008) * MS, "silence", None)


def test_speech_starts_the_curve_over():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 512, True)
    assert [ask.threshold for ask in drive(policy, 704, False, 0.1)] == [0.5, 0.4]
    drive(policy, 320, True)
    assert [ask.threshold for ask in drive(policy, 704, False, 0.1)] == [0.5, 0.4]


def test_an_answer_about_a_pause_that_ended_is_ignored():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 512, True)
    late = next(found for found in (policy.advance(BLOCK, speech=False) for _ in range(9)) if found)
    policy.advance(BLOCK, speech=True)
    assert policy.resolve(late, 0.99) is None
    assert policy.silence == 0


def test_no_second_question_while_one_is_open_and_then_the_last_one_due():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 512, True)
    asks = [found for found in (policy.advance(BLOCK, speech=False) for _ in range(45)) if found]
    assert len(asks) == 1
    assert policy.resolve(asks[0], 0.1) is None
    again = policy.advance(BLOCK, speech=False)
    assert isinstance(again, Query)
    assert again.threshold == 0.2


def test_maximum_silence_does_not_wait_for_an_answer():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 512, True)
    found = [one for one in (policy.advance(BLOCK, speech=False) for _ in range(95)) if one]
    assert [type(one) for one in found] == [Query, Decision]
    assert policy.resolve(found[0], 0.99) is None


def test_a_failed_answer_goes_on_without():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 512, True)
    *asks, decision = drive(policy, 4000, False, None)
    assert (len(asks), decision.reason) == (3, "silence")


def test_a_cough_is_no_turn():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 128, True)
    assert drive(policy, 5000, False, 0.99) == []
    drive(policy, 1024, True)
    decision = drive(policy, 512, False, 0.99)[-1]
    assert (decision.turn, decision.speech_start) == (0, (128 + 4992) * MS)


def test_short_pauses_add_up_to_a_turn():
    policy = TurnPolicy(PATIENCE)
    for _ in range(3):
        drive(policy, 128, True)
        drive(policy, 96, False, 0.99)
    assert drive(policy, 320, False, 0.99)[-1].reason == "model"


def test_an_override_holds_for_one_turn():
    policy = TurnPolicy(PATIENCE)
    drive(policy, 512, True)
    policy.override(PATIENCE.with_threshold(0.05))
    assert drive(policy, 320, False, 0.1)[-1].reason == "model"
    drive(policy, 512, True)
    assert [type(one) for one in drive(policy, 320, False, 0.1)] == [Query]


def test_with_threshold_never_makes_later_asks_stricter():
    assert [held for _, held in PATIENCE.with_threshold(0.3).queries] == [0.3, 0.3, 0.2]
    assert [held for _, held in PATIENCE.with_threshold(0.9).queries] == [0.9, 0.4, 0.2]


def test_patience_of_the_settings():
    config = load_settings(overrides={"turn.patience": "0.1:0.9,1:0.3", "turn.threshold": 0.6}, env={}).turn
    patience = ThresholdSchedule.from_config(config)
    assert patience.queries == ((3200, 0.6), (16_000, 0.3))
    assert (patience.max_silence, patience.min_speech) == (48_000, 4000)


@pytest.mark.parametrize(
    "options",
    [
        {"queries": (), "max_silence": 1},
        {"queries": ((10, 0.5), (10, 0.4)), "max_silence": 1},
        {"queries": ((0, 0.5),), "max_silence": 1},
        {"queries": ((10, 1.5),), "max_silence": 1},
        {"queries": ((10, 0.5),), "max_silence": 0},
        {"queries": ((10, 0.5),), "max_silence": 1, "min_speech": -1},
    ],
)
def test_a_patience_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=r"silences|probabilities|out of range"):
        ThresholdSchedule(**options)


def test_time_only_goes_forward():
    with pytest.raises(ValueError, match="at least one sample"):
        TurnPolicy(PATIENCE).advance(0, speech=True)
