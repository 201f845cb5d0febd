"""Properties of the turn policy for any sequence of speech, silence and results."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sca.infer.turn.policy import Decision, Query, ThresholdSchedule, TurnPolicy

silences = st.lists(st.integers(1, 60_000), min_size=1, max_size=5, unique=True).map(sorted)
schedules = st.builds(
    lambda silences, thresholds, max_silence, min_speech: ThresholdSchedule(
        tuple(zip(silences, sorted(thresholds, reverse=True), strict=False)), max_silence, min_speech
    ),
    silences,
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
    st.integers(1, 60_000),
    st.integers(0, 8000),
)
steps = st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=80)
results = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=20)


def play(schedule, sequence, results, delay):
    """Feed a sequence and resolve each query `delay` steps later. Yields (event, policy)."""
    policy, open_queries, resolved = TurnPolicy(schedule), [], 0
    for i, (samples, speech) in enumerate(sequence):
        found = policy.advance(samples, speech=speech)
        yield found, policy
        if isinstance(found, Query):
            open_queries.append((i + delay, found))
        while open_queries and open_queries[0][0] <= i:
            _, query = open_queries.pop(0)
            yield policy.resolve(query, results[resolved % len(results)]), policy
            resolved += 1


@settings(max_examples=400)
@given(schedules, steps, results, st.integers(0, 3))
def test_turns_are_in_order_and_in_the_past(schedule, sequence, results, delay):
    decisions = [found for found, _ in play(schedule, sequence, results, delay) if isinstance(found, Decision)]
    assert [decision.turn for decision in decisions] == list(range(len(decisions)))
    end = 0
    for decision in decisions:
        assert end <= decision.speech_start < decision.speech_end < decision.at
        end = decision.at
        assert decision.reason == "silence" or decision.probability is not None


@settings(max_examples=400)
@given(schedules, steps, results, st.integers(0, 3))
def test_silence_within_a_turn_is_bounded(schedule, sequence, results, delay):
    for found, policy in play(schedule, sequence, results, delay):
        if found is None and policy.silence is not None and policy._speech >= schedule.min_speech:
            assert policy.silence < schedule.max_silence


@settings(max_examples=400)
@given(schedules, steps, results, st.integers(0, 3))
def test_queries_follow_the_schedule(schedule, sequence, results, delay):
    for found, policy in play(schedule, sequence, results, delay):
        if isinstance(found, Query):
            due = [threshold for at, threshold in schedule.queries if at <= found.silence]
            assert found.threshold == due[-1]
            assert policy._speech >= schedule.min_speech


@settings(max_examples=200)
@given(schedules, steps, st.floats(0, 1), st.floats(0, 1))
def test_higher_probability_never_decides_later(schedule, sequence, one, other):
    def first_end(probability):
        events = (found for found, _ in play(schedule, sequence, [probability], 0) if isinstance(found, Decision))
        return next((found.at for found in events), float("inf"))

    low, high = sorted((one, other))
    assert first_end(high) <= first_end(low)
