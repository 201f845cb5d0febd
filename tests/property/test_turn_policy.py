"""What holds for every course of speech, silence and answers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sca.infer.turn.policy import Decision, Query, ThresholdSchedule, TurnPolicy

curves = st.lists(st.integers(1, 60_000), min_size=1, max_size=5, unique=True).map(sorted)
patiences = st.builds(
    lambda silences, thresholds, longest, least: ThresholdSchedule(
        tuple(zip(silences, sorted(thresholds, reverse=True), strict=False)), longest, least
    ),
    curves,
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
    st.integers(1, 60_000),
    st.integers(0, 8000),
)
steps = st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=80)
answers = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=20)


def play(patience, course, replies, delay):
    """Feed a course; an ask is answered `delay` steps later. Yields (event, how much silence there was, speech so far)."""
    policy, open_asks, given_replies = TurnPolicy(patience), [], 0
    for i, (samples, speech) in enumerate(course):
        found = policy.advance(samples, speech=speech)
        yield found, policy
        if isinstance(found, Query):
            open_asks.append((i + delay, found))
        while open_asks and open_asks[0][0] <= i:
            _, ask = open_asks.pop(0)
            yield policy.resolve(ask, replies[given_replies % len(replies)]), policy
            given_replies += 1


@settings(max_examples=400)
@given(patiences, steps, answers, st.integers(0, 3))
def test_turns_are_counted_in_order_and_lie_in_the_past(patience, course, replies, delay):
    decisions = [found for found, _ in play(patience, course, replies, delay) if isinstance(found, Decision)]
    assert [one.turn for one in decisions] == list(range(len(decisions)))
    end = 0
    for one in decisions:
        assert end <= one.speech_start < one.speech_end < one.at
        end = one.at
        assert one.reason == "silence" or one.probability is not None


@settings(max_examples=400)
@given(patiences, steps, answers, st.integers(0, 3))
def test_silence_never_lasts_longer_than_it_may(patience, course, replies, delay):
    for found, policy in play(patience, course, replies, delay):
        if found is None and policy.silence is not None and policy._speech >= patience.min_speech:
            assert policy.silence < patience.max_silence


@settings(max_examples=400)
@given(patiences, steps, answers, st.integers(0, 3))
def test_asks_come_in_silence_after_enough_speech_with_thresholds_of_the_curve(patience, course, replies, delay):
    for found, policy in play(patience, course, replies, delay):
        if isinstance(found, Query):
            due = [held for at, held in patience.queries if at <= found.silence]
            assert found.threshold == due[-1]
            assert policy._speech >= patience.min_speech


@settings(max_examples=200)
@given(patiences, steps, st.floats(0, 1), st.floats(0, 1))
def test_a_surer_model_never_decides_later(patience, course, one, other):
    def first_end(probability):
        events = (found for found, _ in play(patience, course, [probability], 0) if isinstance(found, Decision))
        return next((found.at for found in events), float("inf"))

    low, high = sorted((one, other))
    assert first_end(high) <= first_end(low)
