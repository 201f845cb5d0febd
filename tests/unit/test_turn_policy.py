"""The turn policy in virtual time: blocks of 512 samples (32 ms), exact to the sample."""

import pytest

from sca.config import load_settings
from sca.infer.turn.policy import Decision, Query, ThresholdSchedule, TurnPolicy

MS = 16
BLOCK = 512
SCHEDULE = ThresholdSchedule(
    queries=((200 * MS, 0.5), (600 * MS, 0.4), (1200 * MS, 0.2)), max_silence=3000 * MS, min_speech=250 * MS
)


def drive(policy, ms, speech, result=None):
    """Feed blocks, resolve every query at once, and return the queries and decisions."""
    out = []
    for _ in range(round(ms * MS / BLOCK)):
        found = policy.advance(BLOCK, speech=speech)
        if isinstance(found, Query):
            out.append(found)
            found = policy.resolve(found, result(found) if callable(result) else result)
        if found is not None:
            out.append(found)
    return out


def test_certain_model_ends_the_turn_at_the_first_query():
    policy = TurnPolicy(SCHEDULE)
    assert drive(policy, 1024, True) == []
    query, decision = drive(policy, 1024, False, 0.9)
    assert query == Query(at=(1024 + 224) * MS, silence=224 * MS, threshold=0.5, turn=0)
    assert decision == Decision(0, 0, 1024 * MS, 1248 * MS, "model", 0.9)
    assert policy.silence is None


def test_uncertain_model_is_queried_with_lower_thresholds():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 1024, True)
    out = drive(policy, 2048, False, 0.3)
    queries, decision = out[:-1], out[-1]
    assert [query.threshold for query in queries] == [0.5, 0.4, 0.2]
    assert [query.silence // MS for query in queries] == [224, 608, 1216]
    assert (decision.reason, decision.at // MS, decision.probability) == ("model", 1024 + 1216, 0.3)


def test_maximum_silence_ends_the_turn():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 1024, True)
    *queries, decision = drive(policy, 4000, False, 0.0)
    assert len(queries) == 3
    assert decision == Decision(0, 0, 1024 * MS, (1024 + 3008) * MS, "silence", None)


def test_speech_restarts_the_schedule():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 512, True)
    assert [query.threshold for query in drive(policy, 704, False, 0.1)] == [0.5, 0.4]
    drive(policy, 320, True)
    assert [query.threshold for query in drive(policy, 704, False, 0.1)] == [0.5, 0.4]


def test_ignores_the_result_of_an_earlier_pause():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 512, True)
    late = next(found for found in (policy.advance(BLOCK, speech=False) for _ in range(9)) if found)
    policy.advance(BLOCK, speech=True)
    assert policy.resolve(late, 0.99) is None
    assert policy.silence == 0


def test_one_open_query_then_the_last_due():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 512, True)
    queries = [found for found in (policy.advance(BLOCK, speech=False) for _ in range(45)) if found]
    assert len(queries) == 1
    assert policy.resolve(queries[0], 0.1) is None
    again = policy.advance(BLOCK, speech=False)
    assert isinstance(again, Query)
    assert again.threshold == 0.2


def test_maximum_silence_does_not_wait_for_a_result():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 512, True)
    found = [event for event in (policy.advance(BLOCK, speech=False) for _ in range(95)) if event]
    assert [type(event) for event in found] == [Query, Decision]
    assert policy.resolve(found[0], 0.99) is None


def test_failed_query_is_skipped():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 512, True)
    *queries, decision = drive(policy, 4000, False, None)
    assert (len(queries), decision.reason) == (3, "silence")


def test_short_speech_is_not_a_turn():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 128, True)
    assert drive(policy, 5000, False, 0.99) == []
    drive(policy, 1024, True)
    decision = drive(policy, 512, False, 0.99)[-1]
    assert (decision.turn, decision.speech_start) == (0, (128 + 4992) * MS)


def test_speech_across_short_pauses_makes_a_turn():
    policy = TurnPolicy(SCHEDULE)
    for _ in range(3):
        drive(policy, 128, True)
        drive(policy, 96, False, 0.99)
    assert drive(policy, 320, False, 0.99)[-1].reason == "model"


def test_override_applies_to_one_turn():
    policy = TurnPolicy(SCHEDULE)
    drive(policy, 512, True)
    policy.override(SCHEDULE.with_threshold(0.05))
    assert drive(policy, 320, False, 0.1)[-1].reason == "model"
    drive(policy, 512, True)
    assert [type(event) for event in drive(policy, 320, False, 0.1)] == [Query]


def test_with_threshold_does_not_raise_later_thresholds():
    assert [threshold for _, threshold in SCHEDULE.with_threshold(0.3).queries] == [0.3, 0.3, 0.2]
    assert [threshold for _, threshold in SCHEDULE.with_threshold(0.9).queries] == [0.9, 0.4, 0.2]


def test_schedule_from_settings():
    config = load_settings(overrides={"turn.patience": "0.1:0.9,1:0.3", "turn.threshold": 0.6}, env={}).turn
    schedule = ThresholdSchedule.from_config(config)
    assert schedule.queries == ((3200, 0.6), (16_000, 0.3))
    assert (schedule.max_silence, schedule.min_speech) == (48_000, 4000)


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
def test_rejects_invalid_schedules(options):
    with pytest.raises(ValueError, match=r"silences|probabilities|out of range"):
        ThresholdSchedule(**options)


def test_rejects_zero_samples():
    with pytest.raises(ValueError, match="at least one sample"):
        TurnPolicy(SCHEDULE).advance(0, speech=True)
